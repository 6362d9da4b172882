use std::time::Duration;

/// How long to wait before the next try: doubling from a base up to a cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins at `base` and never waits longer than `max`. A `base` above `max` waits `max`.
    #[must_use]
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, next: base.min(max) }
    }

    /// The next wait. `jitter` is the caller's random number between 0 and 1: 0 waits the full time, 1 half of it, so
    /// that many who failed together do not come back together. Anything else counts as 0.
    #[must_use]
    pub fn wait(&mut self, jitter: f64) -> Duration {
        let nominal = self.next;
        self.next = nominal.saturating_mul(2).min(self.max);
        let jitter = if (0.0..=1.0).contains(&jitter) { jitter } else { 0.0 };
        nominal.mul_f64(1.0 - jitter / 2.0)
    }

    /// Begins again at the base, after a success.
    pub fn reset(&mut self) {
        self.next = self.base.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn doubles_up_to_the_cap_and_begins_again_after_a_success() {
        let mut backoff = Backoff::new(ms(100), ms(500));
        let waits: Vec<_> = (0..5).map(|_| backoff.wait(0.0)).collect();
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(500), ms(500)]);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), ms(100));
    }

    #[test]
    fn jitter_shortens_by_at_most_half_and_nonsense_counts_as_none() {
        assert_eq!(Backoff::new(ms(100), ms(500)).wait(1.0), ms(50));
        for bad in [-1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Backoff::new(ms(100), ms(500)).wait(bad), ms(100), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_formula(
            base in 1..10_000_u64,
            max in 1..1_000_000_u64,
            jitters in proptest::collection::vec(0.0..=1.0_f64, 1..200),
        ) {
            let mut backoff = Backoff::new(ms(base), ms(max));
            for (n, jitter) in jitters.into_iter().enumerate() {
                let nominal = u128::from(base).checked_shl(u32::try_from(n).unwrap()).filter(|_| n < 60);
                let nominal = ms(u64::try_from(nominal.unwrap_or(u128::MAX).min(u128::from(max))).unwrap());
                let wait = backoff.wait(jitter);
                prop_assert!(wait <= nominal && wait >= nominal / 2, "{wait:?} of {nominal:?}");
            }
        }

        #[test]
        fn the_largest_times_do_not_overflow(jitter in 0.0..=1.0_f64) {
            let mut backoff = Backoff::new(Duration::MAX / 4, Duration::MAX / 2);
            for _ in 0..5 {
                prop_assert!(backoff.wait(jitter) <= Duration::MAX / 2);
            }
        }
    }
}
