use super::*;

fn key(id: &str, account: &str, created: u64) -> IssuedKey {
    IssuedKey {
        id: id.into(),
        hash: [7; 32],
        account: account.into(),
        label: "ci".into(),
        scopes: vec!["process.read".into()],
        created: at(created),
        expires: Some(at(10_000)),
        last_used: None,
        revoked: None,
    }
}

async fn ids(store: &Store) -> Vec<String> {
    store.api_keys().await.unwrap().into_iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn a_key_survives_a_restart_and_is_revoked_once() {
    let place = Place::new();
    let store = place.open();
    let error = store.create_api_key(key("a", "ann", 0), audit("nobody")).await.unwrap_err();
    assert!(matches!(&error, StoreError::NoAccount { name } if name == "ann"), "a key is an account's: {error:?}");
    store.create_account(account("ann"), None, audit("account")).await.unwrap();
    store.create_api_key(key("a", "ann", 0), audit("create")).await.unwrap();
    store.touch_api_key("a", at(5)).unwrap();
    store.touch_api_key("a", at(3)).unwrap();
    store.touch_api_key("nobody", at(3)).unwrap();
    store.close().await.unwrap();
    let store = place.open();
    let used = IssuedKey { last_used: Some(at(5)), ..key("a", "ann", 0) };
    assert_eq!(store.api_key("a").unwrap(), Some(used.clone()), "an older use does not undo a later one");
    assert!(used.is_good(at(9_999)) && !used.is_good(at(10_000)));
    assert!(store.revoke_api_key("a", at(6), audit("revoke")).await.unwrap());
    assert!(!store.revoke_api_key("a", at(7), audit("again")).await.unwrap());
    assert!(!store.revoke_api_key("b", at(7), audit("unknown")).await.unwrap());
    let revoked = store.api_key("a").unwrap().unwrap();
    assert_eq!(revoked.revoked, Some(at(6)));
    assert!(!revoked.is_good(at(6)));
    assert_eq!(reasons(&store).await, ["account", "create", "revoke"]);
}

#[tokio::test]
async fn an_account_has_so_many_keys_and_no_more_and_its_oldest_ended_ones_go() {
    let place = Place::new();
    let store = place.open();
    for name in ["ann", "bob"] {
        store.create_account(account(name), None, audit("account")).await.unwrap();
    }
    for n in 0..KEYS_OF_ACCOUNT_MAX {
        store.create_api_key(key(&format!("a{n:03}"), "ann", n as u64), audit("create")).await.unwrap();
    }
    let error = store.create_api_key(key("b", "ann", 100), audit("too many")).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyKeys { limit: KEYS_OF_ACCOUNT_MAX }), "{error:?}");
    assert_eq!(error.fault(), Fault::Caller);
    store.create_api_key(key("bob", "bob", 100), audit("another account")).await.unwrap();
    // All of ann's have ended by then: they make room one by one, the oldest first.
    for n in 0..3 {
        let later = IssuedKey { expires: None, ..key(&format!("c{n}"), "ann", 20_000) };
        store.create_api_key(later, audit("create")).await.unwrap();
    }
    let left = ids(&store).await;
    assert_eq!(left.len(), KEYS_OF_ACCOUNT_MAX + 3);
    for gone in ["a000", "b"] {
        assert!(!left.contains(&gone.to_owned()), "{gone}");
    }
    assert!(left.contains(&"a003".to_owned()) && left.contains(&"bob".to_owned()) && left.contains(&"c2".to_owned()));
}
