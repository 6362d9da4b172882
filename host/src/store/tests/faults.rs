//! A disk that can be full, fail or hang, below the real engine.

use super::watched::{Step, Watch, watched};
use super::*;
use proptest::prelude::*;
use std::io;
use std::sync::Condvar;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Full,
    ReadOnly,
    SyncFails,
    Hangs,
}

#[derive(Debug)]
struct Weather {
    mood: Mutex<Mood>,
    changed: Condvar,
    /// When steps were refused.
    refusals: Mutex<Vec<Instant>>,
}

impl Weather {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Well), changed: Condvar::new(), refusals: Mutex::default() })
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

impl Watch for Weather {
    fn before(&self, step: Step) -> io::Result<()> {
        let refused = match (self.mood(), step) {
            (Mood::SyncFails, Step::Sync) => Err(io::Error::other("EIO")),
            // Pages that exist can be overwritten on a full disk; the first ones are the header.
            (Mood::Full, Step::Write { offset: 1.. }) => Err(io::ErrorKind::StorageFull.into()),
            (Mood::ReadOnly, _) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            _ => return Ok(()),
        };
        self.refusals.lock().unwrap().push(Instant::now());
        refused
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
    Store::open_with(config, watched(weather)).unwrap()
}

/// The disk under a database of another room's test.
pub(crate) struct SlowDisk(Arc<Weather>);

impl SlowDisk {
    /// A database on a disk that answers, until it is told to hang.
    pub(crate) fn open(config: &StorageConfig) -> (Store, Self) {
        let weather = Weather::new();
        (open_at(config, &weather), Self(weather))
    }

    pub(crate) fn fill(&self, is_full: bool) {
        self.0.set(if is_full { Mood::Full } else { Mood::Well });
    }

    /// When steps were refused.
    pub(crate) fn refusals(&self) -> Vec<Instant> {
        self.0.refusals.lock().unwrap().clone()
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.0.set(if hangs { Mood::Hangs } else { Mood::Well });
    }
}

#[tokio::test]
async fn p11_a_full_disk_refuses_writes_keeps_reading_and_recovers_alone() {
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
async fn p11_a_full_queue_answers_busy_at_once_and_a_slow_disk_times_out() {
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

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_read_and_written_again_once_it_takes_them() {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("before")).await.unwrap();
    weather.set(Mood::ReadOnly);
    for _ in 0..3 {
        let error = store.append_audit(audit("never")).await.unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly), "{error:?}");
        assert_eq!(store.condition(), StoreCondition::ReadOnly);
        assert!(store.account("ann").unwrap().is_some(), "reads go on");
        assert!(matches!(store.compact().await, Err(StoreError::ReadOnly)));
    }
    weather.set(Mood::Well);
    store.append_audit(audit("after")).await.unwrap();
    assert_eq!(store.condition(), StoreCondition::Good);
    assert_eq!(reasons(&store).await, ["before", "after"]);
}

/// What happens to a disk, and what is asked of it meanwhile.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Weather(Mood),
    /// So many write at once.
    Writes(usize),
    Compaction,
    Read,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let mood = prop_oneof![4 => Just(Mood::Well), 2 => Just(Mood::Full), 2 => Just(Mood::ReadOnly)];
    let one = prop_oneof![
        3 => mood.prop_map(Happening::Weather),
        5 => (1_usize..20).prop_map(Happening::Writes),
        1 => Just(Happening::Compaction),
        1 => Just(Happening::Read),
    ];
    prop::collection::vec(one, 1..30)
}

/// Whatever the weather: who writes is answered with a plain word, what was acknowledged is there, what was refused is not,
/// reads go on, and the first write of good weather works.
async fn live_through(happenings: Vec<Happening>) -> Result<(), TestCaseError> {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("0")).await.unwrap();
    let (mut expected, mut count, mut now) = (vec!["0".to_owned()], 0_u32, Mood::Well);
    for happening in happenings.into_iter().chain([Happening::Weather(Mood::Well), Happening::Writes(1)]) {
        match happening {
            Happening::Weather(mood) => {
                now = mood;
                weather.set(mood);
            }
            Happening::Writes(writers) => {
                let numbers: Vec<String> = (0..writers)
                    .map(|_| {
                        count += 1;
                        count.to_string()
                    })
                    .collect();
                let writes = numbers.iter().map(|number| store.append_audit(audit(number)));
                for (number, answer) in numbers.iter().zip(futures_util::future::join_all(writes).await) {
                    match (now, answer) {
                        (_, Ok(())) => expected.push(number.clone()),
                        (Mood::Full, Err(StoreError::Full)) | (Mood::ReadOnly, Err(StoreError::ReadOnly)) => {}
                        (_, Err(error)) => return Err(TestCaseError::fail(format!("{now:?}: {error:?}"))),
                    }
                }
                prop_assert!(now != Mood::ReadOnly || store.condition() == StoreCondition::ReadOnly);
            }
            Happening::Compaction => match (now, store.compact().await) {
                (Mood::Well, Ok(_))
                | (_, Err(StoreError::ReadUnderWay))
                | (Mood::Full, Err(StoreError::Full))
                | (Mood::ReadOnly, Err(StoreError::ReadOnly)) => {}
                (_, answer) => return Err(TestCaseError::fail(format!("{now:?}: {answer:?}"))),
            },
            Happening::Read => prop_assert!(store.account("ann").is_ok_and(|found| found.is_some())),
        }
    }
    prop_assert_eq!(store.condition(), StoreCondition::Good);
    let mut kept = reasons(&store).await;
    kept.sort_by_key(|number| number.parse::<u32>().unwrap());
    prop_assert_eq!(&kept, &expected);
    drop(store);
    let store = place.open();
    prop_assert_eq!(store.verify_audit(None).await.unwrap().fault, None);
    prop_assert_eq!(reasons(&store).await.len(), expected.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn p11_whatever_the_disk_does_callers_are_told_and_nothing_acknowledged_is_lost(happenings in happenings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live_through(happenings))?;
    }
}

#[tokio::test]
async fn p12_a_write_that_took_too_long_leaves_no_lock_and_no_place_behind() {
    let (place, weather) = (Place::new(), Weather::new());
    let store = open(&place, &weather);
    store.create_account(account("ann"), None, audit("before")).await.unwrap();
    for round in 0..3 {
        weather.set(Mood::Hangs);
        let thaw = Thaw(Arc::clone(&weather));
        tokio::time::pause();
        let late = store.append_audit(audit(format!("late {round}"))).await;
        assert!(matches!(late, Err(StoreError::TimedOut { limit: WRITE_TIMEOUT })), "{late:?}");
        assert!(store.account("ann").unwrap().is_some(), "readers wait for nobody");
        tokio::time::resume();
        drop(thaw);
        store.append_audit(audit(format!("after {round}"))).await.unwrap();
        assert_eq!(store.writes_waiting(), 0, "its place in the queue is free again");
    }
    // It was said that a late one may still be written: here each was, once and before what came after it.
    assert_eq!(reasons(&store).await, ["before", "late 0", "after 0", "late 1", "after 1", "late 2", "after 2"]);
    store.close().await.unwrap();
    drop(place.open());
}
