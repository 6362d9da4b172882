//! What a pool counts of itself.

use crate::model::{ClassCounts, Classes};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes that calls of nodes are sorted into by their time, in microseconds.
const TIME_BOUNDS_US: [u64; 11] =
    [500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 15_000_000];

/// What a call of a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// To see how it does.
    Look,
    /// To read a log.
    Log,
    /// To carry out an order.
    Order,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Look, Self::Log, Self::Order];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Log => "log",
            Self::Order => "order",
        }
    }
}

/// What a pool has done since it was started.
#[derive(Debug)]
pub struct PoolMetrics {
    /// Calls of adapters that ended well.
    pub calls_ok: AtomicU64,
    /// Calls of adapters that failed.
    pub calls_failed: AtomicU64,
    /// Orders taken by supervisors.
    pub orders: AtomicU64,
    /// Hint streams opened.
    pub hint_streams: AtomicU64,
    /// Breakers that opened.
    pub breaker_opens: AtomicU64,
    breakers_open: AtomicI64,
    times_us: [Classes; CallKind::ALL.len()],
}

impl Default for PoolMetrics {
    fn default() -> Self {
        Self {
            calls_ok: AtomicU64::default(),
            calls_failed: AtomicU64::default(),
            orders: AtomicU64::default(),
            hint_streams: AtomicU64::default(),
            breaker_opens: AtomicU64::default(),
            breakers_open: AtomicI64::default(),
            times_us: CallKind::ALL.map(|_| Classes::new(&TIME_BOUNDS_US)),
        }
    }
}

impl PoolMetrics {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// A call that ended by itself took so long, the wait for its place not counted.
    pub(super) fn took(&self, kind: CallKind, time: Duration) {
        if let Some(classes) = self.times_us.get(kind as usize) {
            classes.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// How long calls took that ended by themselves, in microseconds. All kinds together are as many as `calls_ok` and
    /// `calls_failed`.
    #[must_use]
    pub fn times(&self) -> [(CallKind, ClassCounts); CallKind::ALL.len()] {
        let mut times = CallKind::ALL.map(|kind| (kind, ClassCounts::default()));
        for ((_, counts), classes) in times.iter_mut().zip(&self.times_us) {
            *counts = classes.counts();
        }
        times
    }

    /// Nodes whose breaker lets nothing through but trials.
    #[must_use]
    pub fn breakers_open(&self) -> i64 {
        self.breakers_open.load(Relaxed)
    }
}

/// Kept while a breaker is open, so that one whose node goes is no longer counted.
pub(super) struct OpenBreaker(Arc<PoolMetrics>);

impl OpenBreaker {
    pub(super) fn new(metrics: Arc<PoolMetrics>) -> Self {
        PoolMetrics::add(&metrics.breaker_opens);
        metrics.breakers_open.fetch_add(1, Relaxed);
        Self(metrics)
    }
}

impl Drop for OpenBreaker {
    fn drop(&mut self) {
        self.0.breakers_open.fetch_sub(1, Relaxed);
    }
}
