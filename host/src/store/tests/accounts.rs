//! Accounts and roles: what holds between records, and how older files are taken over.

use super::watched::{Film, watched};
use super::*;
use crate::model::Scope;
use crate::store::tables::{ACCOUNTS, META, ROLES};

fn viewer(scope: &str) -> RoleGrant {
    RoleGrant { role: "viewer".into(), scope: scope.parse().unwrap() }
}

fn access(is_disabled: Option<bool>, hash: Option<&str>, keep: Option<SessionId>) -> AccountEdit {
    AccountEdit::Access { password_hash: hash.map(|hash| Secret::new(hash.into())), is_disabled, keep }
}

fn revision(store: &Store, name: &str) -> u64 {
    store.account(name).unwrap().unwrap().revision
}

async fn edit(store: &Store, name: &str, edit: AccountEdit) -> Result<(), StoreError> {
    store.edit_account(name, revision(store, name), edit, None, audit("edit")).await
}

/// With the administrator `ann` and with `bob`, who was granted nothing.
async fn house(place: &Place) -> Store {
    let store = place.open();
    store.create_account(account("ann"), None, audit("account")).await.unwrap();
    let bob = Account { grants: vec![], ..account("bob") };
    store.create_account(bob, None, audit("account")).await.unwrap();
    store
}

#[tokio::test]
async fn of_two_who_read_the_same_revision_one_changes_it_and_nothing_is_lost() {
    let place = Place::new();
    let store = house(&place).await;
    let read = revision(&store, "bob");
    let grants = AccountEdit::Grants(vec![viewer("node:a")]);
    let (one, other) = tokio::join!(
        store.edit_account("bob", read, grants, None, audit("one")),
        store.edit_account("bob", read, access(Some(true), None, None), None, audit("other")),
    );
    assert!(matches!((one, other), (Ok(()), Err(StoreError::Stale))), "the second one has to read again");
    let bob = store.account("bob").unwrap().unwrap();
    assert_eq!((bob.grants, bob.is_disabled, bob.revision), (vec![viewer("node:a")], false, read + 1));
    edit(&store, "bob", access(Some(true), None, None)).await.unwrap();
    let bob = store.account("bob").unwrap().unwrap();
    assert_eq!((bob.grants.len(), bob.is_disabled), (1, true), "neither change undid the other");
    let unknown = store.edit_account("eve", 1, AccountEdit::Remove, None, audit("eve")).await;
    assert!(matches!(unknown, Err(StoreError::NoAccount { .. })));
    assert_eq!(reasons(&store).await, ["account", "account", "one", "edit"]);
}

#[tokio::test]
async fn whoever_has_changed_since_he_was_judged_changes_nobody() {
    let place = Place::new();
    let store = house(&place).await;
    let by = |revision| Some(Editor { name: "ann".into(), revision });
    let read = revision(&store, "ann");
    edit(&store, "ann", access(None, Some("$argon2id$y"), None)).await.unwrap();
    let bob = revision(&store, "bob");
    let grants = || AccountEdit::Grants(vec![RoleGrant::everywhere(Role::Admin)]);
    let refused = store.edit_account("bob", bob, grants(), by(read), audit("late")).await;
    assert!(matches!(refused, Err(StoreError::Stale)));
    store.edit_account("bob", bob, grants(), by(read + 1), audit("in time")).await.unwrap();
    edit(&store, "ann", access(Some(true), None, None)).await.unwrap();
    let refused = store.create_account(account("eve"), by(revision(&store, "ann")), audit("disabled")).await;
    assert!(matches!(refused, Err(StoreError::Stale)), "nor does one who is disabled");
}

#[tokio::test]
async fn the_last_administrator_stays_whichever_way_two_are_taken_away_at_once() {
    let ways = || {
        let demoted =
            AccountEdit::Grants(vec![viewer("everything"), RoleGrant { role: "admin".into(), ..viewer("node:a") }]);
        [demoted, AccountEdit::Remove, access(Some(true), None, None)]
    };
    for (first, second) in [("ann", "bob"), ("bob", "ann")] {
        for one in ways() {
            for other in ways() {
                let place = Place::new();
                let store = house(&place).await;
                edit(&store, "bob", AccountEdit::Grants(vec![RoleGrant::everywhere(Role::Admin)])).await.unwrap();
                let (of_first, of_second) = (revision(&store, first), revision(&store, second));
                let (a, b) = tokio::join!(
                    store.edit_account(first, of_first, one.clone(), None, audit("one")),
                    store.edit_account(second, of_second, other.clone(), None, audit("other")),
                );
                assert!(matches!((a, b), (Ok(()), Err(StoreError::LastAdministrator))), "{first} {one:?}, {other:?}");
                let left = store.account(second).unwrap().unwrap();
                assert!(!left.is_disabled && left.grants == [RoleGrant::everywhere(Role::Admin)]);
            }
        }
    }
}

#[tokio::test]
async fn an_administrator_of_a_part_is_no_administrator_and_may_go() {
    let place = Place::new();
    let store = house(&place).await;
    let part = RoleGrant { role: "admin".into(), scope: Scope::Environment("prod".into()) };
    edit(&store, "bob", AccountEdit::Grants(vec![part])).await.unwrap();
    assert!(matches!(edit(&store, "ann", AccountEdit::Remove).await, Err(StoreError::LastAdministrator)));
    edit(&store, "bob", AccountEdit::Remove).await.unwrap();
    assert_eq!(store.account("bob").unwrap(), None);
}

#[tokio::test]
async fn a_new_password_ends_every_session_but_the_one_that_is_kept() {
    let place = Place::new();
    let store = house(&place).await;
    let [kept, other, of_ann] = [1, 2, 3].map(|n| SessionId([n; 32]));
    for (id, name) in [(kept, "bob"), (other, "bob"), (of_ann, "ann")] {
        store.put_session(id, Session { account: name.into(), ..session() }, audit("in")).await.unwrap();
    }
    edit(&store, "bob", access(None, Some("$argon2id$y"), Some(kept))).await.unwrap();
    let bob = store.account("bob").unwrap().unwrap();
    assert_eq!((bob.password_hash.reveal(), bob.epoch), ("$argon2id$y", bob.revision));
    assert_eq!(store.session(kept).unwrap().unwrap().epoch, bob.epoch);
    assert_eq!((store.session(other).unwrap(), store.session(of_ann).unwrap().is_some()), (None, true));
    let wrong = access(None, Some("$argon2id$z"), Some(of_ann));
    edit(&store, "bob", wrong).await.unwrap();
    assert_eq!(store.session(kept).unwrap(), None, "a session of somebody else is none to keep");
    assert_eq!(store.session(of_ann).unwrap().unwrap().account, "ann");
    let ids: Vec<_> = store.sessions_of("ann".into()).await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [of_ann]);
}

#[tokio::test]
async fn nothing_of_a_removed_account_is_left_for_the_next_of_its_name() {
    let place = Place::new();
    let store = house(&place).await;
    let key = IssuedKey {
        id: "k".into(),
        hash: [7; 32],
        account: "bob".into(),
        label: "ci".into(),
        scopes: vec![],
        created: at(0),
        expires: None,
        last_used: None,
        revoked: None,
    };
    store.create_api_key(key.clone(), audit("key")).await.unwrap();
    let of_ann = IssuedKey { id: "l".into(), account: "ann".into(), ..key };
    store.create_api_key(of_ann, audit("key")).await.unwrap();
    store.put_session(ID, Session { account: "bob".into(), ..session() }, audit("in")).await.unwrap();
    let before = store.account("bob").unwrap().unwrap();
    edit(&store, "bob", AccountEdit::Remove).await.unwrap();
    assert_eq!((store.session(ID).unwrap(), store.api_key("k").unwrap()), (None, None));
    assert!(store.api_key("l").unwrap().is_some());
    let again = Account::new("bob".into(), Secret::new("$".into()), vec![], at(1));
    store.create_account(again, None, audit("again")).await.unwrap();
    let after = store.account("bob").unwrap().unwrap();
    assert!(after.epoch > before.epoch && after.revision > before.revision, "what was read of the other fits no more");
}

#[tokio::test]
async fn roles_have_revisions_and_stay_while_anybody_has_them() {
    let place = Place::new();
    let store = house(&place).await;
    let role = |revision, action: &str| CustomRole { name: "deploy".into(), actions: vec![action.into()], revision };
    let granted = |scope| AccountEdit::Grants(vec![RoleGrant { role: "deploy".into(), ..viewer(scope) }]);
    let missing = edit(&store, "bob", granted("everything")).await;
    assert!(matches!(&missing, Err(StoreError::NoRole { name }) if name == "deploy"), "{missing:?}");
    store.put_role(role(5, "process.read"), None, None, audit("role")).await.unwrap();
    let again = store.put_role(role(6, "node.read"), None, None, audit("again")).await;
    assert!(matches!(again, Err(StoreError::RoleExists { .. })));
    let stale = store.put_role(role(6, "node.read"), Some(4), None, audit("stale")).await;
    assert!(matches!(stale, Err(StoreError::Stale)));
    store.put_role(role(6, "node.read"), Some(5), None, audit("replaced")).await.unwrap();
    edit(&store, "bob", granted("node:a")).await.unwrap();
    let in_use = store.remove_role("deploy", 6, None, audit("in use")).await;
    assert!(matches!(in_use, Err(StoreError::RoleInUse { accounts: 1, .. })), "{in_use:?}");
    let (bob, roles) = store.account_with_roles("bob").unwrap().unwrap();
    assert_eq!((bob.grants.len(), roles), (1, vec![role(6, "node.read")]));
    edit(&store, "bob", AccountEdit::Grants(vec![])).await.unwrap();
    assert!(matches!(store.remove_role("deploy", 5, None, audit("stale")).await, Err(StoreError::Stale)));
    store.remove_role("deploy", 6, None, audit("removed")).await.unwrap();
    assert_eq!((store.role("deploy").unwrap(), store.roles().await.unwrap()), (None, vec![]));
    assert!(matches!(store.remove_role("deploy", 6, None, audit("gone")).await, Err(StoreError::NoRole { .. })));
}

#[tokio::test]
async fn a_role_that_is_granted_while_it_is_removed_is_one_or_the_other() {
    for is_granted_first in [true, false] {
        let place = Place::new();
        let store = house(&place).await;
        let role = CustomRole { name: "deploy".into(), actions: vec![], revision: 1 };
        store.put_role(role, None, None, audit("role")).await.unwrap();
        let grants = AccountEdit::Grants(vec![RoleGrant { role: "deploy".into(), ..viewer("everything") }]);
        let grant = store.edit_account("bob", revision(&store, "bob"), grants, None, audit("grant"));
        let remove = store.remove_role("deploy", 1, None, audit("remove"));
        if is_granted_first {
            let (granted, removed) = tokio::join!(grant, remove);
            assert!(matches!((granted, removed), (Ok(()), Err(StoreError::RoleInUse { accounts: 1, .. }))));
        } else {
            let (removed, granted) = tokio::join!(remove, grant);
            assert!(matches!((removed, granted), (Ok(()), Err(StoreError::NoRole { .. }))));
        }
    }
}

#[tokio::test]
async fn accounts_are_read_page_by_page() {
    let place = Place::new();
    let store = house(&place).await;
    store.create_account(account("eve"), None, audit("account")).await.unwrap();
    let names = async |after: Option<&str>, limit| {
        let page = store.accounts(after.map(str::to_owned), limit).await.unwrap();
        page.into_iter().map(|account| account.name).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 2).await, ["ann", "bob"]);
    assert_eq!(names(Some("bob"), 2).await, ["eve"]);
    assert_eq!(names(Some("zoe"), 2).await, [""; 0]);
}

/// Makes a file as schema 3 had it, with an account of each role and one that nobody can understand.
async fn old(place: &Place) {
    let store = place.open();
    store.put_session(ID, session(), audit("in")).await.unwrap();
    store.close().await.unwrap();
    let database = redb::Database::open(place.path()).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(META).unwrap().insert("schema", 3_u32.to_be_bytes().as_slice()).unwrap();
    txn.delete_table(ROLES).unwrap();
    {
        let mut accounts = txn.open_table(ACCOUNTS).unwrap();
        for role in Role::ALL.map(Role::as_str) {
            let text = format!(
                r#"{{"password_hash":"$h","role":"{role}","is_disabled":{},"created_ms":7}}"#,
                role == "viewer"
            );
            accounts.insert(role, [&[1][..], text.as_bytes()].concat().as_slice()).unwrap();
        }
        accounts.insert("odd", b"\x01{}".as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

fn check_taken_over(store: &Store) {
    for role in Role::ALL {
        let account = store.account(role.as_str()).unwrap().unwrap();
        assert_eq!(account.grants, [RoleGrant::everywhere(role)]);
        assert_eq!(
            (account.is_disabled, account.created),
            (role == Role::Viewer, SystemTime::UNIX_EPOCH + Duration::from_millis(7))
        );
        assert_eq!((account.revision, account.epoch), (1, 0), "its sessions, which have no epoch, go on");
    }
    assert!(matches!(store.account("odd"), Err(StoreError::Record { table: "accounts" })), "and nobody gets in by it");
    assert_eq!(store.session(ID).unwrap(), Some(session()));
    assert_eq!(store.accounts_count().unwrap(), 4);
}

#[tokio::test]
async fn each_role_of_schema_3_becomes_a_grant_over_everything() {
    let place = Place::new();
    old(&place).await;
    let store = place.open();
    check_taken_over(&store);
    edit(&store, "viewer", AccountEdit::Grants(vec![viewer("node:a")])).await.unwrap();
    store.close().await.unwrap();
    let store = place.open();
    assert_eq!(store.account("viewer").unwrap().unwrap().grants, [viewer("node:a")], "it is taken over once");
    assert_eq!(store.verify_audit(None).await.unwrap().fault, None);
}

#[tokio::test]
async fn a_kill_at_any_moment_of_taking_over_leaves_a_file_that_is_taken_over_later() {
    let place = Place::new();
    old(&place).await;
    let film = Film::new(place.path());
    let store = Store::open_with(&place.config(), watched(&film)).unwrap();
    let frames = film.frames();
    check_taken_over(&store);
    drop(store);
    assert!(frames.len() > 3, "it is written in {} steps", frames.len());
    for path in frames {
        check_taken_over(&Store::open(&StorageConfig::at(path)).unwrap());
    }
}
