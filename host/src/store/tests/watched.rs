//! A file below the real engine, with somebody who is asked before each step that changes it.

use super::*;
use crate::store::disk::{Access, Opener, open_backend};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A step that changes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    SetLen,
    Sync,
    Write { offset: u64 },
}

/// Somebody who sees each step before it is done, and may refuse it.
pub(super) trait Watch: std::fmt::Debug + Send + Sync + 'static {
    fn before(&self, step: Step) -> io::Result<()>;
}

#[derive(Debug)]
struct Watched<W> {
    file: FileBackend,
    watch: Arc<W>,
}

/// Opens files whose every step `watch` sees.
pub(super) fn watched<W: Watch>(watch: &Arc<W>) -> impl Opener + use<W> {
    let watch = Arc::clone(watch);
    move |file: File, access: Access| -> Result<redb::Database, DatabaseError> {
        open_backend(Watched { file: FileBackend::new(file)?, watch: Arc::clone(&watch) }, access)
    }
}

impl<W: Watch> StorageBackend for Watched<W> {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.watch.before(Step::SetLen)?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        self.watch.before(Step::Sync)?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.watch.before(Step::Write { offset })?;
        self.file.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A watch that keeps a copy of a file as it is before each step: what a kill at that moment would leave.
#[derive(Debug)]
pub(super) struct Film {
    path: PathBuf,
    taken: AtomicUsize,
}

impl Film {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, taken: AtomicUsize::new(0) })
    }

    /// The copies until now.
    pub(super) fn frames(&self) -> Vec<PathBuf> {
        (0..self.taken.load(Ordering::Relaxed)).map(|number| self.frame(number)).collect()
    }

    fn frame(&self, number: usize) -> PathBuf {
        self.path.with_extension(number.to_string())
    }
}

impl Watch for Film {
    fn before(&self, _step: Step) -> io::Result<()> {
        std::fs::copy(&self.path, self.frame(self.taken.fetch_add(1, Ordering::Relaxed))).map(drop)
    }
}
