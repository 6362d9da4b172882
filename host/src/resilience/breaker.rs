use crate::resilience::Jitter;
use std::time::Duration;
use tokio::time::Instant;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it. 0 counts as 1.
    pub failures_max: u32,
    /// How long it refuses before its first trial.
    pub cooldown: Duration,
    /// The longest it refuses, however many trials failed. Below `cooldown` it counts as `cooldown`.
    pub cooldown_max: Duration,
}

/// A circuit breaker: **closed** lets calls through, **open** refuses, **half-open** tries one.
///
/// It counts what its owner records. Only failures of transport belong here; a peer that answers "no" has answered.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    jitter: Option<Jitter>,
}

/// What a breaker says to one who wants to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Call.
    Call,
    /// Call; on the outcome depends whether the breaker closes.
    Trial,
    /// Do not call.
    Refuse {
        /// Ask again after this time. Never zero.
        retry_after: Duration,
    },
}

/// How a call that was admitted ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// The peer answered, whatever it said.
    Success,
    /// No proper answer came.
    Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        cooldown: Duration,
    },
    /// The trial counts as lost at `lost_at`: its caller may have been dropped, and nothing may refuse for ever.
    HalfOpen {
        lost_at: Instant,
        cooldown: Duration,
    },
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, jitter: None }
    }

    /// The same, with cooldowns that are shorter by up to a fifth: many peers that went together do not come back
    /// together.
    #[must_use]
    pub fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter: Some(jitter), ..self }
    }

    /// Has other settings count from the next outcome on. An opening under way ends when it was to end.
    pub fn set(&mut self, settings: BreakerSettings) {
        self.settings = settings;
    }

    /// How long it still refuses, if it does. Asking changes nothing: no trial is taken.
    #[must_use]
    pub fn refusal(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until: end, .. } | State::HalfOpen { lost_at: end, .. } => {
                end.checked_duration_since(now).filter(|left| !left.is_zero())
            }
        }
    }

    /// Gives an admitted call back that told nothing about the peer. If it was the trial, the next call is it.
    pub fn forgo(&mut self, now: Instant) {
        if let State::HalfOpen { cooldown, .. } = self.state {
            self.state = State::Open { until: now, cooldown };
        }
    }

    /// True while every call is let through.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether to call now. Who is admitted records the outcome.
    pub fn admit(&mut self, now: Instant) -> Admit {
        match self.state {
            State::Closed { .. } => Admit::Call,
            State::Open { until: end, cooldown } | State::HalfOpen { lost_at: end, cooldown } => {
                if now < end {
                    return Admit::Refuse { retry_after: end - now };
                }
                self.state = State::HalfOpen { lost_at: now + cooldown, cooldown };
                Admit::Trial
            }
        }
    }

    /// Notes how an admitted call ended.
    ///
    /// While the breaker is open, outcomes are of calls that began before it opened: late, and without effect.
    pub fn record(&mut self, outcome: CallOutcome, now: Instant) {
        self.state = match (self.state, outcome) {
            (State::Open { .. }, _) => return,
            (State::Closed { .. } | State::HalfOpen { .. }, CallOutcome::Success) => State::Closed { failures: 0 },
            (State::Closed { failures }, CallOutcome::Failure) => {
                let failures = failures.saturating_add(1);
                if failures < self.settings.failures_max { State::Closed { failures } } else { self.open(now, None) }
            }
            (State::HalfOpen { cooldown, .. }, CallOutcome::Failure) => self.open(now, Some(cooldown)),
        };
    }

    fn open(&mut self, now: Instant, previous: Option<Duration>) -> State {
        let BreakerSettings { cooldown, cooldown_max, .. } = self.settings;
        let cooldown = previous.map_or(cooldown, |previous| previous.saturating_mul(2).min(cooldown_max.max(cooldown)));
        let wait = self.jitter.as_mut().map_or(cooldown, |jitter| jitter.shorten(cooldown, 0.2));
        State::Open { until: now + wait, cooldown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const SETTINGS: BreakerSettings = BreakerSettings { failures_max: 3, cooldown: s(5), cooldown_max: s(12) };

    fn tripped(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..SETTINGS.failures_max {
            breaker.record(CallOutcome::Failure, now);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_and_a_success_between_resets_the_count() {
        let now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        for outcome in [CallOutcome::Failure, CallOutcome::Failure, CallOutcome::Success, CallOutcome::Failure] {
            breaker.record(outcome, now);
        }
        breaker.record(CallOutcome::Failure, now);
        assert_eq!(breaker.admit(now), Admit::Call, "two in a row are not three");
        breaker.record(CallOutcome::Failure, now);
        assert_eq!(breaker.admit(now), Admit::Refuse { retry_after: s(5) });
    }

    #[test]
    fn refuses_until_the_cooldown_ends_then_admits_one_trial() {
        let now = Instant::now();
        let mut breaker = tripped(now);
        assert_eq!(breaker.admit(now + s(4)), Admit::Refuse { retry_after: s(1) });
        assert_eq!(breaker.admit(now + s(5)), Admit::Trial);
        assert_eq!(breaker.admit(now + s(6)), Admit::Refuse { retry_after: s(4) });
    }

    #[test]
    fn a_good_trial_closes_and_the_next_opening_begins_with_the_first_cooldown() {
        let now = Instant::now();
        let mut breaker = tripped(now);
        assert_eq!(breaker.admit(now + s(5)), Admit::Trial);
        breaker.record(CallOutcome::Failure, now + s(5));
        assert_eq!(breaker.admit(now + s(15)), Admit::Trial);
        breaker.record(CallOutcome::Success, now + s(16));
        assert_eq!(breaker.admit(now + s(16)), Admit::Call);
        for _ in 0..3 {
            breaker.record(CallOutcome::Failure, now + s(16));
        }
        assert_eq!(breaker.admit(now + s(16)), Admit::Refuse { retry_after: s(5) });
    }

    #[test]
    fn each_failed_trial_doubles_the_cooldown_up_to_the_cap() {
        let mut now = Instant::now();
        let mut breaker = tripped(now);
        for expected in [s(5), s(10), s(12), s(12)] {
            assert_eq!(breaker.admit(now), Admit::Refuse { retry_after: expected });
            now += expected;
            assert_eq!(breaker.admit(now), Admit::Trial);
            breaker.record(CallOutcome::Failure, now);
        }
    }

    #[test]
    fn a_lost_trial_does_not_refuse_forever() {
        let mut now = Instant::now();
        let mut breaker = tripped(now);
        for _ in 0..3 {
            now += s(5);
            assert_eq!(breaker.admit(now), Admit::Trial, "no outcome was ever recorded");
        }
    }

    #[test]
    fn late_outcomes_of_calls_from_before_the_opening_change_nothing() {
        let now = Instant::now();
        let mut breaker = tripped(now);
        breaker.record(CallOutcome::Success, now + s(1));
        breaker.record(CallOutcome::Failure, now + s(4));
        assert_eq!(breaker.admit(now + s(4)), Admit::Refuse { retry_after: s(1) });
    }

    #[test]
    fn a_cap_below_the_cooldown_does_not_shorten_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings { failures_max: 0, cooldown: s(60), cooldown_max: s(30) });
        breaker.record(CallOutcome::Failure, now);
        assert_eq!(breaker.admit(now + s(60)), Admit::Trial);
        breaker.record(CallOutcome::Failure, now + s(60));
        assert_eq!(breaker.admit(now + s(60)), Admit::Refuse { retry_after: s(60) });
    }

    #[test]
    fn a_trial_that_told_nothing_is_given_back() {
        let now = Instant::now();
        let mut breaker = tripped(now);
        assert_eq!((breaker.refusal(now + s(4)), breaker.refusal(now + s(5))), (Some(s(1)), None));
        assert_eq!(breaker.refusal(now + s(5)), None, "asking took no trial");
        assert_eq!(breaker.admit(now + s(5)), Admit::Trial);
        assert_eq!(breaker.refusal(now + s(6)), Some(s(4)), "one trial at a time");
        breaker.forgo(now + s(6));
        assert_eq!(breaker.admit(now + s(6)), Admit::Trial);
        breaker.record(CallOutcome::Failure, now + s(6));
        assert_eq!(breaker.admit(now + s(6)), Admit::Refuse { retry_after: s(10) }, "the doubling went on");
        breaker.forgo(now + s(7));
        assert_eq!(breaker.admit(now + s(7)), Admit::Refuse { retry_after: s(9) }, "only a trial is given back");
    }

    #[test]
    fn jitter_spreads_the_trials_of_those_that_failed_together() {
        let now = Instant::now();
        let waits: std::collections::BTreeSet<Duration> = (0..100)
            .map(|seed| {
                let mut breaker = Breaker::new(SETTINGS).with_jitter(Jitter::new(seed));
                (0..3).for_each(|_| breaker.record(CallOutcome::Failure, now));
                breaker.refusal(now).expect("open")
            })
            .collect();
        assert!(waits.len() > 90, "{} different ones", waits.len());
        assert!(waits.first() >= Some(&s(4)) && waits.last() <= Some(&s(5)), "{waits:?}");
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Admit,
        Success,
        Failure,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step =
            prop_oneof![Just(Step::Admit), Just(Step::Success), Just(Step::Failure), (0..20_u64).prop_map(Step::Wait),];
        proptest::collection::vec(step, 0..80)
    }

    /// The naive twin: it keeps the whole history and works everything out from there each time.
    #[derive(Default)]
    struct Twin {
        failures_in_a_row: u32,
        /// Seconds at which it opened and for how long, then the moments of the trials since.
        opening: Option<(u64, u64, Vec<u64>)>,
    }

    impl Twin {
        fn admit(&mut self, t: u64) -> Admit {
            let Some((opened, cooldown, trials)) = &mut self.opening else { return Admit::Call };
            let end = trials.last().unwrap_or(opened) + *cooldown;
            if t < end {
                return Admit::Refuse { retry_after: s(end - t) };
            }
            trials.push(t);
            Admit::Trial
        }

        fn success(&mut self) {
            if self.opening.as_ref().is_none_or(|(_, _, trials)| !trials.is_empty()) {
                *self = Self::default();
            }
        }

        fn failure(&mut self, t: u64) {
            match &self.opening {
                Some((_, _, trials)) if trials.is_empty() => {}
                Some((_, cooldown, _)) => self.opening = Some((t, (cooldown * 2).min(12), Vec::new())),
                None => {
                    self.failures_in_a_row += 1;
                    if self.failures_in_a_row == 3 {
                        self.opening = Some((t, 5, Vec::new()));
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_twin(steps in steps()) {
            let start = Instant::now();
            let (mut t, mut breaker, mut twin) = (0, Breaker::new(SETTINGS), Twin::default());
            for step in steps {
                let now = start + s(t);
                match step {
                    Step::Admit => prop_assert_eq!(breaker.admit(now), twin.admit(t)),
                    Step::Success => { breaker.record(CallOutcome::Success, now); twin.success(); }
                    Step::Failure => { breaker.record(CallOutcome::Failure, now); twin.failure(t); }
                    Step::Wait(seconds) => t += seconds,
                }
            }
        }

        #[test]
        fn between_two_outcomes_one_cooldown_admits_at_most_one_trial(waits in proptest::collection::vec(0..5_u64, 1..50)) {
            let start = Instant::now();
            let mut breaker = tripped(start);
            let (mut t, mut trials) = (0, Vec::new());
            for wait in waits {
                t += wait;
                if breaker.admit(start + s(t)) == Admit::Trial {
                    trials.push(t);
                }
            }
            prop_assert!(trials.windows(2).all(|pair| pair[1] - pair[0] >= 5), "{trials:?}");
        }
    }
}
