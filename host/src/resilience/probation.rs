use crate::resilience::CallOutcome;
use tokio::time::Instant;

/// How much may go wrong before something new is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So many failures in a row are too many. 0 counts as 1.
    pub failures_in_a_row_max: u32,
    /// The share of failures is not looked at before so many calls.
    pub calls_min: u64,
    /// More failures than this share of the calls, in thousandths, are too many.
    pub permille_max: u64,
}

/// What became of something new until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its time is not over.
    OnTrial,
    /// It failed too often. It stays so.
    Failed,
    /// Its time is over and it kept to its budget. It stays so.
    Passed,
}

/// Watches something new for a while.
#[derive(Debug, Clone)]
pub struct Probation {
    budget: Budget,
    until: Instant,
    calls: u64,
    failures: u64,
    in_a_row: u32,
    standing: Standing,
}

impl Probation {
    /// A probation that ends at `until`.
    #[must_use]
    pub const fn new(budget: Budget, until: Instant) -> Self {
        Self { budget, until, calls: 0, failures: 0, in_a_row: 0, standing: Standing::OnTrial }
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Where it stands now.
    pub fn standing(&mut self, now: Instant) -> Standing {
        if self.standing == Standing::OnTrial && now >= self.until {
            self.standing = Standing::Passed;
        }
        self.standing
    }

    /// Notes how a call ended. What ends after the probation does not count.
    pub fn record(&mut self, outcome: CallOutcome, now: Instant) -> Standing {
        if self.standing(now) != Standing::OnTrial {
            return self.standing;
        }
        self.calls = self.calls.saturating_add(1);
        match outcome {
            CallOutcome::Success => self.in_a_row = 0,
            CallOutcome::Failure => {
                self.failures = self.failures.saturating_add(1);
                self.in_a_row = self.in_a_row.saturating_add(1);
            }
        }
        let Budget { failures_in_a_row_max, calls_min, permille_max } = self.budget;
        let share_max = self.calls.saturating_mul(permille_max) / 1_000;
        if self.in_a_row >= failures_in_a_row_max.max(1) || (self.calls >= calls_min && self.failures > share_max) {
            self.standing = Standing::Failed;
        }
        self.standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallOutcome::{Failure, Success};
    use proptest::prelude::*;
    use std::time::Duration;

    const BUDGET: Budget = Budget { failures_in_a_row_max: 3, calls_min: 500, permille_max: 10 };

    fn probation(now: Instant) -> Probation {
        Probation::new(BUDGET, now + Duration::from_secs(60))
    }

    #[test]
    fn three_failures_in_a_row_are_too_many_and_two_are_not() {
        let now = Instant::now();
        let mut trial = probation(now);
        for outcome in [Failure, Failure, Success, Failure, Failure] {
            assert_eq!(trial.record(outcome, now), Standing::OnTrial);
        }
        assert_eq!(trial.record(Failure, now), Standing::Failed);
        assert_eq!(trial.record(Success, now + Duration::from_secs(61)), Standing::Failed, "it stays so");
    }

    #[test]
    fn more_than_one_in_a_hundred_is_too_many_once_there_were_enough_calls() {
        let now = Instant::now();
        let mut trial = probation(now);
        for call in 1..500 {
            let outcome = if call % 80 == 0 { Failure } else { Success };
            assert_eq!(trial.record(outcome, now), Standing::OnTrial, "{call}");
        }
        assert_eq!(trial.record(Success, now), Standing::Failed, "6 of 500 are more than 5");
    }

    #[test]
    fn what_fails_after_its_time_does_not_count() {
        let now = Instant::now();
        let mut trial = probation(now);
        let after = now + Duration::from_secs(60);
        assert_eq!(trial.standing(after), Standing::Passed);
        for _ in 0..10 {
            assert_eq!(trial.record(Failure, after), Standing::Passed);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_twin(outcomes in proptest::collection::vec(prop::bool::weighted(0.02), 0..900)) {
            let now = Instant::now();
            let mut trial = probation(now);
            let mut failed = false;
            for (at, _) in outcomes.iter().enumerate() {
                let seen = &outcomes[..=at];
                let failures = seen.iter().filter(|is_failure| **is_failure).count();
                failed |= seen.ends_with(&[true; 3]) || (seen.len() >= 500 && failures * 100 > seen.len());
                let outcome = if outcomes[at] { Failure } else { Success };
                prop_assert_eq!(trial.record(outcome, now) == Standing::Failed, failed, "{}", at);
            }
        }
    }
}
