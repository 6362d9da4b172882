//! Secrets at rest: what the file holds, with which key it opens, and the change of the key under kill -9.

use super::*;
use crate::config::{ManagedNode, StorageKey};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const CANARY: &str = "canary-kept-password";

fn keyed(path: PathBuf, key: u8) -> StorageConfig {
    StorageConfig { path, key: Some(StorageKey::of_test(key)) }
}

fn node(name: &str) -> ManagedNode {
    ManagedNode {
        name: name.to_owned(),
        url: "http://x:1".into(),
        environment: None,
        adapter: None,
        username: Some("u".into()),
        password_env: None,
        password_file: None,
        has_kept_password: true,
        enabled: None,
    }
}

fn place_of(name: &str) -> SecretPlace {
    SecretPlace { kind: SecretKind::NodePassword, name: name.to_owned(), bound_to: node(name).bound() }
}

fn generation(number: u64, nodes: &[&str]) -> Configuration {
    Configuration {
        generation: number,
        at: at(number),
        cause: "node.add".into(),
        who: "ann".into(),
        text: "# text".into(),
        managed: nodes.iter().map(|name| node(name)).collect(),
    }
}

fn given(names: &[&str]) -> Vec<(SecretPlace, Secret)> {
    names.iter().map(|name| (place_of(name), Secret::new(format!("{CANARY}-{name}")))).collect()
}

fn forms(secret: &str) -> [Vec<u8>; 3] {
    use base64::Engine as _;
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    [secret.into(), base64::prelude::BASE64_STANDARD_NO_PAD.encode(secret).into(), hex.into()]
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    forms(secret).iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

#[tokio::test]
async fn p17_a_secret_is_sealed_in_the_file_and_its_copy_and_goes_with_its_node() {
    let place = Place::new();
    let store = Store::open(&keyed(place.path(), 1)).unwrap();
    store.put_configuration(generation(1, &["a", "b"]), &given(&["a", "b"]), audit("1")).await.unwrap();
    assert_eq!(store.secret(&place_of("a")).unwrap().unwrap().reveal(), format!("{CANARY}-a"));
    let moved = SecretPlace { bound_to: "elsewhere".into(), ..place_of("a") };
    assert_eq!(store.secret(&moved).unwrap(), Err(SecretGap::Elsewhere));
    let copy = place.directory.path().join("copy.redb");
    store.back_up(copy.clone()).await.unwrap();
    // The next generation has no `a`; what it kept goes in the same transaction, and comes back with nobody.
    store.put_configuration(generation(2, &["b"]), &[], audit("2")).await.unwrap();
    store.put_configuration(generation(3, &["a", "b"]), &[], audit("3")).await.unwrap();
    assert_eq!(store.secret(&place_of("a")).unwrap(), Err(SecretGap::Absent));
    assert!(store.secret(&place_of("b")).unwrap().is_ok());
    store.close().await.unwrap();
    for path in [place.path(), copy.clone()] {
        assert!(!holds(&std::fs::read(&path).unwrap(), CANARY), "{}", path.display());
    }
    let copied = Store::open(&keyed(copy, 1)).unwrap();
    assert!(copied.secret(&place_of("a")).unwrap().is_ok(), "a copy opens with the same key");
}

#[tokio::test]
async fn another_key_is_refused_without_a_change_and_none_leaves_the_rest_usable() {
    let place = Place::new();
    let store = Store::open(&keyed(place.path(), 1)).unwrap();
    store.put_configuration(generation(1, &["a"]), &given(&["a"]), audit("1")).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let before = std::fs::read(place.path()).unwrap();
    let error = Store::open(&keyed(place.path(), 2)).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    assert!(error.to_string().contains("omnivisor secrets rotate"), "{error}");
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    let store = place.open();
    assert!(!store.can_seal());
    assert_eq!(store.secret(&place_of("a")).unwrap(), Err(SecretGap::NoKey));
    let refused = store.put_configuration(generation(2, &["a"]), &given(&["a"]), audit("2")).await;
    assert!(matches!(refused, Err(StoreError::NoKey)));
    store.append_audit(audit("3")).await.unwrap();
    // Once no node asks for a secret any more, whatever key comes next is welcome.
    store.put_configuration(generation(3, &[]), &[], audit("4")).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    Store::open(&keyed(place.path(), 2)).unwrap();
}

#[tokio::test]
async fn a_rotation_seals_all_anew_once_and_is_on_record() {
    let place = Place::new();
    let store = Store::open(&keyed(place.path(), 1)).unwrap();
    store.put_configuration(generation(1, &["a", "b"]), &given(&["a", "b"]), audit("1")).await.unwrap();
    let rotate_to = |from: u8, to: u8| {
        rotate(&keyed(place.path(), from), &StorageKey::of_test(to), |key| AuditRecord {
            what: "secrets.rotate".into(),
            target: format!("key {key}"),
            ..audit("")
        })
    };
    assert!(matches!(rotate_to(1, 2), Err(StoreError::Locked { .. })), "a server runs");
    store.close().await.unwrap();
    drop(store);
    assert!(matches!(rotate_to(3, 2), Err(StoreError::WrongKey { .. })), "neither the old nor the new one");
    let none = rotate(&place.config(), &StorageKey::of_test(2), |_| audit(""));
    assert!(matches!(none, Err(StoreError::NoKey)));
    let rotated = rotate_to(1, 2).unwrap();
    assert_eq!((rotated.secrets, rotated.is_changed), (2, true));
    assert!(!rotate_to(1, 2).unwrap().is_changed, "told twice, it is done once");
    assert!(matches!(Store::open(&keyed(place.path(), 1)), Err(StoreError::WrongKey { .. })));
    let store = Store::open(&keyed(place.path(), 2)).unwrap();
    for name in ["a", "b"] {
        assert_eq!(store.secret(&place_of(name)).unwrap().unwrap().reveal(), format!("{CANARY}-{name}"));
    }
    let newest = store.recent_audit(2).await.unwrap();
    let rotations = newest.iter().filter(|entry| entry.record.what == "secrets.rotate").count();
    assert_eq!(rotations, 1, "{newest:?}");
    assert_eq!(store.verify_audit(None).await.unwrap().fault, None);
}

const PLACE: &str = "OMNIVISOR_TEST_ROTATED";
const CHILD: &str = "store::tests::secrets::child_that_rotates_until_it_is_killed";
/// Kills.
const ROUNDS: u64 = 50;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn child_that_rotates_until_it_is_killed() {
    let Ok(path) = std::env::var(PLACE) else { return };
    loop {
        for (from, to) in [(1, 2), (2, 1)] {
            let rotated = rotate(&keyed(path.clone().into(), from), &StorageKey::of_test(to), |_| audit("rotated"));
            rotated.unwrap();
            std::io::stdout().write_all(b"rotated\n").unwrap();
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_rotation_leaves_a_database_of_exactly_one_key() {
    let place = Place::new();
    let store = Store::open(&keyed(place.path(), 1)).unwrap();
    store.put_configuration(generation(1, &NAMES), &given(&NAMES), audit("1")).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let mut opened = [0, 0];
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture", "--test-threads", "1"])
            .env(PLACE, place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            seen += u64::from(line.unwrap().contains("rotated"));
            if seen == 1 + round % 4 {
                // So far into the next one, from before its first read to after its commit.
                tokio::time::sleep(Duration::from_millis(round % 7)).await;
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "round {round}: the child ended by itself");
        let stores = [1, 2].map(|key| Store::open(&keyed(place.path(), key)).map(|store| (key, store)));
        let good: Vec<_> = stores.into_iter().filter_map(Result::ok).collect();
        let [(key, store)] = good.as_slice() else { panic!("round {round}: {} keys open it", good.len()) };
        for name in NAMES {
            assert_eq!(store.secret(&place_of(name)).unwrap().unwrap().reveal(), format!("{CANARY}-{name}"), "{round}");
        }
        assert_eq!(store.verify_audit(None).await.unwrap().fault, None, "round {round}");
        opened[usize::from(*key) - 1] += 1;
        store.close().await.unwrap();
        drop(good);
        // The next child begins with the first key.
        if let Err(error) = rotate(&keyed(place.path(), 2), &StorageKey::of_test(1), |_| audit("back")) {
            panic!("round {round}: {error}");
        }
    }
    println!("{ROUNDS} kills: {opened:?} times the first and second key");
}
