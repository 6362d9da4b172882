use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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

/// What a plugin has done since it was loaded.
#[derive(Debug, Default)]
pub struct PluginCounters {
    outcomes: [AtomicU64; OUTCOMES.len()],
    running: AtomicU64,
    fuel_total: AtomicU64,
    fuel_last: AtomicU64,
    memory_bytes_last: AtomicU64,
    memory_bytes_peak: AtomicU64,
    time_us_total: AtomicU64,
    log_lines_dropped: AtomicU64,
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
        CountersSnapshot {
            outcomes,
            running: self.running.load(Relaxed),
            fuel_total: self.fuel_total.load(Relaxed),
            fuel_last: self.fuel_last.load(Relaxed),
            memory_bytes_last: self.memory_bytes_last.load(Relaxed),
            memory_bytes_peak: self.memory_bytes_peak.load(Relaxed),
            time_total: Duration::from_micros(self.time_us_total.load(Relaxed)),
            log_lines_dropped: self.log_lines_dropped.load(Relaxed),
        }
    }

    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add(&self, usage: Usage, took: Duration) {
        self.fuel_total.fetch_add(usage.fuel, Relaxed);
        self.fuel_last.store(usage.fuel, Relaxed);
        self.memory_bytes_last.store(usage.memory_bytes as u64, Relaxed);
        self.memory_bytes_peak.fetch_max(usage.memory_bytes as u64, Relaxed);
        self.time_us_total.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.log_lines_dropped.fetch_add(usage.log_lines_dropped, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
