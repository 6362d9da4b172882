use crate::resilience::CallOutcome;
use tokio::time::Instant;

/// So many callers may be excused together.
const EXCUSED_MAX: usize = 2;

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
///
/// A caller is a number that the owner makes of whoever asks, or none where it cannot tell. Failures of one caller alone
/// say more about what that caller sends than about what is new: they do not count while another was served. Neither do
/// those of two alone while two others were served. The first failure of one caller more makes a row of failures count
/// whoever they are of.
#[derive(Debug, Clone)]
pub struct Probation {
    budget: Budget,
    until: Instant,
    calls: u64,
    failures: u64,
    /// Failures by caller, for the first callers who had any.
    culprits: Vec<(u64, u64)>,
    in_a_row: u32,
    /// Whose the failures in a row are.
    row: Callers,
    /// Who was served.
    served: Callers,
    standing: Standing,
}

/// As much as has to be remembered of a set of callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Callers {
    known: Vec<u64>,
    /// Or some of whom it is not known who they are.
    has_more: bool,
}

impl Callers {
    /// As many as can make a difference: those who are excused, and as many others.
    const KNOWN_MAX: usize = 2 * EXCUSED_MAX;

    fn note(&mut self, caller: Option<u64>) {
        match caller {
            Some(caller) if self.known.contains(&caller) => {}
            Some(caller) if self.known.len() < Self::KNOWN_MAX => self.known.push(caller),
            Some(_) | None => self.has_more = true,
        }
    }

    /// Whether there are at least as many others as these.
    fn outnumber(&self, culprits: &[u64]) -> bool {
        self.known.iter().filter(|caller| !culprits.contains(caller)).count() >= culprits.len()
    }
}

impl Probation {
    /// Callers whose failures are told apart; the failures of further ones always count.
    pub const CULPRITS_MAX: usize = 16;

    /// A probation that ends at `until`.
    #[must_use]
    pub const fn new(budget: Budget, until: Instant) -> Self {
        Self {
            budget,
            until,
            calls: 0,
            failures: 0,
            culprits: Vec::new(),
            in_a_row: 0,
            row: Callers { known: Vec::new(), has_more: false },
            served: Callers { known: Vec::new(), has_more: false },
            standing: Standing::OnTrial,
        }
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
    ///
    /// `caller` is whose call it was; none if that is not known. Such a call counts if it failed, and does not speak for
    /// anybody if it did not.
    pub fn record(&mut self, outcome: CallOutcome, caller: Option<u64>, now: Instant) -> Standing {
        if self.standing(now) != Standing::OnTrial {
            return self.standing;
        }
        self.calls = self.calls.saturating_add(1);
        match outcome {
            CallOutcome::Success => {
                (self.in_a_row, self.row) = (0, Callers::default());
                if caller.is_some() {
                    self.served.note(caller);
                }
            }
            CallOutcome::Failure => {
                self.failures = self.failures.saturating_add(1);
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.row.note(caller);
                self.hold_against(caller);
            }
        }
        if self.has_failed_in_a_row() || self.has_failed_too_often() {
            self.standing = Standing::Failed;
        }
        self.standing
    }

    fn hold_against(&mut self, caller: Option<u64>) {
        let Some(caller) = caller else { return };
        if let Some((_, failures)) = self.culprits.iter_mut().find(|(culprit, _)| *culprit == caller) {
            *failures = failures.saturating_add(1);
        } else if self.culprits.len() < Self::CULPRITS_MAX {
            self.culprits.push((caller, 1));
        }
    }

    fn has_failed_in_a_row(&self) -> bool {
        if self.in_a_row < self.budget.failures_in_a_row_max.max(1) {
            return false;
        }
        let Callers { known: culprits, has_more } = &self.row;
        *has_more || culprits.len() > EXCUSED_MAX || !self.served.outnumber(culprits)
    }

    fn has_failed_too_often(&self) -> bool {
        let Budget { calls_min, permille_max, .. } = self.budget;
        let share_max = self.calls.saturating_mul(permille_max) / 1_000;
        // What is excused is worked out only where it could matter.
        self.calls >= calls_min && self.failures > share_max && self.failures.saturating_sub(self.excused()) > share_max
    }

    /// The most failures that one caller, or two, have to answer for alone.
    fn excused(&self) -> u64 {
        let pairs = self.culprits.iter().enumerate().flat_map(|(at, one)| {
            self.culprits.iter().skip(at + 1).map(|other| (vec![one.0, other.0], one.1.saturating_add(other.1)))
        });
        let alone = self.culprits.iter().map(|(culprit, failures)| (vec![*culprit], *failures));
        let excusable = alone.chain(pairs).filter(|(culprits, _)| self.served.outnumber(culprits));
        excusable.map(|(_, failures)| failures).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallOutcome::{Failure, Success};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const CALLERS: u64 = 6;

    const BUDGET: Budget = Budget { failures_in_a_row_max: 3, calls_min: 500, permille_max: 10 };

    fn probation(now: Instant) -> Probation {
        Probation::new(BUDGET, now + Duration::from_secs(60))
    }

    const ANN: Option<u64> = Some(1);
    const BOB: Option<u64> = Some(2);

    /// Two who ask from two addresses cannot have what serves two others given up, neither by a row nor by their share.
    #[test]
    fn two_alone_give_up_nothing_that_serves_two_others() {
        let now = Instant::now();
        let mut trial = probation(now);
        trial.record(Success, Some(3), now);
        let mut with_one_other = trial.clone();
        let standings = [ANN, BOB, ANN].map(|who| with_one_other.record(Failure, who, now));
        assert_eq!(standings, [Standing::OnTrial, Standing::OnTrial, Standing::Failed], "one is not as many as two");
        trial.record(Success, Some(4), now);
        for _ in 0..1_000 {
            assert_eq!(trial.record(Failure, ANN, now), Standing::OnTrial);
            assert_eq!(trial.record(Failure, BOB, now), Standing::OnTrial);
        }
        assert_eq!(trial.record(Failure, Some(3), now), Standing::Failed, "a third in one row");
    }

    #[test]
    fn three_failures_in_a_row_are_too_many_and_two_are_not() {
        let now = Instant::now();
        let mut trial = probation(now);
        for outcome in [Failure, Failure, Success, Failure, Failure] {
            assert_eq!(trial.record(outcome, ANN, now), Standing::OnTrial);
        }
        assert_eq!(trial.record(Failure, ANN, now), Standing::Failed, "there is only one caller");
        assert_eq!(trial.record(Success, ANN, now + Duration::from_secs(61)), Standing::Failed, "it stays so");
    }

    #[test]
    fn one_caller_alone_gives_up_nothing_that_serves_another() {
        let now = Instant::now();
        let mut trial = probation(now);
        trial.record(Success, BOB, now);
        for _ in 0..1_000 {
            assert_eq!(trial.record(Failure, ANN, now), Standing::OnTrial);
        }
        assert_eq!(trial.clone().record(Failure, BOB, now), Standing::Failed, "two fail in one row");
        trial.record(Success, BOB, now);
        for _ in 0..2 {
            assert_eq!(trial.record(Failure, BOB, now), Standing::OnTrial, "two in a row");
        }
        assert_eq!(trial.record(Failure, BOB, now), Standing::Failed, "nobody but the one who fails was served");
    }

    #[test]
    fn a_call_of_nobody_known_speaks_for_nobody_and_counts_if_it_fails() {
        let now = Instant::now();
        let mut trial = probation(now);
        trial.record(Success, None, now);
        let mut of_one = trial.clone();
        let standings = [(); 3].map(|()| of_one.record(Failure, ANN, now));
        assert_eq!(standings, [Standing::OnTrial, Standing::OnTrial, Standing::Failed]);
        trial.record(Success, BOB, now);
        let standings = [(); 3].map(|()| trial.record(Failure, None, now));
        assert_eq!(standings, [Standing::OnTrial, Standing::OnTrial, Standing::Failed]);
    }

    #[test]
    fn more_than_one_in_a_hundred_is_too_many_once_there_were_enough_calls() {
        let now = Instant::now();
        for (others, expected) in [(ANN, Standing::Failed), (BOB, Standing::OnTrial)] {
            let mut trial = probation(now);
            for call in 1..500 {
                let (outcome, caller) = if call % 80 == 0 { (Failure, ANN) } else { (Success, others) };
                assert_eq!(trial.record(outcome, caller, now), Standing::OnTrial, "{call}");
            }
            assert_eq!(trial.record(Success, others, now), expected, "6 of 500 are more than 5, {others:?}");
        }
    }

    #[test]
    fn what_fails_after_its_time_does_not_count() {
        let now = Instant::now();
        let mut trial = probation(now);
        let after = now + Duration::from_secs(60);
        assert_eq!(trial.standing(after), Standing::Passed);
        for _ in 0..10 {
            assert_eq!(trial.record(Failure, ANN, after), Standing::Passed);
        }
    }

    /// What the rules say of these calls, counted anew: whose each was, and whether it failed.
    fn has_failed(seen: &[(Option<u64>, bool)]) -> bool {
        let served: BTreeSet<u64> = seen.iter().filter(|call| !call.1).filter_map(|call| call.0).collect();
        let is_excusable =
            |culprits: &BTreeSet<u64>| culprits.len() <= 2 && served.difference(culprits).count() >= culprits.len();
        let row: Vec<_> = seen.iter().rev().take_while(|(_, is_failure)| *is_failure).collect();
        let is_excused = row.iter().all(|(caller, _)| caller.is_some())
            && is_excusable(&row.iter().filter_map(|(caller, _)| *caller).collect());
        let of = |culprit: u64| seen.iter().filter(|call| **call == (Some(culprit), true)).count();
        let pairs = (0..CALLERS).flat_map(|one| (0..CALLERS).map(move |other| BTreeSet::from([one, other])));
        let excused = pairs.filter(is_excusable).map(|pair| pair.into_iter().map(of).sum()).max().unwrap_or(0);
        let failures = seen.iter().filter(|(_, is_failure)| *is_failure).count() - excused;
        (row.len() >= 3 && !is_excused) || (seen.len() >= 500 && failures * 100 > seen.len())
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_twin(
            seen in proptest::collection::vec((prop::option::weighted(0.97, 0..CALLERS), prop::bool::weighted(0.03)), 0..600),
            bad in prop::collection::btree_set(0..=CALLERS, 0..3),
        ) {
            let now = Instant::now();
            let mut trial = probation(now);
            let mut failed = false;
            // One or two of them, if they are there, fail with every call.
            let is_bad = |who: Option<u64>| who.is_some_and(|who| bad.contains(&who));
            let seen: Vec<_> = seen.into_iter().map(|(who, failed)| (who, failed || is_bad(who))).collect();
            for (at, (caller, is_failure)) in seen.iter().enumerate() {
                // Nothing else can make a difference.
                if *is_failure || at >= 499 {
                    failed |= has_failed(&seen[..=at]);
                }
                let outcome = if *is_failure { Failure } else { Success };
                prop_assert_eq!(trial.record(outcome, *caller, now) == Standing::Failed, failed, "{}", at);
            }
        }

        #[test]
        fn one_caller_alone_never_gives_up_what_served_another_first(failures in proptest::collection::vec(prop::bool::ANY, 0..900)) {
            let now = Instant::now();
            let mut trial = probation(now);
            trial.record(Success, BOB, now);
            for is_anns in failures {
                let (outcome, caller) = if is_anns { (Failure, ANN) } else { (Success, BOB) };
                prop_assert_eq!(trial.record(outcome, caller, now), Standing::OnTrial);
            }
        }
    }
}
