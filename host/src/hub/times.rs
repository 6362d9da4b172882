use crate::model::{ClassCounts, Classes};
use std::time::Duration;

/// Upper bounds of the classes, in microseconds.
const BOUNDS_US: [u64; 12] =
    [50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000];

/// How long something took, each time.
#[derive(Debug)]
pub(super) struct Times(Classes);

impl Default for Times {
    fn default() -> Self {
        Self(Classes::new(&BOUNDS_US))
    }
}

impl Times {
    pub(super) fn note(&self, time: Duration) {
        self.0.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// In microseconds.
    pub(super) fn read(&self) -> ClassCounts {
        self.0.counts()
    }
}
