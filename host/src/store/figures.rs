use crate::model::{ClassCounts, Classes};
use crate::store::Store;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes that commits are sorted into by their time, in microseconds.
const COMMIT_BOUNDS_US: [u64; 9] = [500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];

/// What a database has done since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Writes that are on the disk.
    pub written: u64,
    /// Writes whose commit failed: nothing of them is on the disk.
    pub failed: u64,
    /// Writes that were refused because too many waited.
    pub refused: u64,
    /// Writes that wait for the writer thread.
    pub waiting: usize,
    /// How long commits took, in microseconds. Each carries out all writes that waited.
    pub commits_us: ClassCounts,
}

/// The counters, which the writer thread and those who ask it share.
pub(super) struct Counters {
    written: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    commits_us: Classes,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            written: AtomicU64::default(),
            failed: AtomicU64::default(),
            refused: AtomicU64::default(),
            commits_us: Classes::new(&COMMIT_BOUNDS_US),
        }
    }
}

impl Counters {
    pub(super) fn committed(&self, writes: usize, took: Duration) {
        self.written.fetch_add(writes as u64, Relaxed);
        self.commits_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn failed(&self, writes: usize) {
        self.failed.fetch_add(writes as u64, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}

impl Store {
    /// What the database has done since it was opened. Never waits.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        let counters = &self.shared.snapshots.counters;
        StoreFigures {
            written: counters.written.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            waiting: self.writes_waiting(),
            commits_us: counters.commits_us.counts(),
        }
    }
}
