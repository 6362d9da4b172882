use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes, in microseconds. Longer times are in a class of their own.
const BOUNDS_US: [u64; 12] =
    [50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000];

/// How long something took, each time: counted by class.
#[derive(Debug, Default)]
pub(super) struct Times {
    classes: [AtomicU64; BOUNDS_US.len() + 1],
    total_us: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeClasses {
    /// All together.
    pub total: Duration,
    /// The longest time of each class and how many were in it, in rising order; `None` for those that were longer.
    pub classes: Vec<(Option<Duration>, u64)>,
}

impl Times {
    pub(super) fn note(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(class) = self.classes.get(at) {
            class.fetch_add(1, Relaxed);
        }
        self.total_us.fetch_add(us, Relaxed);
    }

    pub(super) fn read(&self) -> TimeClasses {
        let bounds = BOUNDS_US.iter().map(|us| Some(Duration::from_micros(*us))).chain([None]);
        TimeClasses {
            total: Duration::from_micros(self.total_us.load(Relaxed)),
            classes: bounds.zip(&self.classes).map(|(bound, count)| (bound, count.load(Relaxed))).collect(),
        }
    }
}

impl TimeClasses {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_class_that_it_fits() {
        let times = Times::default();
        for us in [0, 50, 51, 30_000_000, 30_000_001] {
            times.note(Duration::from_micros(us));
        }
        let read = times.read();
        assert_eq!((read.count(), read.total), (5, Duration::from_micros(60_000_102)));
        let counts: Vec<u64> = read.classes.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(read.classes.last().unwrap().0, None);
    }
}
