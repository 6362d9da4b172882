//! What ends connections that outlive their request, with one entry a credential and no query per connection.

use super::requests::{Judge, bearer, external};
use super::*;

/// A connection opened with a session's token.
async fn opened(house: &House, login: &Login, seconds: u64) -> Watch {
    let offer = bearer(login.token.reveal());
    let who = house.auth.recognise(offer, &facts(1), at(seconds)).await.unwrap();
    house.auth.watch(&who, &facts(1), at(seconds))
}

async fn connected(house: &House, token: &str) -> Watch {
    let who = house.ask(bearer(token), 1).await.unwrap();
    house.auth.watch(&who, &facts(1), at(1))
}

#[tokio::test]
async fn all_connections_of_a_credential_are_one_entry_and_the_last_takes_it_along() {
    let house = House::new().await;
    let (ann, again) = (house.login("ann", PASSWORD).await.unwrap(), house.login("ann", PASSWORD).await.unwrap());
    let watches = [opened(&house, &ann, 1).await, opened(&house, &ann, 2).await, opened(&house, &again, 1).await];
    assert_eq!(house.auth.inner().watches.len(), 2);
    let [first, second, other] = watches;
    drop(first);
    assert_eq!(house.auth.inner().watches.len(), 2);
    drop((second, other));
    assert_eq!(house.auth.inner().watches.len(), 0);
}

#[tokio::test]
async fn a_session_ends_its_connections_when_it_is_revoked_and_when_it_expires() {
    let house = House::new().await;
    let (ann, bob) = (house.login("ann", PASSWORD).await.unwrap(), house.login("bob", PASSWORD).await.unwrap());
    let (of_ann, of_bob) = (opened(&house, &ann, 1).await, opened(&house, &bob, 1).await);
    house.auth.logout(&ann.session, facts(1), at(2)).await.unwrap();
    assert_eq!((of_ann.grant.ended(), of_bob.grant.ended()), (Some(GrantEnd::Revoked), None));
    let end = ABSOLUTE.as_secs();
    house.auth.look(at(end + 9)).await;
    assert_eq!(of_bob.grant.ended(), None, "it may still bring another one");
    house.auth.look(at(end + 10)).await;
    assert_eq!(of_bob.grant.ended(), Some(GrantEnd::Expired));
}

#[tokio::test]
async fn a_session_that_ends_while_its_connection_begins_is_noticed() {
    let house = House::new().await;
    let ann = house.login("ann", PASSWORD).await.unwrap();
    let who = house.auth.recognise(bearer(ann.token.reveal()), &facts(1), at(1)).await.unwrap();
    house.auth.logout(&ann.session, facts(1), at(2)).await.unwrap();
    assert_eq!(house.auth.watch(&who, &facts(1), at(2)).grant.ended(), Some(GrantEnd::Revoked));
    let bob = house.login("bob", PASSWORD).await.unwrap();
    let who = house.auth.recognise(bearer(bob.token.reveal()), &facts(1), at(1)).await.unwrap();
    house.disable("bob", true).await;
    assert_eq!(house.auth.watch(&who, &facts(1), at(2)).grant.ended(), Some(GrantEnd::Revoked));
}

#[tokio::test]
async fn a_disabled_account_loses_its_connections_at_the_next_look_and_others_keep_theirs() {
    let house = House::new().await;
    let (ann, bob) = (house.login("ann", PASSWORD).await.unwrap(), house.login("bob", PASSWORD).await.unwrap());
    let (of_ann, of_bob) = (opened(&house, &ann, 1).await, opened(&house, &bob, 1).await);
    house.auth.look(at(2)).await;
    assert_eq!((of_ann.grant.ended(), of_bob.grant.ended()), (None, None));
    house.disable("bob", true).await;
    house.auth.look(at(2)).await;
    assert_eq!((of_ann.grant.ended(), of_bob.grant.ended()), (None, Some(GrantEnd::Revoked)));
}

#[tokio::test]
async fn a_revoked_key_loses_its_connections_before_the_call_returns() {
    let house = House::new().await;
    house.serve(vec![Judge::bearer("s", Ok(Verdict::Granted(account("ann".into()))))]);
    let who = house.ask(bearer("t"), 1).await.unwrap();
    let wish = KeyWish { label: "ci".into(), scopes: vec![], expires: None };
    let (text, key) = house.auth.create_key(&who, wish, &facts(1), at(1)).await.unwrap();
    let (by_key, by_token) = (connected(&house, text.reveal()).await, connected(&house, "t").await);
    house.auth.revoke_key(&who.principal, &key.id, &facts(1), at(2)).await.unwrap();
    assert_eq!((by_key.grant.ended(), by_token.grant.ended()), (Some(GrantEnd::Revoked), None));
    let late = house.auth.watch(&house.ask(bearer(text.reveal()), 1).await.unwrap(), &facts(1), at(2));
    assert_eq!(late.grant.ended(), Some(GrantEnd::Revoked), "whatever its judge still says");
}

#[tokio::test]
async fn a_narrower_grant_to_a_strategy_narrows_what_it_opened_and_back() {
    let house = House::new().await;
    house.grant("s", Role::Operator);
    house.serve(vec![Judge::bearer("s", Ok(Verdict::Granted(external("zoe", Role::Admin))))]);
    let watch = connected(&house, "t").await;
    house.auth.inner().keep_watch(true, at(2)).await;
    assert_eq!(watch.grant.ended(), None);
    assert!(watch.grant.allows("process.control"));
    for (role, may_control) in [(Role::Viewer, false), (Role::Operator, true), (Role::Viewer, false)] {
        house.grant("s", role);
        house.auth.inner().keep_watch(true, at(2)).await;
        assert_eq!((watch.grant.ended(), watch.grant.allows("process.control")), (None, may_control));
        assert!(watch.grant.allows("feed.read"));
    }
    let watch = connected(&house, "t").await;
    house.serve(vec![]);
    house.auth.inner().keep_watch(true, at(2)).await;
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Revoked), "the strategy is gone");
}

#[tokio::test]
async fn connections_are_told_a_minute_before_their_session_ends() {
    let house = House::new().await;
    let ann = house.login("ann", PASSWORD).await.unwrap();
    let watch = opened(&house, &ann, 1).await;
    let end = ABSOLUTE.as_secs();
    house.auth.look(at(end - 61)).await;
    assert_eq!(watch.grant.ends_in(), None);
    house.auth.look(at(end - 60)).await;
    house.auth.look(at(end - 30)).await;
    assert_eq!((watch.grant.ends_in(), watch.grant.ended()), (Some(60), None), "once");
}

#[tokio::test]
async fn a_database_that_fails_ends_nobodys_connection() {
    let house = House::new().await;
    let ann = house.login("ann", PASSWORD).await.unwrap();
    let watch = opened(&house, &ann, 1).await;
    house.store.close().await.unwrap();
    house.auth.inner().watches.forget_accounts();
    for seconds in 2..10 {
        house.auth.look(at(seconds)).await;
    }
    assert_eq!(watch.grant.ended(), None);
    house.auth.look(at(ABSOLUTE.as_secs() + 10)).await;
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Expired), "what needs no database is done");
}

#[tokio::test]
async fn whoever_ends_a_credential_is_answered_once_its_connections_are_closed() {
    let (revoked, mut told) = mpsc::channel::<tokio::sync::oneshot::Sender<()>>(1);
    let house = House::new().await.with_revoked(revoked);
    let ann = house.login("ann", PASSWORD).await.unwrap();
    let watch = opened(&house, &ann, 1).await;
    let (auth, session) = (house.auth.clone(), ann.session.clone());
    let logout = house.tracker.spawn(async move { auth.logout(&session, facts(1), at(2)).await });
    let done = told.recv().await.unwrap();
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Revoked), "ended before anybody is told");
    assert!(!logout.is_finished());
    done.send(()).unwrap();
    logout.await.unwrap().unwrap();
}
