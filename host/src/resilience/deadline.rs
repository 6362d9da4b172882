use std::time::Duration;
use tokio::time::Instant;

/// The moment by which something has to be over. It can only come nearer along a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

/// Further away than any wait of ours, near enough that adding it to a moment never overflows.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

impl Deadline {
    /// A deadline at this moment.
    #[must_use]
    pub const fn at(at: Instant) -> Self {
        Self { at }
    }

    /// A deadline `limit` from now. A limit beyond what the clock can hold becomes thirty years.
    #[must_use]
    pub fn after(now: Instant, limit: Duration) -> Self {
        Self { at: now.checked_add(limit).unwrap_or_else(|| now + FAR) }
    }

    /// The moment itself, for `tokio::time::timeout_at`.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.at
    }

    /// The time left, zero once it has passed.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }

    /// True when no time is left.
    #[must_use]
    pub fn is_over(self, now: Instant) -> bool {
        self.at <= now
    }

    /// The nearer of two deadlines.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { at: self.at.min(other.at) }
    }

    /// What is left of this one for a step that may take `limit` at most.
    #[must_use]
    pub fn shrunk_to(self, now: Instant, limit: Duration) -> Self {
        self.min(Self::after(now, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_left_ends_at_zero_and_stays_there() {
        let now = Instant::now();
        let deadline = Deadline::after(now, SECOND);
        assert_eq!(deadline.remaining(now), SECOND);
        assert_eq!(deadline.remaining(now + SECOND * 3), Duration::ZERO);
        assert!(!deadline.is_over(now));
        assert!(deadline.is_over(now + SECOND), "the moment itself is too late");
    }

    #[test]
    fn an_endless_limit_does_not_overflow() {
        let now = Instant::now();
        assert!(Deadline::after(now, Duration::MAX).remaining(now) >= SECOND * 86_400);
    }

    proptest! {
        #[test]
        fn along_a_path_a_deadline_never_moves_away(
            start_ms in 0..100_000_u64,
            steps in proptest::collection::vec((0..5_000_u64, 0..50_000_u64), 0..20),
        ) {
            let mut now = Instant::now();
            let mut deadline = Deadline::after(now, Duration::from_millis(start_ms));
            for (passed, limit) in steps {
                now += Duration::from_millis(passed);
                let limit = Duration::from_millis(limit);
                let inner = deadline.shrunk_to(now, limit);
                prop_assert!(inner <= deadline);
                prop_assert_eq!(inner.remaining(now), deadline.remaining(now).min(limit).min(inner.remaining(now)));
                prop_assert!(inner.remaining(now) <= limit);
                deadline = inner;
            }
        }
    }
}
