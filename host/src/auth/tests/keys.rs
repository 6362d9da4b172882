//! API keys: made, found, revoked.

use super::requests::{Judge, bearer, external};
use super::*;
use crate::plugin::ApiKeys as _;
use crate::store::IssuedKey;

fn wish(scopes: &[&str]) -> KeyWish {
    KeyWish { label: "ci".into(), scopes: scopes.iter().map(|s| (*s).to_owned()).collect(), expires: None }
}

impl House {
    async fn session_of(&self, name: &str) -> Recognised {
        let login = self.login(name, PASSWORD).await.unwrap();
        self.ask(bearer(login.token.reveal()), 1).await.unwrap()
    }

    async fn key(&self, who: &Recognised, wish: KeyWish) -> Result<(Secret, IssuedKey), AuthRefusal> {
        self.auth.create_key(who, wish, &facts(1), at(1)).await
    }

    /// As `auth-token` will: asks the host's keys.
    fn serve_keys(&self) -> Arc<Judge> {
        let keys = Arc::clone(&self.keys);
        let judge = Judge::new("auth-token", "bearer", &[], move |credential, _| {
            let Credential::Bearer { token } = credential else { return Ok(Verdict::NotMine) };
            if !token.reveal().starts_with("ovk_") {
                return Ok(Verdict::NotMine);
            }
            match keys.find_at(token.reveal(), at(1)) {
                Ok(Some(IssuedKey { account, scopes, expires, .. })) => {
                    Ok(Verdict::Granted(Identity { name: account, source: IdentitySource::Account, scopes, expires }))
                }
                Ok(None) => Ok(Verdict::Denied { code: "unknown_key".into() }),
                Err(error) => Err(fault("keys", error.to_string())),
            }
        });
        self.serve(vec![judge.clone()]);
        judge
    }
}

#[tokio::test]
async fn a_key_acts_for_its_account_until_it_is_revoked_and_then_at_once_no_more() {
    let house = House::new().await;
    let bob = house.session_of("bob").await;
    let (text, key) = house.key(&bob, wish(&["process.read"])).await.unwrap();
    assert_eq!((key.account.as_str(), key.label.as_str(), text.reveal().len()), ("bob", "ci", 4 + 16 + 1 + 43));
    let newest = house.newest().await;
    assert_eq!(
        (newest.what.as_str(), newest.who.as_str(), newest.target.as_str()),
        ("api-key.create", "bob", key.id.as_str())
    );

    let judge = house.serve_keys();
    for _ in 0..3 {
        let who = house.ask(bearer(text.reveal()), 1).await.unwrap();
        assert_eq!((who.principal.name.as_str(), who.principal.role), ("bob", Some(Role::Viewer)));
        assert_eq!(who.principal.scopes, ["process.read"]);
    }
    assert_eq!(judge.asked(), 1, "the last ones were believed");
    house.auth.revoke_key(&bob.principal, &key.id, &facts(1), at(2)).await.unwrap();
    assert!(matches!(house.ask(bearer(text.reveal()), 1).await, Err(AuthRefusal::Failed)), "no five seconds for a key");
    house.auth.revoke_key(&bob.principal, &key.id, &facts(1), at(3)).await.unwrap();
    let revoked = house.audit().await.into_iter().filter(|entry| entry.record.what == "api-key.revoke").count();
    assert_eq!(revoked, 1, "twice is no error, and no second record");
}

#[tokio::test]
async fn only_the_whole_text_of_a_good_key_of_an_enabled_account_is_found() {
    let house = House::new().await;
    let bob = house.session_of("bob").await;
    let (text, key) = house.key(&bob, KeyWish { expires: Some(at(100)), ..wish(&[]) }).await.unwrap();
    let find = |text: &str, seconds: u64| house.keys.find_at(text, at(seconds)).unwrap();
    let text = text.reveal();
    assert_eq!(find(text, 99).map(|key| key.id), Some(key.id.clone()));
    assert_eq!(find(text, 100), None, "expired");
    let (other, _) = house.key(&bob, wish(&[])).await.unwrap();
    let crossed = format!("{}{}", &text[..21], &other.reveal()[21..]);
    let last = if text.ends_with('A') { 'E' } else { 'A' };
    let changed = format!("{}{last}", &text[..text.len() - 1]);
    for bad in [crossed.as_str(), &changed, &text[..63], &key.id, ""] {
        assert_eq!(find(bad, 1), None, "{bad}");
    }
    assert_eq!(house.keys.find(Secret::new(text.into())), Ok(None), "by the real clock it is long over");
    house.disable("bob", true).await;
    assert_eq!(find(other.reveal(), 1), None);
    house.disable("bob", false).await;
    assert!(find(other.reveal(), 1).is_some());
    house.store.close().await.unwrap();
    assert!(house.keys.find(Secret::new(other.reveal().into())).is_err(), "who cannot say does not say no");
}

#[tokio::test]
async fn the_last_use_is_written_down_now_and_then() {
    let house = House::new().await;
    let bob = house.session_of("bob").await;
    let (text, key) = house.key(&bob, wish(&[])).await.unwrap();
    for (used, noted) in [(10, 10), (11, 10), (309, 10), (310, 310), (311, 310)] {
        house.keys.find_at(text.reveal(), at(used)).unwrap().unwrap();
        // Behind the hint in the queue, so it is written by then.
        house.store.append_audit(record("later")).await.unwrap();
        assert_eq!(house.store.api_key(&key.id).unwrap().unwrap().last_used, Some(at(noted)), "used at {used}");
    }
}

#[tokio::test]
async fn a_key_may_and_lasts_no_more_than_what_makes_it() {
    let house = House::new().await;
    let codes = |refusal: AuthRefusal| {
        let AuthRefusal::KeyWish(faults) = refusal else { panic!("{refusal:?}") };
        faults.iter().map(|fault| format!("{} {}", fault.field(), fault.code())).collect::<Vec<_>>()
    };
    let bob = house.session_of("bob").await;
    let bad =
        KeyWish { label: "a\nb".into(), expires: Some(at(1)), ..wish(&["process.read", "process.control", "root"]) };
    let faults = codes(house.key(&bob, bad).await.unwrap_err());
    assert_eq!(faults, ["label label", "scopes/1 exceeds", "scopes/2 unknown_scope", "expires_in_s past"]);
    let many = wish(&["node.read"; Action::ALL.len() + 1]);
    assert_eq!(codes(house.key(&bob, many).await.unwrap_err()), ["scopes too_many"]);

    // A key that makes a key: no more actions, no longer life.
    house.serve_keys();
    let own = KeyWish { expires: Some(at(100)), ..wish(&["api-key.write", "node.read"]) };
    let (text, _) = house.key(&bob, own).await.unwrap();
    let key = house.ask(bearer(text.reveal()), 1).await.unwrap();
    assert_eq!(codes(house.key(&key, wish(&[])).await.unwrap_err()), ["scopes required", "expires_in_s outlives"]);
    let wider = KeyWish { expires: Some(at(101)), ..wish(&["node.read", "process.read"]) };
    assert_eq!(codes(house.key(&key, wider).await.unwrap_err()), ["scopes/1 exceeds", "expires_in_s outlives"]);
    let narrower = KeyWish { expires: Some(at(100)), ..wish(&["node.read"]) };
    house.key(&key, narrower).await.unwrap();

    house.serve(vec![Judge::bearer("s", Ok(Verdict::Granted(external("bob", Role::Viewer))))]);
    let stranger = house.ask(bearer("t"), 1).await.unwrap();
    assert!(matches!(house.key(&stranger, wish(&[])).await, Err(AuthRefusal::NoAccount)));
    assert!(house.auth.keys(&stranger.principal).await.unwrap().is_empty());
}

#[tokio::test]
async fn everybody_sees_and_revokes_their_own_and_administrators_all() {
    let house = House::new().await;
    let (ann, bob) = (house.session_of("ann").await, house.session_of("bob").await);
    let (_, of_ann) = house.key(&ann, wish(&[])).await.unwrap();
    let (_, of_bob) = house.key(&bob, wish(&[])).await.unwrap();
    let seen = async |who: &Recognised| {
        let mut ids: Vec<_> = house.auth.keys(&who.principal).await.unwrap().into_iter().map(|key| key.id).collect();
        ids.sort();
        ids
    };
    let mut all = vec![of_ann.id.clone(), of_bob.id.clone()];
    all.sort();
    assert_eq!((seen(&ann).await, seen(&bob).await), (all, vec![of_bob.id.clone()]));
    let revoke = async |who: &Recognised, id: &str| house.auth.revoke_key(&who.principal, id, &facts(1), at(2)).await;
    assert!(
        matches!(revoke(&bob, &of_ann.id).await, Err(AuthRefusal::NoSuchKey { .. })),
        "and not even that it is there"
    );
    assert!(matches!(revoke(&ann, "0000000000000000").await, Err(AuthRefusal::NoSuchKey { .. })));
    revoke(&ann, &of_bob.id).await.unwrap();
    let scopes = vec!["api-key.write".into()];
    let Principal { name, strategy, rights, .. } = ann.principal.clone();
    let scoped = Principal::new(name, strategy, false, rights, scopes);
    assert!(matches!(
        house.auth.revoke_key(&scoped, &of_bob.id, &facts(1), at(2)).await,
        Err(AuthRefusal::NoSuchKey { .. })
    ));
}

#[tokio::test]
async fn the_text_of_a_key_is_nowhere_but_in_the_answer() {
    let house = House::new().await;
    let bob = house.session_of("bob").await;
    let (text, key) = house.key(&bob, wish(&[])).await.unwrap();
    let shown = format!("{text:?} {key:?} {:?} {:?}", house.keys, house.audit().await);
    let secret = text.reveal()[21..].to_owned();
    let path = house.directory.path().join("o.redb");
    house.store.close().await.unwrap();
    let disk = std::fs::read(path).unwrap();
    assert!(!shown.contains(&secret));
    assert!(!disk.windows(secret.len()).any(|window| window == secret.as_bytes()));
}
