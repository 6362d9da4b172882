use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Lets so many lines pass in a window of time and counts the others, so that nobody who keeps failing, or talking,
/// fills the log.
#[derive(Debug)]
pub struct Storm {
    lines_max: u32,
    window: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    start: Option<Instant>,
    lines: u32,
    untold: u64,
}

impl Storm {
    /// Lets `lines_max` lines pass in each `window`.
    #[must_use]
    pub fn new(lines_max: u32, window: Duration) -> Self {
        Self { lines_max, window, seen: Mutex::default() }
    }

    /// Whether to write a line now; if so, how many were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.start.is_none_or(|start| now.saturating_duration_since(start) >= self.window) {
            seen.start = Some(now);
            seen.lines = 0;
        }
        if seen.lines >= self.lines_max {
            seen.untold += 1;
            return None;
        }
        seen.lines += 1;
        Some(std::mem::take(&mut seen.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_of_five_and_then_how_many_more_there_were() {
        let window = Duration::from_secs(10);
        let storm = Storm::new(5, window);
        let told: Vec<_> = (0..8).map(|_| storm.admit(Instant::now())).collect();
        assert_eq!(told, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        tokio::time::advance(window).await;
        assert_eq!(storm.admit(Instant::now()), Some(3));
        assert_eq!(storm.admit(Instant::now()), Some(0));
    }
}
