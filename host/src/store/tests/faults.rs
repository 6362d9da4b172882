//! A disk that can be full, fail or hang, below the real engine.

use super::*;
use crate::store::disk::{Access, open_backend};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Condvar;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Full,
    SyncFails,
    Hangs,
}

#[derive(Debug)]
struct Weather {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Weather {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Well), changed: Condvar::new() })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    /// The mood, once the disk does not hang.
    fn mood(&self) -> Mood {
        *self.changed.wait_while(self.mood.lock().unwrap(), |mood| *mood == Mood::Hangs).unwrap()
    }
}

#[derive(Debug)]
struct Moody {
    file: FileBackend,
    weather: Arc<Weather>,
}

impl StorageBackend for Moody {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        match self.weather.mood() {
            Mood::SyncFails => Err(io::Error::other("EIO")),
            Mood::Well | Mood::Full | Mood::Hangs => self.file.sync_data(),
        }
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        match self.weather.mood() {
            // Pages that exist can be overwritten on a full disk; the first ones are the header.
            Mood::Full if offset > 0 => Err(io::ErrorKind::StorageFull.into()),
            Mood::Full | Mood::Well | Mood::SyncFails | Mood::Hangs => self.file.write(offset, data),
        }
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

/// Lets the disk go on when the test ends, also by a panic: the store waits for its thread.
struct Thaw(Arc<Weather>);

impl Drop for Thaw {
    fn drop(&mut self) {
        *self.0.mood.lock().unwrap() = Mood::Well;
        self.0.changed.notify_all();
    }
}

fn open(place: &Place, weather: &Arc<Weather>) -> Store {
    open_at(&place.config(), weather)
}

fn open_at(config: &StorageConfig, weather: &Arc<Weather>) -> Store {
    let weather = Arc::clone(weather);
    let opener = move |file: File, access: Access| -> Result<redb::Database, DatabaseError> {
        open_backend(Moody { file: FileBackend::new(file)?, weather: Arc::clone(&weather) }, access)
    };
    Store::open_with(config, opener).unwrap()
}

/// The disk under a database of another room's test.
pub(crate) struct SlowDisk(Arc<Weather>);

impl SlowDisk {
    /// A database on a disk that answers, until it is told to hang.
    pub(crate) fn open(config: &StorageConfig) -> (Store, Self) {
        let weather = Weather::new();
        (open_at(config, &weather), Self(weather))
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.0.set(if hangs { Mood::Hangs } else { Mood::Well });
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reading_and_recovers_alone() {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("before")).await.unwrap();
    weather.set(Mood::Full);
    for _ in 0..3 {
        let error = store.append_audit(audit("never")).await.unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error:?}");
        assert!(store.account("ann").unwrap().is_some(), "reads go on");
    }
    weather.set(Mood::Well);
    store.append_audit(audit("after")).await.unwrap();
    assert_eq!(reasons(&store).await, ["before", "after"]);
}

#[tokio::test]
async fn a_failed_sync_ends_writing_until_a_restart_and_reads_go_on() {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("before")).await.unwrap();
    weather.set(Mood::SyncFails);
    let error = store.append_audit(audit("never")).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "{error:?}");
    weather.set(Mood::Well);
    let error = store.append_audit(audit("never")).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "a disk that failed once is not trusted again: {error:?}");
    assert!(store.account("ann").unwrap().is_some(), "what is on the disk can be read");
    drop(store);
    let store = open(&place, &weather);
    store.append_audit(audit("restarted")).await.unwrap();
    assert_eq!(reasons(&store).await, ["before", "restarted"]);
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once_and_a_slow_disk_times_out() {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("before")).await.unwrap();
    weather.set(Mood::Hangs);
    let _thaw = Thaw(Arc::clone(&weather));
    tokio::time::pause();
    // More than the queue holds and the thread has taken out together.
    let writes = (0..3 * WRITES_MAX).map(|n| store.append_audit(audit(n.to_string())));
    let results = futures_util::future::join_all(writes).await;
    let busy = results.iter().filter(|result| matches!(result, Err(StoreError::Busy { limit: WRITES_MAX }))).count();
    let late =
        results.iter().filter(|result| matches!(result, Err(StoreError::TimedOut { limit: WRITE_TIMEOUT }))).count();
    assert_eq!(busy + late, results.len());
    assert!(busy >= WRITES_MAX, "{busy} of {} were told at once", results.len());
    assert!(store.account("ann").unwrap().is_some(), "readers do not wait for the writer");
    tokio::time::resume();
    weather.set(Mood::Well);
    store.close().await.unwrap();
    let kept = reasons_count(&place).await;
    assert_eq!(kept, late + 1, "what was accepted was written all the same");
}

async fn reasons_count(place: &Place) -> usize {
    let newest = place.open().recent_audit(1).await.unwrap();
    usize::try_from(newest[0].number).unwrap()
}
