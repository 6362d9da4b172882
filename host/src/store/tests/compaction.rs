//! A smaller file while it is read and written.

use super::watched::{Film, watched};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records of some 200 bytes.
const MANY: usize = 90_000;

async fn fill(store: &Store, count: usize, when: SystemTime) {
    for first in (0..count).step_by(500) {
        let records = (first..count.min(first + 500)).map(|n| AuditRecord { at: when, ..audit(n.to_string()) });
        let written = futures_util::future::join_all(records.map(|record| store.append_audit(record))).await;
        assert!(written.iter().all(Result::is_ok), "{written:?}");
    }
}

async fn remove_older(store: &Store, before: SystemTime) {
    while store.purge_audit(before, at(2_000)).await.unwrap() > 0 {}
}

#[tokio::test]
async fn what_is_free_is_given_back_and_every_record_is_there() {
    let place = Place::new();
    let store = place.open();
    store.create_account(account("ann"), None, audit("first")).await.unwrap();
    store.put_session(ID, session(), audit("session")).await.unwrap();
    fill(&store, MANY, at(10)).await;
    let full = store.usage().await.unwrap();
    assert!(full.file_bytes > 16 << 20 && !full.is_worth_compacting(), "{full:?}");
    fill(&store, 100, at(1_000)).await;
    remove_older(&store, at(500)).await;
    let emptied = store.usage().await.unwrap();
    assert!(emptied.is_worth_compacting() && emptied.file_bytes >= full.file_bytes, "{emptied:?}");

    let head = store.verify_audit(None).await.unwrap();
    let done = store.compact().await.unwrap();
    println!("{done:?}, {emptied:?}");
    assert_eq!((done.before_bytes, done.after_bytes), (emptied.file_bytes, store.file_bytes()));
    assert!(done.after_bytes < 4 << 20, "{done:?}");
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!store.usage().await.unwrap().is_worth_compacting());

    store.append_audit(audit("after")).await.unwrap();
    assert_eq!(store.account("ann").unwrap(), Some(account("ann")));
    assert_eq!(store.session(ID).unwrap(), Some(session()));
    let after = store.verify_audit(Some(head.head)).await.unwrap();
    assert_eq!((after.fault, after.records), (None, head.records + 1));
    assert!(matches!(Store::open(&place.config()), Err(StoreError::Locked { .. })), "it is ours as before");
    store.close().await.unwrap();
    assert_eq!(reasons(&place.open()).await.last().unwrap(), "after");
}

#[tokio::test]
async fn a_file_that_is_in_use_to_the_last_page_becomes_no_larger() {
    let place = Place::new();
    let store = place.open();
    fill(&store, MANY, at(10)).await;
    let used = store.usage().await.unwrap().used_bytes;
    for round in 0..3 {
        // Each write may double the file, but not the room that it takes.
        store.append_audit(audit(round.to_string())).await.unwrap();
        assert!(!store.usage().await.unwrap().is_worth_compacting(), "or it would be done again each hour");
        let done = store.compact().await.unwrap();
        println!("{done:?}, {used} bytes of pages");
        assert!(done.after_bytes <= done.before_bytes && done.after_bytes < used + used / 8, "{done:?}, {used}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_and_writes_meanwhile_notices_nothing() {
    let place = Place::new();
    let store = place.open();
    store.create_account(account("ann"), None, audit("first")).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reading = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut reads = 0_u64;
            while !done.load(Ordering::Relaxed) {
                assert!(store.account("ann").unwrap().is_some());
                reads += 1;
                std::thread::yield_now();
            }
            reads
        })
    };
    let (mut written, mut compacted) = (0_usize, 0);
    for round in 0..20 {
        let (writes, compaction) = tokio::join!(fill(&store, 100, at(round)), store.compact());
        let () = writes;
        written += 100;
        match compaction {
            Ok(_) => compacted += 1,
            Err(error) => assert!(matches!(error, StoreError::ReadUnderWay), "{error:?}"),
        }
    }
    done.store(true, Ordering::Relaxed);
    assert!(reading.join().unwrap() > 0);
    assert!(compacted > 5, "{compacted} of 20");
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.fault, verdict.records), (None, written as u64 + 1));
}

#[tokio::test]
async fn a_kill_at_any_moment_of_it_leaves_everything() {
    let place = Place::new();
    let film = Film::new(place.path());
    let store = Store::open_with(&place.config(), watched(&film)).unwrap();
    store.create_account(account("ann"), None, audit("first")).await.unwrap();
    fill(&store, 20, at(10)).await;
    let before = film.frames().len();
    store.compact().await.unwrap();
    let frames = film.frames().split_off(before);
    drop(store);
    assert!(frames.len() > 3, "it is written in {} steps", frames.len());
    for path in frames {
        // What the kill left of the new file beside it.
        let mut left = path.clone().into_os_string();
        left.push(".compacting");
        std::fs::write(&left, b"half of a file").unwrap();
        let store = Store::open(&StorageConfig::at(path)).unwrap();
        assert_eq!(store.verify_audit(None).await.unwrap().records, 21);
        assert!(store.account("ann").unwrap().is_some());
        assert!(!Path::new(&left).exists(), "it is of no use to anybody");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_read_that_lasts_is_not_disturbed_and_a_second_compaction_waits_for_it() {
    let place = Place::new();
    let store = place.open();
    block_on(fill(&store, 2_000, at(10)));
    let read = store.shared.snapshots.read(|txn| {
        let first = block_on(store.compact());
        assert!(first.is_ok(), "{first:?}");
        let second = block_on(store.compact());
        assert!(matches!(second, Err(StoreError::ReadUnderWay)), "{second:?}");
        crate::store::audit::verify(txn, None)
    });
    assert_eq!(read.unwrap().records, 2_000);
    assert!(block_on(store.compact()).is_ok(), "the reader has ended");
    let copy = place.directory.path().join("copy.redb");
    assert_eq!(block_on(store.back_up(copy)).unwrap().audit.records, 2_000);
}
