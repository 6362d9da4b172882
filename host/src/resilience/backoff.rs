use crate::resilience::Jitter;
use std::time::Duration;

/// How much of a pause may be left away, so that those who wait for the same thing do not come back together.
const JITTER_SHARE: f64 = 0.2;

/// Pauses between tries that double up to a longest one.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Begins with `first`; no pause is longer than `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, jitter: Jitter) -> Self {
        Self { first: first.min(longest), longest, next: first.min(longest), jitter }
    }

    /// The pause before the next try: twice the one before, less up to a fifth.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        self.jitter.shorten(pause, JITTER_SHARE)
    }

    /// A try went well: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn p11_pauses_double_up_to_the_longest_and_begin_anew_after_a_success(
            first in 1_u64..10_000,
            times in 1_u64..1_000,
            tries in prop::collection::vec(prop::bool::weighted(0.15), 1..60),
            seed: u64,
        ) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(first * times));
            let mut backoff = Backoff::new(first, longest, Jitter::new(seed));
            let mut failed = 0_u32;
            for went_well in tries {
                let due = first.saturating_mul(1_u32.checked_shl(failed).unwrap_or(u32::MAX)).min(longest);
                let pause = backoff.pause();
                prop_assert!(pause <= due && pause >= due.mul_f64(0.799), "{pause:?} after {failed} failures, {due:?} is due");
                failed = if went_well { 0 } else { failed + 1 };
                if went_well {
                    backoff.reset();
                }
            }
        }
    }
}
