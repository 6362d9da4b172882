use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many changes of the configuration ended in which way.
#[derive(Debug, Default)]
pub struct ReloadFigures {
    applied: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
}

impl ReloadFigures {
    /// Counts one. `None` is a refusal, else whether anything differed.
    pub(super) fn count(&self, is_changed: Option<bool>) {
        let counter = match is_changed {
            Some(true) => &self.applied,
            Some(false) => &self.unchanged,
            None => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Each word with its count.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [("applied", &self.applied), ("unchanged", &self.unchanged), ("refused", &self.refused)]
            .map(|(word, counter)| (word, counter.load(Relaxed)))
    }
}
