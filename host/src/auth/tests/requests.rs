//! Requests with credentials that a strategy judges: bearer tokens and headers.

use super::*;
use crate::auth::verdicts::VERDICT_MAX_AGE;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

type Answer = dyn Fn(&Credential, &PeerFacts) -> Result<Verdict, JudgeError> + Send + Sync;

/// A strategy that looks at requests and counts how often it is asked.
pub(super) struct Judge {
    name: &'static str,
    info: Arc<StrategyInfo>,
    answer: Box<Answer>,
    asked: AtomicUsize,
    seen: Mutex<Vec<Credential>>,
}

impl Judge {
    pub(super) fn new(
        name: &'static str,
        kind: &str,
        headers: &[&str],
        answer: impl Fn(&Credential, &PeerFacts) -> Result<Verdict, JudgeError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let request_headers = headers.iter().map(|name| (*name).to_owned()).collect();
        let info = Arc::new(StrategyInfo { credentials: vec![kind.to_owned()], request_headers });
        Arc::new(Self { name, info, answer: Box::new(answer), asked: AtomicUsize::new(0), seen: Mutex::default() })
    }

    pub(super) fn bearer(name: &'static str, verdict: Result<Verdict, JudgeError>) -> Arc<Self> {
        Self::new(name, "bearer", &[], move |_, _| verdict.clone())
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Strategy for Judge {
    fn name(&self) -> &str {
        self.name
    }

    fn info(&self) -> &Arc<StrategyInfo> {
        &self.info
    }

    fn authenticate(&self, credential: Credential, facts: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = (self.answer)(&credential, &facts);
        self.seen.lock().unwrap().push(credential);
        Box::pin(async { answer })
    }

    fn begin(&self, _: String, _: String, _: PeerFacts) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        unreachable!("it does not redirect")
    }

    fn complete(&self, _: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        unreachable!("it does not redirect")
    }
}

pub(super) fn external(name: &str, role: Role) -> Identity {
    Identity { name: name.into(), source: IdentitySource::External(role), scopes: vec![], expires: None }
}

fn yes(identity: Identity) -> Result<Verdict, JudgeError> {
    Ok(Verdict::Granted(identity))
}

fn no() -> Result<Verdict, JudgeError> {
    Ok(Verdict::Denied { code: "bad_token".into() })
}

pub(super) fn bearer(token: &str) -> Offer {
    Offer { bearer: Some(Secret::new(token.into())), headers: vec![] }
}

fn headers(pairs: &[(&str, &str)]) -> Offer {
    Offer { bearer: None, headers: pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect() }
}

impl House {
    pub(super) async fn ask(&self, offer: Offer, host: u8) -> Result<Recognised, AuthRefusal> {
        self.auth.recognise(offer, &facts(host), at(1)).await
    }
}

#[tokio::test]
async fn a_bearer_token_goes_to_those_who_look_at_it_in_their_order() {
    let house = House::new().await;
    let passwords = Judge::new("passwords", "password", &[], |_, _| yes(account("ann".into())));
    let (first, second) =
        (Judge::bearer("first", Ok(Verdict::NotMine)), Judge::bearer("second", yes(account("bob".into()))));
    let third = Judge::bearer("third", yes(account("ann".into())));
    house.serve(vec![passwords.clone(), first.clone(), second.clone(), third.clone()]);
    let who = house.ask(bearer("abc"), 1).await.unwrap();
    assert_eq!((who.principal.name.as_str(), who.principal.role), ("bob", Some(Role::Viewer)));
    assert_eq!((who.principal.strategy.as_str(), who.expires, who.principal.is_external), ("second", None, false));
    assert!(who.session().is_none());
    assert_eq!([passwords.asked(), first.asked(), second.asked(), third.asked()], [0, 1, 1, 0]);
    let seen = second.seen.lock().unwrap();
    assert!(matches!(&seen[..], [Credential::Bearer { token }] if token.reveal() == "abc"));
}

#[tokio::test]
async fn a_sessions_token_goes_to_no_strategy_not_even_a_piece_of_it() {
    let house = House::new().await;
    let login = house.login("bob", PASSWORD).await.unwrap();
    let judge = Judge::bearer("all", yes(account("ann".into())));
    house.serve(vec![judge.clone()]);
    let who = house.ask(bearer(login.token.reveal()), 1).await.unwrap();
    assert_eq!((who.principal.name.as_str(), who.session().unwrap().session_id), ("bob", login.session.session_id));
    assert_eq!(who.expires, Some(login.session.expires));
    for bad in ["omni_", &login.token.reveal()[..20], &format!("{}x", login.token.reveal())] {
        assert!(matches!(house.ask(bearer(bad), 1).await, Err(AuthRefusal::Required)), "{bad}");
    }
    assert_eq!(judge.asked(), 0);
}

#[tokio::test]
async fn whoever_cannot_be_judged_is_not_let_in() {
    let house = House::new().await;
    let good = || Judge::bearer("good", yes(account("ann".into())));
    let failing = [
        JudgeError::Plugin(PluginFailure::Trapped { plugin: "p".into(), what: "unreachable".into() }),
        fault("jwks.unreachable", "no keys"),
        JudgeError::Plugin(PluginFailure::Busy { plugin: "p".into(), limit: 1 }),
    ];
    for failure in failing {
        let is_busy = matches!(failure, JudgeError::Plugin(PluginFailure::Busy { .. }));
        house.serve(vec![Judge::bearer("bad", Err(failure)), good()]);
        let before = house.audit().await.len();
        for n in 0..30 {
            let refusal = house.ask(bearer(&format!("token{n}")), 1).await.unwrap_err();
            // It is not the client's failure, and not a guess.
            let is_told = if is_busy {
                matches!(refusal, AuthRefusal::Busy { .. })
            } else {
                matches!(&refusal, AuthRefusal::Plugin { strategy, .. } if strategy == "bad")
            };
            assert!(is_told, "{refusal:?}");
        }
        assert_eq!(house.audit().await.len(), before, "a failing plugin does not fill the audit");
    }
    house.serve(vec![]);
    assert!(matches!(house.ask(bearer("x"), 1).await, Err(AuthRefusal::Required)), "nobody looks at such tokens");
    house.serve(vec![Judge::bearer("none", Ok(Verdict::NotMine))]);
    assert!(matches!(house.ask(bearer("x"), 1).await, Err(AuthRefusal::Failed)), "and nobody knows this one");
    assert!(matches!(house.ask(bearer(&"x".repeat(8_193)), 1).await, Err(AuthRefusal::Required)), "too long to ask");
}

#[tokio::test]
async fn a_yes_to_no_usable_account_or_one_that_is_over_is_a_no() {
    let house = House::new().await;
    let over = Identity { expires: Some(at(1)), ..account("ann".into()) };
    for (identity, reason) in
        [(account("ghost".into()), "unknown_account"), (account("eve".into()), "disabled_account"), (over, "expired")]
    {
        house.serve(vec![Judge::bearer("s", yes(identity))]);
        assert!(matches!(house.ask(bearer(reason), 1).await, Err(AuthRefusal::Failed)), "{reason}");
        let newest = house.newest().await;
        assert_eq!(
            (newest.what.as_str(), newest.target.as_str(), newest.reason.as_str()),
            ("request.authenticate", "s", reason)
        );
    }
}

#[tokio::test]
async fn people_known_elsewhere_have_a_name_that_no_account_has_and_at_most_the_granted_role() {
    let house = House::new().await;
    house.serve(vec![Judge::bearer("auth-jwt", yes(external("ann", Role::Admin)))]);
    for (granted, role) in
        [(None, Role::Viewer), (Some(Role::Operator), Role::Operator), (Some(Role::Admin), Role::Admin)]
    {
        if let Some(granted) = granted {
            house.grant("auth-jwt", granted);
        }
        let who = house.ask(bearer("t"), 1).await.unwrap().principal;
        assert_eq!((who.name.as_str(), who.role, who.is_external), ("auth-jwt/ann", Some(role), true));
        assert_ne!(who.name, "ann", "and that is the administrator here");
    }
    house.serve(vec![Judge::bearer("auth-jwt", yes(external("ann", Role::Viewer)))]);
    assert_eq!(house.ask(bearer("t"), 1).await.unwrap().principal.role, Some(Role::Viewer), "a grant raises nobody");
}

#[tokio::test]
async fn scopes_narrow_what_the_account_may() {
    let house = House::new().await;
    let scopes = vec!["process.read".to_owned(), "made.up".to_owned()];
    house.serve(vec![Judge::bearer("s", yes(Identity { scopes, ..account("ann".into()) }))]);
    let ann = house.ask(bearer("t"), 1).await.unwrap().principal;
    assert!(house.auth.permit(&ann, Action::ProcessRead, Object::Server).is_ok());
    for action in Action::ALL.into_iter().filter(|action| *action != Action::ProcessRead) {
        assert!(
            matches!(house.auth.permit(&ann, action, Object::Server), Err(AuthRefusal::Forbidden { .. })),
            "{action}"
        );
    }
}

#[tokio::test]
async fn guesses_slow_their_address_down_and_are_audited_within_bounds() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    let judge = Judge::new("s", "bearer", &[], |credential, _| {
        let is_good = matches!(credential, Credential::Bearer { token } if token.reveal() == "good");
        if is_good { yes(account("ann".into())) } else { no() }
    });
    house.serve(vec![judge.clone()]);
    house.ask(bearer("good"), 1).await.unwrap();
    tokio::time::advance(VERDICT_MAX_AGE).await;
    let mut refused = 0;
    for n in 0..100 {
        let refusal = house.ask(bearer(&format!("guess{n}")), 1).await.unwrap_err();
        if !matches!(refusal, AuthRefusal::Failed) {
            assert!(matches!(refusal, AuthRefusal::TooManyAttempts { .. }), "{refusal:?}");
            refused += 1;
        }
    }
    assert_eq!((refused, judge.asked()), (80, 21));
    let audit = house.audit().await;
    let count = |reason: &str| audit.iter().filter(|entry| entry.record.reason == reason).count();
    assert_eq!((count("bad_token"), count("too_many_attempts")), (20, 1));
    assert!(house.ask(bearer("good"), 1).await.is_ok(), "who was good before does not suffer");
    assert!(matches!(house.ask(bearer("guess0"), 2).await, Err(AuthRefusal::Failed)), "nor do others elsewhere");
    assert!(matches!(house.ask(bearer("new"), 1).await, Err(AuthRefusal::TooManyAttempts { .. })));
}

#[tokio::test]
async fn a_program_with_one_dead_token_does_not_shut_out_its_neighbours() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    house.serve(vec![Judge::bearer("s", no())]);
    for _ in 0..100 {
        assert!(house.ask(bearer("dead"), 1).await.is_err());
    }
    assert!(matches!(house.ask(bearer("dead"), 1).await, Err(AuthRefusal::TooManyAttempts { .. })));
    assert!(matches!(house.ask(bearer("another"), 1).await, Err(AuthRefusal::Failed)), "judged");
    let audit = house.audit().await;
    assert_eq!(audit.iter().filter(|entry| entry.record.reason == "bad_token").count(), 6);
}

#[tokio::test]
async fn a_yes_is_believed_for_five_seconds_while_the_account_is_looked_up_each_time() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    let judge = Judge::bearer("s", yes(account("bob".into())));
    house.serve(vec![judge.clone()]);
    for _ in 0..50 {
        house.ask(bearer("t"), 1).await.unwrap();
    }
    assert_eq!(judge.asked(), 1);
    tokio::time::advance(VERDICT_MAX_AGE).await;
    house.ask(bearer("t"), 1).await.unwrap();
    assert_eq!(judge.asked(), 2);
    house.ask(bearer("t"), 2).await.unwrap();
    assert_eq!(judge.asked(), 3, "elsewhere it is another question");
    house.disable("bob", true).await;
    assert!(matches!(house.ask(bearer("t"), 1).await, Err(AuthRefusal::Failed)), "at once");
}

#[tokio::test]
async fn other_plugins_are_asked_at_once_and_a_yes_never_outlives_its_end() {
    let house = House::new().await;
    house.serve(vec![Judge::bearer("s", yes(account("ann".into())))]);
    house.ask(bearer("t"), 1).await.unwrap();
    house.serve(vec![Judge::bearer("s", no())]);
    assert!(matches!(house.ask(bearer("t"), 1).await, Err(AuthRefusal::Failed)));
    let judge = Judge::bearer("s", yes(Identity { expires: Some(at(3)), ..account("ann".into()) }));
    house.serve(vec![judge.clone()]);
    let who = house.auth.recognise(bearer("u"), &facts(1), at(2)).await.unwrap();
    assert_eq!(who.expires, Some(at(3)));
    assert!(matches!(house.auth.recognise(bearer("u"), &facts(1), at(3)).await, Err(AuthRefusal::Failed)));
}

#[tokio::test]
async fn each_strategy_sees_the_headers_that_it_named_and_no_others() {
    let house = House::new().await;
    let by_user = |credential: &Credential, facts: &PeerFacts| {
        let Credential::Headers { headers } = credential else { panic!("{credential:?}") };
        match headers.iter().find(|(name, _)| name == "x-remote-user") {
            Some((_, user)) if facts.address == super::facts(1).address => yes(external(user, Role::Viewer)),
            Some(_) => Ok(Verdict::Denied { code: "untrusted_peer".into() }),
            None => Ok(Verdict::NotMine),
        }
    };
    let other = Judge::new("other", "headers", &["x-other"], |_, _| Ok(Verdict::NotMine));
    let proxy = Judge::new("auth-proxy-header", "headers", &["x-remote-user", "x-remote-role"], by_user);
    house.serve(vec![other.clone(), proxy.clone()]);
    assert_eq!(house.auth.request_headers(), ["x-other", "x-remote-role", "x-remote-user"]);

    let who = house.ask(headers(&[("x-other", "1"), ("x-remote-user", "ann")]), 1).await.unwrap();
    assert_eq!(who.principal.name, "auth-proxy-header/ann");
    let seen = |judge: &Judge| match judge.seen.lock().unwrap().last() {
        Some(Credential::Headers { headers }) => headers.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(&other), [("x-other".to_owned(), "1".to_owned())]);
    assert_eq!(seen(&proxy), [("x-remote-user".to_owned(), "ann".to_owned())]);

    assert!(matches!(house.ask(headers(&[("x-remote-user", "ann")]), 2).await, Err(AuthRefusal::Failed)));
    assert!(matches!(house.ask(headers(&[("x-remote-role", "admin")]), 1).await, Err(AuthRefusal::Required)));
    assert!(matches!(house.ask(headers(&[]), 1).await, Err(AuthRefusal::Required)));
    assert!(matches!(house.ask(headers(&[("cookie", "a=b")]), 1).await, Err(AuthRefusal::Required)));
    for _ in 0..100 {
        assert!(matches!(house.ask(headers(&[("x-remote-user", "eve")]), 2).await, Err(AuthRefusal::Failed)));
    }
    assert!(house.audit().await.iter().all(|entry| entry.record.what == "account.create"), "a stranger cannot fill it");
}

#[tokio::test]
async fn requests_that_wait_for_a_judge_are_bounded() {
    struct Slow(Arc<StrategyInfo>);
    impl Strategy for Slow {
        fn name(&self) -> &str {
            "slow"
        }
        fn info(&self) -> &Arc<StrategyInfo> {
            &self.0
        }
        fn authenticate(&self, _: Credential, _: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
            Box::pin(std::future::pending())
        }
        fn begin(&self, _: String, _: String, _: PeerFacts) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
            unreachable!()
        }
        fn complete(&self, _: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
            unreachable!()
        }
    }
    let house = House::new().await;
    let _still = Standstill::begin().await;
    let info = StrategyInfo { credentials: vec!["bearer".into()], request_headers: vec![] };
    house.serve(vec![Arc::new(Slow(Arc::new(info)))]);
    let asks: Vec<_> = (0..300)
        .map(|n| {
            let auth = house.auth.clone();
            house.tracker.spawn(async move {
                let facts = facts(1);
                tokio::time::timeout(Duration::from_secs(3), auth.recognise(bearer(&format!("t{n}")), &facts, at(1)))
                    .await
            })
        })
        .collect();
    step(0).await;
    for _ in 0..4 {
        step(1_000).await;
    }
    let (mut busy, mut waiting) = (0, 0);
    for ask in asks {
        match ask.await.unwrap() {
            Ok(Err(AuthRefusal::Busy { .. })) => busy += 1,
            Err(_) => waiting += 1,
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((busy, waiting), (284, 16), "16 are with the judge, the others were sent away");
}

#[tokio::test]
async fn a_connection_ends_when_its_credential_does() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    let expiring = Identity { expires: Some(at(11)), ..account("ann".into()) };
    house.serve(vec![Judge::bearer("s", yes(expiring))]);
    let who = house.ask(bearer("t"), 1).await.unwrap();
    let watch = house.auth.watch(&who, &facts(1), at(1));
    house.auth.look(at(20)).await;
    assert_eq!(watch.grant.ended(), None);
    house.auth.look(at(21)).await;
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Expired), "ten seconds behind its end");

    let judge = Judge::bearer("s", yes(account("bob".into())));
    house.serve(vec![judge.clone()]);
    let who = house.ask(bearer("t"), 1).await.unwrap();
    let (watch, left) = (house.auth.watch(&who, &facts(1), at(1)), house.auth.watch(&who, &facts(1), at(1)));
    step(0).await;
    step(30_001).await;
    assert_eq!(watch.grant.ended(), None);
    drop(left);
    let asked = judge.asked();
    house.serve(vec![Judge::bearer("s", Err(fault("idp.down", "x")))]);
    step(30_001).await;
    step(30_001).await;
    assert_eq!(watch.grant.ended(), None, "who cannot be judged for a moment is not thrown out");
    house.serve(vec![Judge::bearer("s", no())]);
    step(30_001).await;
    // The refusal is written down first; this is behind it in the store's queue.
    house.store.append_audit(record("later")).await.unwrap();
    step(0).await;
    assert_eq!(watch.grant.ended(), Some(GrantEnd::Revoked));
    assert_eq!((asked, judge.asked()), (2, 2), "of two connections with one token, one asks");
    house.tracker.tracker().close();
    house.tracker.tracker().wait().await;
}

/// Lets the time pass, and the tasks that waited for it run.
async fn step(ms: u64) {
    tokio::time::advance(Duration::from_millis(ms)).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
