use std::time::Duration;

/// Numbers that differ from owner to owner, and are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Jitter(fastrand::Rng);

impl Jitter {
    /// A row of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// `time`, less up to `share` of it; `share` is from 0 to 1.
    pub fn shorten(&mut self, time: Duration, share: f64) -> Duration {
        time.mul_f64(1.0 - share.clamp(0.0, 1.0) * self.0.f64())
    }
}
