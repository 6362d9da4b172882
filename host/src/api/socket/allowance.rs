use std::time::Duration;
use tokio::time::Instant;

/// So much a second, and so much at once after a rest.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u64,
    burst: u64,
    left: u64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, left: burst, at: Instant::now() }
    }

    /// Takes `amount`; false when there is not so much left.
    pub(super) fn take(&mut self, amount: u64) -> bool {
        let earned = self.at.elapsed().as_millis().saturating_mul(u128::from(self.per_second)) / 1000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        if earned > 0 {
            // The clock moves by what was paid out, so that a fraction is not lost.
            self.at += Duration::from_millis(earned.saturating_mul(1000) / self.per_second.max(1));
            self.left = self.left.saturating_add(earned).min(self.burst);
        }
        match self.left.checked_sub(amount) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_allowance_allows_its_burst_and_then_its_rate() {
        let mut allowance = Allowance::new(20, 64);
        assert_eq!((0..100).filter(|_| allowance.take(1)).count(), 64);
        tokio::time::advance(Duration::from_millis(49)).await;
        assert!(!allowance.take(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(allowance.take(1));
        assert!(!allowance.take(1));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!((0..100).filter(|_| allowance.take(1)).count(), 64, "a rest earns no more than a burst");
    }
}
