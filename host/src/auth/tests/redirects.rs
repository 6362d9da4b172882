//! Logins at another server.

use super::requests::{bearer, external};
use super::*;
use crate::auth::flows::FLOW_TTL;
use std::sync::Mutex;

type Completion = dyn Fn(&Returned) -> Result<Verdict, JudgeError> + Send + Sync;

/// A strategy that sends people to `https://idp.example`.
struct Redirecting {
    info: Arc<StrategyInfo>,
    begin: Result<(), JudgeError>,
    complete: Box<Completion>,
    begun: Mutex<Vec<(String, String)>>,
}

const NAME: &str = "auth-oidc";

impl Redirecting {
    fn new(complete: impl Fn(&Returned) -> Result<Verdict, JudgeError> + Send + Sync + 'static) -> Arc<Self> {
        let info = Arc::new(StrategyInfo { credentials: vec!["redirect".into()], request_headers: vec![] });
        Arc::new(Self { info, begin: Ok(()), complete: Box::new(complete), begun: Mutex::default() })
    }

    fn granting(identity: Identity) -> Arc<Self> {
        Self::new(move |returned| {
            assert_eq!(returned.keep.reveal(), "kept");
            assert_eq!(returned.redirect_uri, "https://omnivisor.example/api/v1/login/auth-oidc/callback");
            Ok(Verdict::Granted(identity.clone()))
        })
    }
}

impl Strategy for Redirecting {
    fn name(&self) -> &str {
        NAME
    }

    fn info(&self) -> &Arc<StrategyInfo> {
        &self.info
    }

    fn authenticate(&self, _: Credential, _: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        Box::pin(async { Ok(Verdict::NotMine) })
    }

    fn begin(
        &self,
        redirect_uri: String,
        state: String,
        _: PeerFacts,
    ) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        let url = format!("https://idp.example/auth?state={state}");
        self.begun.lock().unwrap().push((redirect_uri, state));
        Box::pin(async { self.begin.clone().map(|()| Redirection { url, keep: Secret::new("kept".into()) }) })
    }

    fn complete(&self, returned: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let said = (self.complete)(&returned);
        Box::pin(async { said })
    }
}

/// What a browser has after it was sent out.
struct Out {
    state: String,
    cookie: Secret,
}

impl House {
    async fn out(&self, host: u8) -> Result<Out, AuthRefusal> {
        let departure = self.auth.depart(NAME, facts(host)).await?;
        assert!(departure.is_secure);
        let state = departure.url.strip_prefix("https://idp.example/auth?state=").unwrap().to_owned();
        Ok(Out { state, cookie: departure.cookie })
    }

    async fn back(&self, state: &str, cookie: Option<&Secret>) -> Result<Login, AuthRefusal> {
        let parameters = vec![("code".into(), "c".into()), ("state".into(), state.into())];
        self.auth.arrive(NAME, parameters, cookie.cloned(), facts(1), at(0)).await
    }
}

#[tokio::test]
async fn who_comes_back_has_a_session_that_outlives_a_restart_with_the_role_of_the_grant() {
    let house = House::new().await;
    house.grant(NAME, Role::Operator);
    let ann = Identity { scopes: vec!["node.read".into()], expires: Some(at(500)), ..external("ann", Role::Admin) };
    house.serve(vec![Redirecting::granting(ann.clone())]);
    let out = house.out(1).await.unwrap();
    assert_ne!(out.state, out.cookie.reveal());
    let login = house.back(&out.state, Some(&out.cookie)).await.unwrap();
    let newest = house.newest().await;
    assert_eq!(
        (newest.what.as_str(), newest.who.as_str(), newest.target.as_str()),
        ("session.login", "auth-oidc/ann", NAME)
    );
    assert_eq!(login.session.expires, at(500), "no longer than the other server says");

    let house = house.restarted().await;
    house.grant(NAME, Role::Operator);
    house.serve(vec![Redirecting::granting(ann.clone())]);
    let who = house.ask(bearer(login.token.reveal()), 1).await.unwrap();
    assert_eq!(
        (who.principal.name.as_str(), who.principal.role, who.principal.is_external),
        ("auth-oidc/ann", Some(Role::Operator), true)
    );
    assert_eq!(
        (who.principal.strategy.as_str(), who.principal.scopes.as_slice()),
        (NAME, &["node.read".to_owned()][..])
    );
    house.grant(NAME, Role::Viewer);
    assert_eq!(house.bearer(&login, 2).unwrap().principal.role, Some(Role::Viewer), "the grant is looked up each time");
    house.grant(NAME, Role::Admin);
    assert_eq!(
        house.bearer(&login, 2).unwrap().principal.role,
        Some(Role::Operator),
        "and raises no session that is there"
    );
    assert!(house.bearer(&login, 500).is_err(), "over");
}

#[tokio::test]
async fn a_session_ends_with_the_strategy_that_vouched_for_it() {
    let house = House::new().await;
    house.serve(vec![Redirecting::granting(external("ann", Role::Viewer))]);
    let out = house.out(1).await.unwrap();
    let login = house.back(&out.state, Some(&out.cookie)).await.unwrap();
    assert!(house.bearer(&login, 1).is_ok());
    house.strategies(vec![("auth-local", not_mine())]);
    assert!(matches!(house.bearer(&login, 2), Err(AuthRefusal::Required)));
    assert!(login.session.ended.is_cancelled());
}

#[tokio::test]
async fn an_account_that_another_server_vouches_for_has_its_own_role() {
    let house = House::new().await;
    house.serve(vec![Redirecting::granting(account("bob".into()))]);
    let out = house.out(1).await.unwrap();
    let login = house.back(&out.state, Some(&out.cookie)).await.unwrap();
    let who = &login.session.principal;
    assert_eq!((who.name.as_str(), who.role, who.is_external), ("bob", Some(Role::Viewer), false));
}

#[tokio::test]
async fn a_wrong_state_a_missing_cookie_a_second_try_and_a_late_one_get_nothing() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    house.serve(vec![Redirecting::granting(external("ann", Role::Viewer))]);
    let lost = |result: Result<Login, AuthRefusal>| matches!(result, Err(AuthRefusal::FlowLost));
    let (out, other) = (house.out(1).await.unwrap(), house.out(1).await.unwrap());
    assert!(lost(house.back("", Some(&out.cookie)).await) && lost(house.back("made-up", Some(&out.cookie)).await));
    assert!(lost(house.back(&out.state, None).await), "no cookie: another browser");
    assert_eq!(house.newest().await.reason, "other_browser");
    assert!(lost(house.back(&out.state, Some(&out.cookie)).await), "the state has had its try");
    let swapped = house.out(1).await.unwrap();
    assert!(lost(house.back(&swapped.state, Some(&other.cookie)).await), "the cookie of another login");
    house.back(&other.state, Some(&other.cookie)).await.unwrap();
    assert!(lost(house.back(&other.state, Some(&other.cookie)).await), "replayed");
    let late = house.out(1).await.unwrap();
    tokio::time::advance(FLOW_TTL).await;
    assert!(lost(house.back(&late.state, Some(&late.cookie)).await));
}

#[tokio::test]
async fn a_no_and_a_failure_begin_no_session_and_are_audited() {
    let house = House::new().await;
    type Case = (Result<Verdict, JudgeError>, &'static str, fn(&AuthRefusal) -> bool);
    let cases: [Case; 4] = [
        (Ok(Verdict::Denied { code: "bad_nonce".into() }), "bad_nonce", |r| matches!(r, AuthRefusal::Failed)),
        (Ok(Verdict::NotMine), "no_strategy", |r| matches!(r, AuthRefusal::Failed)),
        (Err(fault("idp.down", "no")), "idp.down", |r| matches!(r, AuthRefusal::Plugin { .. })),
        (Ok(Verdict::Granted(account("eve".into()))), "disabled_account", |r| matches!(r, AuthRefusal::Failed)),
    ];
    for (said, reason, is_expected) in cases {
        house.serve(vec![Redirecting::new(move |_| said.clone())]);
        let out = house.out(1).await.unwrap();
        let refusal = house.back(&out.state, Some(&out.cookie)).await.unwrap_err();
        assert!(is_expected(&refusal), "{reason}: {refusal:?}");
        assert_eq!(house.newest().await.reason, reason);
    }
}

#[tokio::test]
async fn nobody_is_sent_out_where_it_leads_nowhere() {
    let house = House::new().await;
    assert!(matches!(house.out(1).await, Err(AuthRefusal::NoSuchLogin { .. })), "auth-local does not redirect");
    let mut broken = Redirecting::new(|_| Ok(Verdict::NotMine));
    Arc::get_mut(&mut broken).unwrap().begin = Err(fault("idp.down", "no"));
    house.serve(vec![broken]);
    assert!(matches!(house.out(1).await, Err(AuthRefusal::Plugin { .. })));
    house.serve(vec![Redirecting::granting(account("ann".into()))]);
    let mut full = None;
    for _ in 0..40 {
        full = house.out(1).await.err();
    }
    assert!(matches!(full, Some(AuthRefusal::TooManyAttempts { .. })), "one address cannot take all places");
    assert!(house.out(2).await.is_ok());
}

#[tokio::test]
async fn without_an_address_of_its_own_the_server_says_which_key_is_missing() {
    let house = House::new().await;
    let settings = watch::Sender::new(Arc::new(server_config(None)));
    let parts = AuthParts {
        store: house.store.clone(),
        passwords: Arc::clone(&house.passwords),
        keys: Arc::clone(&house.keys),
        plugins: house.plugins.subscribe(),
        roles_max: house.roles_max.subscribe(),
        environments: house.environments.subscribe(),
        server: settings.subscribe(),
        revoked: tokio::sync::mpsc::channel(1).0,
        tracker: house.tracker.clone(),
    };
    house.serve(vec![Redirecting::granting(account("ann".into()))]);
    let auth = Auth::new(parts);
    let refusal = auth.depart(NAME, facts(1)).await.unwrap_err();
    assert!(matches!(refusal, AuthRefusal::NoExternalUrl));
    assert!(refusal.to_string().contains("`external_url` in [server]"), "{refusal}");
    settings.send_replace(Arc::new(server_config(Some("https://omnivisor.example"))));
    assert!(auth.depart(NAME, facts(1)).await.is_ok(), "the key counts as soon as it is there");
}
