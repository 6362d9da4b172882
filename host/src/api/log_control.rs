//! The host's own log, as far as the API reaches it: which lines it lets through, and which were lost.

use crate::config::LogFilter;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What the log lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevels {
    /// The filter that counts now.
    pub in_force: String,
    /// That of the configuration, which counts again afterwards.
    pub configured: String,
    /// Until when another one counts than the configuration's.
    pub until: Option<SystemTime>,
    /// Who set it.
    pub by: Option<String>,
}

/// Changes what the log lets through, while the host runs.
pub trait LogControl: fmt::Debug + Send + Sync {
    /// What counts now.
    fn levels(&self) -> LogLevels;

    /// Has another filter count for so long, in the place of one that was set before.
    ///
    /// # Errors
    /// A sentence when the log does not take it; then nothing has changed.
    fn set_for(&self, filter: &LogFilter, lasts: Duration, by: &str) -> Result<LogLevels, String>;

    /// Has the configuration's filter count again.
    ///
    /// # Errors
    /// As [`Self::set_for`].
    fn reset(&self) -> Result<LogLevels, String>;
}

/// Lines of the log that were lost, counted by whoever writes them.
#[derive(Debug)]
pub struct LogLoss {
    began: Instant,
    lines: AtomicU64,
    /// When the last one was lost, in milliseconds since `began` and one more; 0 for never.
    last_ms: AtomicU64,
    is_broken: AtomicBool,
}

impl Default for LogLoss {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            lines: AtomicU64::default(),
            last_ms: AtomicU64::default(),
            is_broken: AtomicBool::default(),
        }
    }
}

impl LogLoss {
    /// A line was lost.
    pub fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.lines.fetch_add(1, Relaxed);
        self.last_ms.fetch_max(now + 1, Relaxed);
    }

    /// Whether the last line that went out was written.
    pub fn note_written(&self, is_written: bool) {
        self.is_broken.store(!is_written, Relaxed);
    }

    /// Lines lost since the start.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// True while what is logged cannot be written.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    /// How long ago the last line was lost, if one was.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        let at = self.last_ms.load(Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_has_a_number_and_an_age() {
        let loss = LogLoss::default();
        assert_eq!((loss.lines(), loss.last()), (0, None));
        loss.note();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((loss.lines(), loss.last()), (1, Some(Duration::from_secs(5))));
        loss.note();
        assert_eq!((loss.lines(), loss.last()), (2, Some(Duration::ZERO)));
    }
}
