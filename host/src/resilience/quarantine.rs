use crate::resilience::{Admit, Breaker, BreakerSettings, CallOutcome};
use std::time::Duration;
use tokio::time::Instant;

/// Stops calls of something that keeps failing, with back-off and one trial at a time.
///
/// A caller is a number that the owner makes of whoever asks. As long as all failures in a row are of one caller, only
/// that caller is refused: a single one must not lock all the others out. The first failure of another makes it
/// everybody's.
#[derive(Debug, Clone)]
pub struct Quarantine {
    breaker: Breaker,
    culprits: Culprits,
}

/// Whom a quarantine refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody: there is none.
    Nobody,
    /// The one caller whose calls failed.
    OneCaller,
    /// Everybody.
    Everybody,
}

/// Whose calls failed since the last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Culprits {
    Nobody,
    One(u64),
    Several,
}

impl Quarantine {
    /// Failures in a row that begin a quarantine.
    pub const FAILURES_MAX: u32 = 5;
    /// How long it lasts at first; twice as long after each trial that failed.
    pub const COOLDOWN: Duration = Duration::from_secs(1);
    /// The longest it lasts.
    pub const COOLDOWN_MAX: Duration = Duration::from_secs(60);

    /// Whether `caller` may call now. Who is admitted records the outcome.
    pub fn admit(&mut self, caller: u64, now: Instant) -> Admit {
        match self.culprits {
            Culprits::One(culprit) if culprit != caller => Admit::Call,
            Culprits::Nobody | Culprits::One(_) | Culprits::Several => self.breaker.admit(now),
        }
    }

    /// Notes how an admitted call ended.
    pub fn record(&mut self, outcome: CallOutcome, caller: u64, now: Instant) {
        let is_begun = !self.breaker.is_closed();
        if let (true, Culprits::One(culprit)) = (is_begun, self.culprits)
            && culprit != caller
        {
            // Another caller's success says nothing about the input of the one; another's failure says it all.
            if outcome == CallOutcome::Failure {
                self.culprits = Culprits::Several;
            }
            return;
        }
        if outcome == CallOutcome::Failure {
            self.culprits = match self.culprits {
                Culprits::Nobody => Culprits::One(caller),
                Culprits::One(culprit) if culprit == caller => Culprits::One(culprit),
                Culprits::One(_) | Culprits::Several => Culprits::Several,
            };
        }
        self.breaker.record(outcome, now);
        if outcome == CallOutcome::Success && self.breaker.is_closed() {
            self.culprits = Culprits::Nobody;
        }
    }

    /// True when nothing is held against anybody, so that a success need not be recorded.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.culprits == Culprits::Nobody
    }

    /// Whom it refuses.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.culprits {
            _ if self.breaker.is_closed() => Reach::Nobody,
            Culprits::Nobody => Reach::Nobody,
            Culprits::One(_) => Reach::OneCaller,
            Culprits::Several => Reach::Everybody,
        }
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        let settings = BreakerSettings {
            failures_max: Self::FAILURES_MAX,
            cooldown: Self::COOLDOWN,
            cooldown_max: Self::COOLDOWN_MAX,
        };
        Self { breaker: Breaker::new(settings), culprits: Culprits::Nobody }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallOutcome::{Failure, Success};
    use proptest::prelude::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn failed(callers: &[u64], now: Instant) -> Quarantine {
        let mut quarantine = Quarantine::default();
        for caller in callers {
            quarantine.record(Failure, *caller, now);
        }
        quarantine
    }

    #[test]
    fn five_failures_of_several_callers_stop_everybody() {
        let now = Instant::now();
        assert_eq!(failed(&[1, 1, 1, 2], now).reach(), Reach::Nobody);
        let mut quarantine = failed(&[1, 1, 1, 1, 2], now);
        assert_eq!(quarantine.reach(), Reach::Everybody);
        assert_eq!(quarantine.admit(3, now), Admit::Refuse { retry_after: s(1) });
        assert_eq!(quarantine.admit(3, now + s(1)), Admit::Trial);
        assert_eq!(quarantine.admit(4, now + s(1)), Admit::Refuse { retry_after: s(1) }, "one trial at a time");
        quarantine.record(Success, 3, now + s(1));
        assert_eq!((quarantine.reach(), quarantine.is_clear()), (Reach::Nobody, true));
    }

    #[test]
    fn a_caller_who_fails_alone_is_refused_alone() {
        let now = Instant::now();
        let mut quarantine = failed(&[1; 5], now);
        assert_eq!(quarantine.reach(), Reach::OneCaller);
        assert_eq!(quarantine.admit(1, now), Admit::Refuse { retry_after: s(1) });
        assert_eq!(quarantine.admit(2, now), Admit::Call);
        quarantine.record(Success, 2, now);
        assert_eq!(quarantine.admit(1, now), Admit::Refuse { retry_after: s(1) }, "another's success is not the one's");
        quarantine.record(Failure, 2, now);
        assert_eq!(quarantine.reach(), Reach::Everybody);
        assert_eq!(quarantine.admit(3, now), Admit::Refuse { retry_after: s(1) });
    }

    #[test]
    fn each_failed_trial_doubles_the_wait_up_to_a_minute() {
        let mut now = Instant::now();
        let mut quarantine = failed(&[1, 2, 3, 4, 5], now);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(quarantine.admit(9, now), Admit::Refuse { retry_after: s(wait) });
            now += s(wait);
            assert_eq!(quarantine.admit(9, now), Admit::Trial);
            quarantine.record(Failure, 9, now);
        }
    }

    proptest! {
        #[test]
        fn one_caller_alone_never_has_another_refused(steps in proptest::collection::vec((0..3_u8, 0..5_u64), 0..100)) {
            let mut now = Instant::now();
            let mut quarantine = Quarantine::default();
            for (step, wait) in steps {
                now += s(wait);
                match step {
                    0 => quarantine.record(Success, 2, now),
                    1 => drop(quarantine.admit(1, now)),
                    _ => quarantine.record(Failure, 1, now),
                }
                prop_assert_eq!(quarantine.clone().admit(2, now), Admit::Call);
                prop_assert!(quarantine.reach() != Reach::Everybody);
            }
        }
    }
}
