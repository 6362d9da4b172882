use std::time::Duration;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);
const LINES_MAX: u32 = 5;

/// Lets five lines pass in ten seconds and counts the others, so that a plugin that keeps failing does not fill the log.
#[derive(Debug, Default)]
pub(super) struct Storm {
    window: Option<Instant>,
    lines: u32,
    untold: u64,
}

impl Storm {
    /// Whether to write a line now; if so, how many were left out since the last one.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.window.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.untold += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_of_five_and_then_how_many_more_there_were() {
        let mut storm = Storm::default();
        let told: Vec<_> = (0..8).map(|_| storm.admit(Instant::now())).collect();
        assert_eq!(told, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        tokio::time::advance(WINDOW).await;
        assert_eq!(storm.admit(Instant::now()), Some(3));
        assert_eq!(storm.admit(Instant::now()), Some(0));
    }
}
