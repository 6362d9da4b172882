use crate::store::StoreError;
use crate::store::condition::Condition;
use crate::store::figures::Counters;
use arc_swap::ArcSwapOption;
use redb::ReadTransaction;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long a reader waits for the writer to open the file again after a failed write.
const REOPEN_WAIT: Duration = Duration::from_millis(200);

/// What readers see: the state after the last commit that was acknowledged.
///
/// The writer publishes it. Readers do not begin transactions of their own, because the engine lets a beginning
/// transaction wait for the disk while the file grows.
#[derive(Default)]
pub(super) struct Snapshots {
    current: ArcSwapOption<ReadTransaction>,
    /// How often the file was opened again.
    reopened: Mutex<u64>,
    changed: Condvar,
    /// How the writer does.
    pub(super) condition: Condition,
    /// What it has done.
    pub(super) counters: Counters,
    /// Goes up with each commit that changed accounts.
    account_changes: AtomicU64,
}

impl Snapshots {
    /// Answers what was there before, which somebody may still read.
    pub(super) fn publish(&self, snapshot: ReadTransaction) -> Weak<ReadTransaction> {
        self.current.swap(Some(Arc::new(snapshot))).as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    /// Tells that the state that was published has other accounts.
    pub(super) fn note_account_change(&self) {
        self.account_changes.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn account_changes(&self) -> u64 {
        self.account_changes.load(Ordering::Acquire)
    }

    /// Publishes what there is after the file was opened again, nothing if it could not be.
    pub(super) fn publish_reopened(&self, snapshot: Option<ReadTransaction>) {
        self.current.store(snapshot.map(Arc::new));
        *self.reopened.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.publish_reopened(None);
    }

    /// Runs a short read. It never waits for a write, only for the file to be opened again after a failed one.
    pub(super) fn read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let before = *self.reopened.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match self.try_read(&read) {
            Err(redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
                self.await_reopening(before);
                self.try_read(&read)
            }
            result => result,
        };
        result.map_err(|error| match self.current.load().as_ref() {
            None => StoreError::Closed,
            Some(_) => StoreError::Read { source: Box::new(error) },
        })
    }

    fn try_read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        read(self.current.load_full().as_deref().ok_or(redb::Error::DatabaseClosed)?)
    }

    fn await_reopening(&self, before: u64) {
        if self.current.load().is_none() {
            return;
        }
        let reopened = self.reopened.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(reopened, REOPEN_WAIT, |now| *now == before);
    }
}
