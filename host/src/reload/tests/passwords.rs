//! Passwords that come with a node and stay in the store.

use super::*;
use crate::config::KEPT_PASSWORD_BYTES_MAX;
use crate::model::Secret;
use crate::reload::{NodeWish, PasswordWish};

fn wish(url_port: u16, password: PasswordWish) -> NodeWish {
    let node = ManagedNode { username: Some("u".into()), ..managed("a", url_port) };
    NodeWish { node, password }
}

fn set(text: &str) -> PasswordWish {
    PasswordWish::Set(Secret::new(text.to_owned()))
}

/// The password with which `a` is entered.
fn entered(rig: &Rig) -> Option<String> {
    let nodes = rig.recorded.nodes.lock().expect("whole");
    let node = nodes.iter().find(|node| node.name.as_str() == "a").expect("it is watched");
    node.login.as_ref().map(|login| login.password.reveal().to_owned())
}

fn key_of(error: &ReloadError) -> String {
    let ReloadError::Faulty(faults) = error else { panic!("{error}") };
    faults[0].key.clone()
}

#[tokio::test]
async fn a_password_stays_until_it_is_changed_or_removed_and_over_a_restart() {
    let rig = Rig::start(&stamped(1)).await;
    rig.reloader.add_node(wish(1, set("first")), Author::default()).await.expect("legal");
    assert_eq!(entered(&rig).as_deref(), Some("first"));
    let environment = NodeWish {
        node: ManagedNode { environment: Some("e".into()), ..wish(1, PasswordWish::Keep).node },
        password: PasswordWish::Keep,
    };
    rig.reloader.replace_node(environment.clone(), Author::default()).await.expect("legal");
    assert_eq!(entered(&rig).as_deref(), Some("first"), "left out, it stays");
    let same = rig.reloader.replace_node(environment, Author::default()).await.expect("legal");
    assert!(!same.is_changed);
    let changed = rig.reloader.replace_node(wish(1, set("second")), Author::default()).await.expect("legal");
    assert_eq!(changed.nodes_changed.len(), 1, "it is connected anew");
    let rig = Rig::start_in(rig.end().await, None).await;
    assert_eq!(entered(&rig).as_deref(), Some("second"));
    rig.write(&stamped(2));
    rig.reloader.reload(Author::default()).await.expect("legal");
    assert_eq!(entered(&rig).as_deref(), Some("second"), "another file changes nothing about it");
    let open = NodeWish { node: managed("a", 1), password: PasswordWish::Remove };
    rig.reloader.replace_node(open, Author::default()).await.expect("legal");
    assert_eq!(entered(&rig), None);
    let error = rig.reloader.replace_node(wish(1, PasswordWish::Keep), Author::default()).await.expect_err("gone");
    assert_eq!(key_of(&error), "managed.a.username", "a user and nothing to enter with");
    rig.end().await;
}

#[tokio::test]
async fn p17_a_password_is_not_sent_to_another_address_or_by_another_adapter() {
    let rig = Rig::start(&stamped(1)).await;
    rig.reloader.add_node(wish(1, set("first")), Author::default()).await.expect("legal");
    let mut other = wish(1, PasswordWish::Keep);
    other.node.adapter = Some("node-monit".into());
    for elsewhere in [wish(2, PasswordWish::Keep), other] {
        let error = rig.reloader.replace_node(elsewhere, Author::default()).await.expect_err("it would be sent there");
        assert_eq!(key_of(&error), "managed.a.password");
        assert!(!error.told().contains("first"), "{}", error.told());
    }
    // Nor by going back to a generation in which the node was elsewhere.
    rig.reloader.replace_node(wish(2, set("second")), Author::default()).await.expect("legal");
    let back = rig.reloader.roll_back(2, Author::default()).await.expect("it is kept");
    assert_eq!((back.passwords_missing, entered(&rig)), (vec!["a".to_owned()], None), "and that is told");
    let forth = rig.reloader.roll_back(3, Author::default()).await.expect("it is kept");
    assert_eq!((forth.passwords_missing.len(), entered(&rig).as_deref()), (0, Some("second")));
    rig.end().await;
}

#[tokio::test]
async fn p17_no_generation_holds_a_password_and_a_node_that_comes_back_says_that_it_misses_it() {
    let rig = Rig::start(&stamped(1)).await;
    rig.reloader.add_node(wish(1, set("canary-kept")), Author::default()).await.expect("legal");
    rig.reloader.remove_node("a", Author::default()).await.expect("it is managed");
    assert!(!format!("{:?}", rig.store.configurations().await.expect("read")).contains("canary-kept"));
    let back = rig.reloader.roll_back(2, Author::default()).await.expect("it is kept");
    assert_eq!((back.passwords_missing, entered(&rig)), (vec!["a".to_owned()], None));
    let rig = Rig::start_in(rig.end().await, None).await;
    assert_eq!(entered(&rig), None, "it is watched all the same");
    // It hinders nobody else, and is mended by being given again.
    rig.reloader.add_node(managed("b", 1), Author::default()).await.expect("legal");
    let mended = rig.reloader.replace_node(wish(1, set("canary-kept")), Author::default()).await.expect("legal");
    assert_eq!((mended.is_changed, mended.passwords_missing.len()), (true, 0));
    assert_eq!(entered(&rig).as_deref(), Some("canary-kept"));
    rig.end().await;
}

#[tokio::test]
async fn without_a_key_a_password_is_refused_in_words_and_all_else_works() {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::write(place.path().join("o.toml"), stamped(1)).expect("room");
    let store = Store::open(&StorageConfig::at(place.path().join("x.redb"))).expect("a database");
    let rig = Rig::start_on(place, store).await;
    let error = rig.reloader.add_node(wish(1, set("canary-kept")), Author::default()).await.expect_err("no key");
    assert_eq!(key_of(&error), "managed.a.password");
    assert!(error.told().contains("omnivisor secrets new-key") && !error.told().contains("canary"), "{}", error.told());
    rig.reloader.add_node(managed("a", 1), Author::default()).await.expect("legal");
    // With a key, and then without it: the node is asked without its password, which stays sealed.
    let rig = Rig::start_in(rig.end().await, None).await;
    for bad in ["", &"x".repeat(KEPT_PASSWORD_BYTES_MAX + 1)] {
        let error = rig.reloader.replace_node(wish(1, set(bad)), Author::default()).await.expect_err("no password");
        assert_eq!(key_of(&error), "managed.a.password");
    }
    rig.reloader.replace_node(wish(1, set("kept")), Author::default()).await.expect("legal");
    let place = rig.end().await;
    let store = Store::open(&StorageConfig::at(place.path().join("x.redb"))).expect("a database");
    let rig = Rig::start_on(place, store).await;
    assert_eq!(entered(&rig), None);
    rig.reloader.add_node(managed("b", 1), Author::default()).await.expect("legal");
    let rig = Rig::start_in(rig.end().await, None).await;
    assert_eq!(entered(&rig).as_deref(), Some("kept"));
    rig.end().await;
}

/// The database hangs while the node is removed: what is in force has it, with its password, and so has the database.
#[tokio::test]
async fn a_removal_that_the_database_did_not_confirm_takes_no_password_away() {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::write(place.path().join("o.toml"), stamped(1)).expect("room");
    let (store, disk) = SlowDisk::open(&storage(&place));
    let rig = Rig::start_on(place, store).await;
    rig.reloader.add_node(wish(1, set("kept")), Author::default()).await.expect("legal");
    disk.hang(true);
    tokio::time::pause();
    let error = rig.reloader.remove_node("a", Author::default()).await.expect_err("no answer");
    assert!(matches!(error, ReloadError::Store(StoreError::TimedOut { .. })), "{error}");
    tokio::time::resume();
    disk.hang(false);
    rig.until("it is settled", |snapshot| snapshot.generation == 3).await;
    let rig = Rig::start_in(rig.end().await, None).await;
    assert_eq!(entered(&rig).as_deref(), Some("kept"));
    rig.end().await;
}
