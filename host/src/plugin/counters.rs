use crate::model::Classes;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How a call can end, in the order of [`OUTCOMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It gave a result.
    Ok,
    /// It reported a fault, or its node did not answer in time.
    Fault,
    /// Its caller went away.
    Cancelled,
    OutOfFuel,
    TimedOut,
    OutOfMemory,
    TooMuchData,
    OutOfStack,
    Trapped,
    /// Not begun, for it failed too often before.
    Quarantined,
    Busy,
}

/// The words for [`Outcome`] in metrics.
const OUTCOMES: [&str; 11] = [
    "ok",
    "fault",
    "cancelled",
    "out_of_fuel",
    "timed_out",
    "out_of_memory",
    "too_much_data",
    "out_of_stack",
    "trapped",
    "quarantined",
    "busy",
];

/// Upper bounds of the classes that calls are sorted into by their time, in microseconds, and by their fuel.
const TIME_BOUNDS_US: [u64; 10] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];
const FUEL_BOUNDS: [u64; 7] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// What a plugin has done since it was loaded. What one generation counts is counted for the plugin as a whole too.
#[derive(Debug)]
pub struct PluginCounters {
    totals: OnceLock<Arc<Self>>,
    times_us: Classes,
    fuel: Classes,
    outcomes: [AtomicU64; OUTCOMES.len()],
    running: AtomicU64,
    fuel_last: AtomicU64,
    memory_bytes_last: AtomicU64,
    memory_bytes_peak: AtomicU64,
    log_lines_dropped: AtomicU64,
}

impl Default for PluginCounters {
    fn default() -> Self {
        Self {
            totals: OnceLock::new(),
            times_us: Classes::new(&TIME_BOUNDS_US),
            fuel: Classes::new(&FUEL_BOUNDS),
            outcomes: Default::default(),
            running: AtomicU64::default(),
            fuel_last: AtomicU64::default(),
            memory_bytes_last: AtomicU64::default(),
            memory_bytes_peak: AtomicU64::default(),
            log_lines_dropped: AtomicU64::default(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Calls that ended, by how: `ok`, `fault`, `cancelled`, or the part of a failure's code after `plugin.`.
    pub outcomes: [(&'static str, u64); OUTCOMES.len()],
    /// Calls under way.
    pub running: u64,
    /// Fuel used by all calls.
    pub fuel_total: u64,
    /// Fuel used by the call that ended last.
    pub fuel_last: u64,
    /// The most linear memory that the call which ended last had, in bytes.
    pub memory_bytes_last: u64,
    /// The most linear memory that a call had, in bytes.
    pub memory_bytes_peak: u64,
    /// Time that all calls took, their waits included.
    pub time_total: Duration,
    /// Log lines beyond the budget of their calls.
    pub log_lines_dropped: u64,
    /// Calls by time: upper bounds in microseconds, rising, the last without one, each with the calls in its class.
    pub time_classes: Vec<(u64, u64)>,
    /// Calls by fuel, likewise.
    pub fuel_classes: Vec<(u64, u64)>,
}

impl CountersSnapshot {
    /// Calls that ended, however they did.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.outcomes.iter().map(|(_, count)| count).sum()
    }

    /// Calls that ended so.
    #[must_use]
    pub fn outcome(&self, word: &str) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| *outcome == word).map(|(_, count)| count).sum()
    }
}

/// What one call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub fuel: u64,
    pub memory_bytes: usize,
    pub log_lines_dropped: u64,
}

impl PluginCounters {
    /// The counters now. Calls that end meanwhile may be counted in some and not yet in others.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let mut outcomes = OUTCOMES.map(|word| (word, 0));
        for ((_, count), counter) in outcomes.iter_mut().zip(&self.outcomes) {
            *count = counter.load(Relaxed);
        }
        let (times, fuel) = (self.times_us.counts(), self.fuel.counts());
        CountersSnapshot {
            outcomes,
            running: self.running.load(Relaxed),
            fuel_total: fuel.sum,
            fuel_last: self.fuel_last.load(Relaxed),
            memory_bytes_last: self.memory_bytes_last.load(Relaxed),
            memory_bytes_peak: self.memory_bytes_peak.load(Relaxed),
            time_total: Duration::from_micros(times.sum),
            log_lines_dropped: self.log_lines_dropped.load(Relaxed),
            time_classes: times.classes,
            fuel_classes: fuel.classes,
        }
    }

    /// Counts for `totals` too, from now on. The first one given stays.
    pub(super) fn join(&self, totals: Arc<Self>) {
        // A second one would count every call twice.
        drop(self.totals.set(totals));
    }

    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Relaxed);
        if let Some(totals) = self.totals.get() {
            totals.begin();
        }
    }

    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Relaxed);
        if let Some(totals) = self.totals.get() {
            totals.end();
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.fetch_add(1, Relaxed);
        }
        if let Some(totals) = self.totals.get() {
            totals.count(outcome);
        }
    }

    pub(super) fn add(&self, usage: Usage, took: Duration) {
        self.times_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.fuel.add(usage.fuel);
        if let Some(totals) = self.totals.get() {
            totals.add(usage, took);
        }
        self.fuel_last.store(usage.fuel, Relaxed);
        self.memory_bytes_last.store(usage.memory_bytes as u64, Relaxed);
        self.memory_bytes_peak.fetch_max(usage.memory_bytes as u64, Relaxed);
        self.log_lines_dropped.fetch_add(usage.log_lines_dropped, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_generation_counts_is_counted_for_the_plugin_too_and_each_call_in_one_class() {
        let (totals, counters) = (Arc::<PluginCounters>::default(), PluginCounters::default());
        counters.count(Outcome::Ok);
        counters.join(Arc::clone(&totals));
        counters.count(Outcome::Trapped);
        let usage = Usage { fuel: 10_000, memory_bytes: 5, log_lines_dropped: 1 };
        counters.add(usage, Duration::from_micros(101));
        counters.add(Usage { fuel: u64::MAX, ..usage }, Duration::from_secs(60));
        let (own, all) = (counters.snapshot(), totals.snapshot());
        assert_eq!((own.calls(), all.calls(), all.outcome("trapped")), (2, 1, 1));
        assert_eq!((own.time_classes.clone(), own.log_lines_dropped), (all.time_classes, 2));
        let filled: Vec<_> = own.time_classes.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(500, 1), (u64::MAX, 1)]);
        let filled: Vec<_> = all.fuel_classes.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(10_000, 1), (u64::MAX, 1)]);
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own() {
        let counters = PluginCounters::default();
        counters.count(Outcome::Ok);
        counters.count(Outcome::Busy);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.outcome("ok"), snapshot.outcome("busy"), snapshot.calls()), (1, 1, 2));
        assert_eq!(Outcome::Busy as usize + 1, OUTCOMES.len());
    }
}
