mod accounts;
mod audit;
mod compaction;
mod crash;
mod faults;
mod keys;
mod secrets;
mod watched;

pub(crate) use faults::SlowDisk;

use super::*;
use crate::model::{Fault, Role, RoleGrant, Secret};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state/omnivisor.redb")
    }

    fn config(&self) -> StorageConfig {
        StorageConfig::at(self.path())
    }

    fn open(&self) -> Store {
        Store::open(&self.config()).unwrap()
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn audit(reason: impl Into<String>) -> AuditRecord {
    AuditRecord {
        at: at(0),
        who: "ann".into(),
        what: "session.login".into(),
        target: "web-1".into(),
        outcome: AuditOutcome::Done,
        reason: reason.into(),
        request_id: "r1".into(),
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
}

#[tokio::test]
async fn the_artefact_key_is_made_once_and_stays_and_differs_between_databases() {
    let place = Place::new();
    let store = place.open();
    let (one, other) = tokio::join!(store.artefact_key(), store.artefact_key());
    let key = one.unwrap();
    assert_eq!(key, other.unwrap(), "who asks at the same time gets the same one");
    assert!(key.reveal().len() == 64 && key.reveal().chars().all(|c| c.is_ascii_hexdigit()));
    store.close().await.unwrap();
    assert_eq!(place.open().artefact_key().await.unwrap(), key);
    assert_ne!(Place::new().open().artefact_key().await.unwrap(), key);
}

fn account(name: &str) -> Account {
    let grants = vec![RoleGrant::everywhere(Role::Admin)];
    Account::new(name.into(), Secret::new("$argon2id$x".into()), grants, at(0))
}

fn session() -> Session {
    Session {
        account: "ann".into(),
        strategy: "auth-local".into(),
        external: None,
        epoch: 0,
        scopes: vec![],
        created: at(0),
        last_used: at(0),
        expires: at(1_000),
    }
}

const ID: SessionId = SessionId([7; 32]);

async fn reasons(store: &Store) -> Vec<String> {
    let newest_first = store.recent_audit(AUDIT_PAGE_MAX).await.unwrap();
    newest_first.into_iter().rev().map(|entry| entry.record.reason).collect()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_under_the_same_instance_id() {
    let place = Place::new();
    let store = place.open();
    let instance = store.instance_id().to_owned();
    store.create_account(account("ann"), None, audit("account")).await.unwrap();
    store.put_session(ID, session(), audit("session")).await.unwrap();
    store.close().await.unwrap();

    let store = place.open();
    assert_eq!(store.instance_id(), instance);
    assert_eq!(instance.len(), 32);
    assert_eq!(store.account("ann").unwrap(), Some(account("ann")));
    assert_eq!(store.session(ID).unwrap(), Some(session()));
    assert_eq!((store.account("bob").unwrap(), store.accounts_count().unwrap()), (None, 1));
    let entries = store.recent_audit(10).await.unwrap();
    assert_eq!((entries[0].number, &entries[0].record), (2, &audit("session")));
    assert_eq!(entries.len(), 2);
}

#[tokio::test]
async fn file_and_directory_are_for_their_owner_alone() {
    let place = Place::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(place.open());
    assert_eq!((mode(&place.path()), mode(place.path().parent().unwrap())), (0o600, 0o700));
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(place.open());
    assert_eq!(mode(&place.path()), 0o600, "password hashes are taken away from the others");
}

#[tokio::test]
async fn a_second_one_is_told_that_another_is_running() {
    let place = Place::new();
    let store = place.open();
    let error = Store::open(&place.config()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { path } if *path == place.path()), "{error:?}");
    assert_eq!(error.to_string(), format!("another Omnivisor is running on this data ({})", place.path().display()));
    drop(store);
    drop(place.open());
}

#[tokio::test]
async fn a_file_of_schema_1_is_taken_over_with_all_that_is_in_it() {
    let place = Place::new();
    let store = place.open();
    let instance = store.instance_id().to_owned();
    store.create_account(account("ann"), None, audit("account")).await.unwrap();
    store.put_session(ID, session(), audit("session")).await.unwrap();
    store.close().await.unwrap();
    let db = redb::Database::open(place.path()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(tables::META).unwrap().insert("schema", 1_u32.to_be_bytes().as_slice()).unwrap();
    assert!(txn.delete_table(tables::API_KEYS).unwrap());
    txn.commit().unwrap();
    drop(db);
    for _ in 0..2 {
        let store = place.open();
        assert_eq!(store.instance_id(), instance);
        assert_eq!(store.account("ann").unwrap(), Some(account("ann")));
        assert_eq!(store.session(ID).unwrap(), Some(session()));
        assert_eq!(store.api_key("x").unwrap(), None, "the table is there");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_not_changed() {
    let place = Place::new();
    drop(place.open());
    let db = redb::Database::open(place.path()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(tables::META).unwrap().insert("schema", 9_u32.to_be_bytes().as_slice()).unwrap();
    txn.commit().unwrap();
    let unclean = std::fs::read(place.path()).unwrap();
    drop(db);
    let clean = std::fs::read(place.path()).unwrap();
    assert!(clean != unclean, "one is as a kill leaves it");
    for before in [clean, unclean] {
        std::fs::write(place.path(), &before).unwrap();
        let error = Store::open(&place.config()).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { found: 9, supported: tables::SCHEMA, .. }), "{error:?}");
        assert!(std::fs::read(place.path()).unwrap() == before, "the file changed");
    }
}

#[test]
fn a_file_of_something_else_is_refused_in_words_and_not_changed() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    for garbage in [b"not a database at all".repeat(1_000), vec![0; 40], vec![0; 1_048_576], b"redb".to_vec()] {
        std::fs::write(place.path(), &garbage).unwrap();
        let error = Store::open(&place.config()).unwrap_err();
        assert!(matches!(error, StoreError::NotADatabase { .. }), "{error:?}");
        assert_eq!(std::fs::read(place.path()).unwrap(), garbage);
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_not_changed() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    let db = redb::Database::create(place.path()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    txn.commit().unwrap();
    drop(db);
    let before = std::fs::read(place.path()).unwrap();
    let error = Store::open(&place.config()).unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error:?}");
    assert!(std::fs::read(place.path()).unwrap() == before, "the file changed");
}

#[tokio::test]
async fn a_damaged_or_cut_file_is_an_error_and_not_a_panic() {
    let place = Place::new();
    let store = place.open();
    for n in 0..50 {
        store.append_audit(audit(n.to_string())).await.unwrap();
    }
    store.close().await.unwrap();
    let whole = std::fs::read(place.path()).unwrap();
    let mut scrambled = whole.clone();
    scrambled[64..4_096].fill(0xa5);
    for broken in [whole[..whole.len() / 2].to_vec(), whole[..100].to_vec(), scrambled] {
        std::fs::write(place.path(), broken).unwrap();
        let error = Store::open(&place.config()).unwrap_err();
        assert_eq!(error.fault(), Fault::Host);
        assert!(error.to_string().contains("omnivisor.redb"), "{error}");
    }
}

#[test]
fn a_directory_in_the_files_place_is_named() {
    let place = Place::new();
    std::fs::create_dir_all(place.path()).unwrap();
    let error = Store::open(&place.config()).unwrap_err();
    assert!(matches!(&error, StoreError::Open { path, .. } if *path == place.path()), "{error:?}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_taken_name_is_refused_and_its_account_stays() {
    let place = Place::new();
    let store = place.open();
    store.create_account(account("ann"), None, audit("first")).await.unwrap();
    let other = Account { grants: vec![], ..account("ann") };
    let error = store.create_account(other, None, audit("second")).await.unwrap_err();
    assert!(matches!(&error, StoreError::AccountExists { name } if name == "ann"));
    assert_eq!(error.fault(), Fault::Caller);
    assert_eq!(store.account("ann").unwrap(), Some(account("ann")));
    assert_eq!(reasons(&store).await, ["first"], "what did not happen is not audited as done");
}

#[tokio::test]
async fn of_many_first_accounts_at_once_exactly_one_is_created() {
    let place = Place::new();
    let store = place.open();
    let tries = (0..20).map(|n| {
        let store = store.clone();
        async move { store.create_first_account(account(&format!("admin{n}")), audit("first")).await }
    });
    let results = futures_util::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(StoreError::AccountsExist))));
    assert_eq!(store.accounts_count().unwrap(), 1);
}

#[tokio::test]
async fn a_session_ends_once_and_a_late_touch_does_not_bring_it_back() {
    let place = Place::new();
    let store = place.open();
    store.put_session(ID, session(), audit("in")).await.unwrap();
    assert!(store.delete_session(ID, audit("out")).await.unwrap());
    assert!(!store.delete_session(ID, audit("again")).await.unwrap());
    store.touch_session(ID, at(5)).unwrap();
    store.append_audit(audit("later")).await.unwrap();
    assert_eq!(store.session(ID).unwrap(), None);
    assert_eq!(reasons(&store).await, ["in", "out", "later"]);
}

#[tokio::test]
async fn a_touch_moves_the_last_use_forward_and_never_back() {
    let place = Place::new();
    let store = place.open();
    store.put_session(ID, session(), audit("in")).await.unwrap();
    for seconds in [5, 50, 20] {
        store.touch_session(ID, at(seconds)).unwrap();
    }
    store.append_audit(audit("behind the touches")).await.unwrap();
    assert_eq!(store.session(ID).unwrap().unwrap().last_used, at(50));
}

#[tokio::test]
async fn a_purge_takes_what_is_past_its_end_or_idle_and_nothing_else() {
    let place = Place::new();
    let store = place.open();
    let long = Session { expires: at(10_000), ..session() };
    let cases = [
        (SessionId([1; 32]), Session { expires: at(100), ..long.clone() }),
        (SessionId([2; 32]), Session { last_used: at(39), ..long.clone() }),
        (SessionId([3; 32]), Session { last_used: at(41), ..long }),
    ];
    for (id, session) in cases {
        store.put_session(id, session, audit("in")).await.unwrap();
    }
    assert_eq!(store.purge_sessions(at(100), Duration::from_secs(60)).await.unwrap(), 2);
    assert!(store.session(SessionId([3; 32])).unwrap().is_some());
    assert_eq!(store.purge_sessions(at(100), Duration::from_secs(60)).await.unwrap(), 0);
}

#[tokio::test]
async fn after_closing_everything_answers_closed() {
    let place = Place::new();
    let store = place.open();
    let other = store.clone();
    store.append_audit(audit("1")).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(other.append_audit(audit("2")).await, Err(StoreError::Closed)));
    assert!(matches!(other.touch_session(ID, at(0)), Err(StoreError::Closed)));
    assert!(matches!(other.account("ann"), Err(StoreError::Closed)));
    assert!(matches!(other.recent_audit(1).await, Err(StoreError::Closed)));
    assert!(matches!(store.close().await, Err(StoreError::Closed)));
    assert_eq!(reasons(&place.open()).await, ["1"], "the file is free although clones are left");
}

#[tokio::test]
async fn closing_carries_out_what_was_accepted_before() {
    let place = Place::new();
    let store = place.open();
    let writes = (0..200).map(|n| store.append_audit(audit(n.to_string())));
    let (results, closed) = tokio::join!(futures_util::future::join_all(writes), store.close());
    closed.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(reasons(&place.open()).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_commits_and_none_is_lost() {
    const CALLERS: usize = 64;
    const EACH: usize = 150;
    let place = Place::new();
    let store = place.open();
    let begun = tokio::time::Instant::now();
    let tracker = tokio_util::task::TaskTracker::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        tracker.spawn(async move {
            for n in 0..EACH {
                store.append_audit(audit(format!("{caller}.{n}"))).await.unwrap();
            }
        });
    }
    tracker.close();
    tracker.wait().await;
    let rate = (CALLERS * EACH) as f64 / begun.elapsed().as_secs_f64();
    println!("{CALLERS} callers, each waiting for its own record: {rate:.0} durable records/s");
    let newest = store.recent_audit(1).await.unwrap();
    assert_eq!(newest[0].number, (CALLERS * EACH) as u64, "numbers have no hole");
}

#[tokio::test]
async fn overwriting_does_not_let_the_file_grow() {
    let place = Place::new();
    let store = place.open();
    let mut sizes = Vec::new();
    for n in 0..400_u64 {
        let touched = Session { last_used: at(n), ..session() };
        store.put_session(ID, touched, audit("")).await.unwrap();
        sizes.push(std::fs::metadata(place.path()).unwrap().len());
    }
    // The audit itself grows by some 150 bytes a record.
    assert!(sizes[399] - sizes[99] <= 1_024 * 1_024, "{} to {}", sizes[99], sizes[399]);
}
