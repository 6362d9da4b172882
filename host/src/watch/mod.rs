//! Files that change: told by the system when something in a directory does, and when to read then.
//!
//! Knows nothing of what is in the files. Entry points: [`FileWatch`], [`Debounce`], [`Mark`].

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So long nothing has to change before files are read, so that a copy under way is not read in its middle.
const QUIET: Duration = Duration::from_millis(300);
/// So long a directory that never rests is left unread at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Watches a directory. Dropping it ends the watch.
pub struct FileWatch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Begins to watch. The directory is watched, not its files: editors and installers replace files.
    ///
    /// # Errors
    /// The directory is not there, or the system watches no more.
    pub fn start(directory: &Path) -> Result<Self, notify::Error> {
        let changed = Arc::new(Notify::new());
        let seen = Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            match event {
                Ok(event) if !is_change(&event.kind) => {}
                // An overflow of the system's queue comes as an error or without paths: look, then.
                Ok(_) | Err(_) => seen.notify_one(),
            }
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(Self { changed, _watcher: watcher })
    }

    /// Waits until something changed.
    ///
    /// # Cancel safety
    /// A change is not lost.
    pub async fn changed(watch: Option<&Self>) {
        match watch {
            Some(watch) => watch.changed.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// Reading a file is no change; our own reading would call us again without end.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// When to read after changes: once they rest, or once patience ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debounce {
    due: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Something changed.
    pub fn note(&mut self, now: Instant) {
        let latest = self.due.map_or(now + PATIENCE, |(_, latest)| latest);
        self.due = Some(((now + QUIET).min(latest), latest));
    }

    /// When it is time, if anything changed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }

    /// True once, when it is time.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|(at, _)| at <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }
}

/// What a file looked like from outside when it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    /// What this says of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_rest_but_not_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        assert!(!debounce.take(start));
        debounce.note(start);
        assert!(!debounce.take(start + QUIET / 2));
        debounce.note(start + QUIET / 2);
        assert!(!debounce.take(start + QUIET));
        assert!(debounce.take(start + QUIET * 3 / 2));
        assert!(!debounce.take(start + QUIET * 2), "once");
        let mut now = start;
        debounce.note(now);
        while now < start + PATIENCE {
            assert!(!debounce.take(now));
            debounce.note(now);
            now += QUIET / 3;
        }
        assert!(debounce.take(start + PATIENCE));
    }
}
