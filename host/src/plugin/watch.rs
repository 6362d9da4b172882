//! The plugins' directory: told when something in it changes, read only where it did.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So long nothing has to change before files are read, so that a copy under way is not read in its middle.
const QUIET: Duration = Duration::from_millis(300);
/// So long a directory that never rests is left unread at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Watches a directory. Dropping it ends the watch.
pub(super) struct FileWatch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Begins to watch. The directory is watched, not its files: editors and installers replace files.
    pub(super) fn start(directory: &Path) -> Result<Self, notify::Error> {
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
    pub(super) async fn changed(watch: Option<&Self>) {
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
pub(super) struct Debounce {
    due: Option<(Instant, Instant)>,
}

impl Debounce {
    pub(super) fn note(&mut self, now: Instant) {
        let latest = self.due.map_or(now + PATIENCE, |(_, latest)| latest);
        self.due = Some(((now + QUIET).min(latest), latest));
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }

    /// True once, when it is time.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|(at, _)| at <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }
}

/// What a file looked like from outside when it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files that look other than they did. Blocks.
pub(super) fn changed_files(
    files: Vec<(String, PathBuf)>,
    marks: &BTreeMap<String, Mark>,
) -> Vec<(String, PathBuf, Mark)> {
    let look = |(name, path): (String, PathBuf)| {
        let metadata = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let mark = Mark::of(&metadata);
        (marks.get(&name) != Some(&mark)).then_some((name, path, mark))
    };
    files.into_iter().filter_map(look).collect()
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

    #[test]
    fn a_file_that_was_replaced_or_rewritten_looks_other() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("a.wasm");
        let files = || vec![("a".to_owned(), path.clone())];
        let mut marks = BTreeMap::new();
        assert!(changed_files(files(), &marks).is_empty(), "nothing is there");
        std::fs::write(&path, b"one").expect("room");
        let [(name, _, mark)] = changed_files(files(), &marks).try_into().expect("one");
        marks.insert(name, mark);
        assert!(changed_files(files(), &marks).is_empty());
        std::fs::write(place.path().join("new"), b"two").expect("room");
        std::fs::rename(place.path().join("new"), &path).expect("one file system");
        assert_eq!(changed_files(files(), &marks).len(), 1, "same size, other file");
        std::fs::remove_file(&path).expect("it is there");
        assert!(changed_files(files(), &marks).is_empty(), "a file that is gone is no reason to stop serving");
    }
}
