mod accounts;
mod connections;
mod keys;
mod redirects;
mod requests;

use super::*;
use crate::config::{Defaults, MachineSecrets, ServerConfig, StorageConfig};
use crate::model::{
    AdapterFault, Credential, Environments, Fault, FaultKind, GrantEnd, Identity, IdentitySource, Object, PeerFacts,
    Principal, Redirection, Role, RoleGrant, Secret, StrategyInfo, Verdict,
};
use crate::plugin::{Accounts, BoxFuture, JudgeError, PasswordCheck, PluginFailure, PluginSet, Returned, Strategy};
use crate::store::{Account, AccountEdit, AuditEntry, AuditOutcome, AuditRecord, Session, SessionId, Store};
use crate::task::{TaskGroup, TaskKind, Tasks};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse battery";
const IDLE: Duration = Duration::from_secs(3_600);
const ABSOLUTE: Duration = Duration::from_secs(86_400);

/// What a strategy of a test answers.
#[derive(Clone)]
enum Script {
    /// As `auth-local` does: asks the host's accounts.
    Local(Arc<Passwords>),
    Says(Result<Verdict, JudgeError>),
}

struct Scripted(&'static str, Script, Arc<StrategyInfo>);

/// A strategy that looks at passwords.
fn password_info() -> Arc<StrategyInfo> {
    Arc::new(StrategyInfo { credentials: vec!["password".into()], request_headers: vec![] })
}

impl Strategy for Scripted {
    fn name(&self) -> &str {
        self.0
    }

    fn info(&self) -> &Arc<StrategyInfo> {
        &self.2
    }

    fn begin(&self, _: String, _: String, _: PeerFacts) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        Box::pin(async { Err(fault("auth.no_redirect", "no")) })
    }

    fn complete(&self, _: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        Box::pin(async { Err(fault("auth.no_redirect", "no")) })
    }

    fn authenticate(&self, credential: Credential, _: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let Credential::Password { username, password } = credential else {
            return Box::pin(async { Ok(Verdict::NotMine) });
        };
        Box::pin(async move {
            let passwords = match &self.1 {
                Script::Says(answer) => return answer.clone(),
                Script::Local(passwords) => passwords,
            };
            match passwords.check_password(username.clone(), password).await {
                Ok(PasswordCheck::Matches) => Ok(Verdict::Granted(account(username))),
                Ok(PasswordCheck::Differs) => Ok(Verdict::Denied { code: "bad_password".into() }),
                Err(message) => Err(fault("accounts", message)),
            }
        })
    }
}

fn account(name: String) -> Identity {
    Identity { name, source: IdentitySource::Account, scopes: vec![], expires: None }
}

fn fault(code: &str, message: impl Into<String>) -> JudgeError {
    JudgeError::Fault(AdapterFault { kind: FaultKind::Plugin, code: code.into(), message: message.into() })
}

fn granted(name: &str) -> Script {
    Script::Says(Ok(Verdict::Granted(account(name.into()))))
}

fn denied(code: &str) -> Script {
    Script::Says(Ok(Verdict::Denied { code: code.into() }))
}

fn trapped() -> Script {
    Script::Says(Err(JudgeError::Plugin(PluginFailure::Trapped { plugin: "p".into(), what: "unreachable".into() })))
}

fn not_mine() -> Script {
    Script::Says(Ok(Verdict::NotMine))
}

fn server_config(external_url: Option<&str>) -> ServerConfig {
    let defaults = Defaults { storage_path: "/x".into(), plugins_directory: "/p".into(), cache_directory: "/c".into() };
    let config = crate::config::check("# defaults", &MachineSecrets, std::path::Path::new("/"), &defaults).unwrap();
    ServerConfig {
        external_url: external_url.map(str::to_owned),
        session_idle_timeout: IDLE,
        session_timeout: ABSOLUTE,
        ..config.server
    }
}

struct House {
    directory: TempDir,
    store: Store,
    passwords: Arc<Passwords>,
    plugins: watch::Sender<Arc<PluginSet>>,
    roles_max: watch::Sender<Arc<BTreeMap<String, Role>>>,
    environments: watch::Sender<Arc<Environments>>,
    settings: watch::Sender<Arc<ServerConfig>>,
    keys: Arc<Keys>,
    tracker: TaskGroup,
    auth: Auth,
}

impl House {
    /// With the administrator `ann`, the viewer `bob` and the disabled `eve`.
    async fn new() -> Self {
        let house = Self::empty();
        let hash = house.passwords.hash(Secret::new(PASSWORD.into())).await.unwrap();
        for (name, role, is_disabled) in
            [("ann", Role::Admin, false), ("bob", Role::Viewer, false), ("eve", Role::Operator, true)]
        {
            let grants = vec![RoleGrant::everywhere(role)];
            let account = Account { is_disabled, ..Account::new(name.into(), hash.clone(), grants, at(0)) };
            house.store.create_account(account, None, record("account.create")).await.unwrap();
        }
        house.passwords.hashes.store(0, Ordering::Relaxed);
        house
    }

    fn empty() -> Self {
        Self::on(TempDir::new().unwrap())
    }

    /// The same house, with somebody who is told of ended grants.
    fn with_revoked(self, revoked: mpsc::Sender<tokio::sync::oneshot::Sender<()>>) -> Self {
        let parts = AuthParts {
            store: self.store.clone(),
            passwords: Arc::clone(&self.passwords),
            keys: Arc::clone(&self.keys),
            plugins: self.plugins.subscribe(),
            roles_max: self.roles_max.subscribe(),
            environments: self.environments.subscribe(),
            server: watch::Sender::new(Arc::new(server_config(None))).subscribe(),
            revoked,
            tracker: self.tracker.clone(),
        };
        Self { auth: Auth::new(parts), ..self }
    }

    fn on(directory: TempDir) -> Self {
        let store = Store::open(&StorageConfig::at(directory.path().join("o.redb"))).unwrap();
        let tracker = Tasks::new().group(TaskKind::Request);
        let passwords = Arc::new(Passwords::new(store.clone(), tracker.clone()));
        let set = set(vec![("auth-local", Script::Local(Arc::clone(&passwords)))]);
        let (plugins, receiver) = watch::channel(set);
        let (roles_max, granted) = watch::channel(Arc::default());
        let environments = watch::Sender::new(Arc::default());
        let keys = Arc::new(Keys::new(store.clone()));
        let settings = watch::Sender::new(Arc::new(server_config(Some("https://omnivisor.example"))));
        let parts = AuthParts {
            store: store.clone(),
            passwords: Arc::clone(&passwords),
            keys: Arc::clone(&keys),
            plugins: receiver,
            roles_max: granted,
            environments: environments.subscribe(),
            server: settings.subscribe(),
            revoked: mpsc::channel(1).0,
            tracker: tracker.clone(),
        };
        let auth = Auth::new(parts);
        Self { directory, store, passwords, plugins, roles_max, environments, settings, keys, tracker, auth }
    }

    /// Disables an account or enables it, behind the back of everybody.
    async fn disable(&self, name: &str, is_disabled: bool) {
        let revision = self.store.account(name).unwrap().unwrap().revision;
        let edit = AccountEdit::Access { password_hash: None, is_disabled: Some(is_disabled), keep: None };
        self.store.edit_account(name, revision, edit, None, record("account.disable")).await.unwrap();
    }

    async fn restarted(self) -> Self {
        self.tracker.tracker().close();
        self.tracker.tracker().wait().await;
        self.store.close().await.unwrap();
        Self::on(self.directory)
    }

    fn strategies(&self, scripts: Vec<(&'static str, Script)>) {
        self.plugins.send_replace(set(scripts));
    }

    fn serve(&self, strategies: Vec<Arc<dyn Strategy>>) {
        let set = PluginSet { strategies, ..PluginSet::default() };
        self.plugins.send_replace(Arc::new(set));
    }

    fn grant(&self, strategy: &str, role: Role) {
        self.roles_max.send_replace(Arc::new(BTreeMap::from([(strategy.to_owned(), role)])));
    }

    async fn login(&self, username: &str, password: &str) -> Result<Login, AuthRefusal> {
        self.auth.login(credential(username, password), facts(1), at(0)).await
    }

    async fn newest(&self) -> AuditRecord {
        self.audit().await.swap_remove(0).record
    }

    async fn audit(&self) -> Vec<AuditEntry> {
        self.store.recent_audit(1_000).await.unwrap()
    }

    fn hashes(&self) -> usize {
        self.passwords.hashes.swap(0, Ordering::Relaxed)
    }

    fn bearer(&self, login: &Login, seconds: u64) -> Result<SessionInfo, AuthRefusal> {
        self.auth.session(login.token.reveal(), at(seconds))
    }
}

/// Holds the clock of timers still, while the store's thread goes on by itself. A paused clock alone would jump to the
/// next timer whenever a test waits for that thread; it does not while blocking work is under way.
struct Standstill {
    _end: std::sync::mpsc::SyncSender<()>,
}

impl Standstill {
    async fn begin() -> Self {
        let (end, ended) = std::sync::mpsc::sync_channel(0);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        drop(tokio::task::spawn_blocking(move || {
            let _ = begun.send(());
            let _ = ended.recv();
        }));
        has_begun.await.unwrap();
        tokio::time::pause();
        Self { _end: end }
    }
}

fn set(scripts: Vec<(&'static str, Script)>) -> Arc<PluginSet> {
    let strategies = scripts
        .into_iter()
        .map(|(name, script)| Arc::new(Scripted(name, script, password_info())) as Arc<dyn Strategy>);
    Arc::new(PluginSet { strategies: strategies.collect(), ..PluginSet::default() })
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn facts(host: u8) -> PeerFacts {
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, host));
    PeerFacts { address, peer: address, request_id: "r1".into() }
}

fn credential(username: &str, password: &str) -> Credential {
    Credential::Password { username: username.into(), password: Secret::new(password.into()) }
}

fn record(what: &str) -> AuditRecord {
    AuditRecord {
        at: at(0),
        who: String::new(),
        what: what.into(),
        target: String::new(),
        outcome: AuditOutcome::Done,
        reason: String::new(),
        request_id: String::new(),
        address: None,
    }
}

#[tokio::test]
async fn a_good_password_begins_a_session_with_the_role_of_the_account() {
    let house = House::new().await;
    let login = house.login("bob", PASSWORD).await.unwrap();
    let session = house.bearer(&login, 1).unwrap();
    assert_eq!((session.principal.name.as_str(), session.principal.role), ("bob", Some(Role::Viewer)));
    assert_eq!(session.principal.strategy, "auth-local");
    assert_eq!(session.expires, at(0) + ABSOLUTE);
    assert!(house.auth.permit(&session.principal, Action::NodeRead, Object::Server).is_ok());
    let error = house.auth.permit(&session.principal, Action::ProcessControl, Object::Server).unwrap_err();
    assert_eq!(error.to_string(), "you may not do `process.control` here");
    let newest = house.newest().await;
    assert_eq!(
        (newest.what.as_str(), newest.who.as_str(), newest.outcome),
        ("session.login", "bob", AuditOutcome::Done)
    );
    assert_eq!((newest.request_id.as_str(), newest.address), ("r1", Some(facts(1).address)));
}

#[tokio::test]
async fn unknown_disabled_and_wrong_answer_alike_at_the_cost_of_one_hash() {
    let house = House::new().await;
    for (username, password) in [("ann", "wrong"), ("nobody", PASSWORD), ("eve", PASSWORD), ("ann", "")] {
        let error = house.login(username, password).await.unwrap_err();
        assert!(matches!(error, AuthRefusal::Failed), "{error:?}");
        assert_eq!(error.to_string(), "name, password or token is wrong");
        assert_eq!(house.hashes(), 1, "{username}");
        let newest = house.newest().await;
        assert_eq!((newest.who.as_str(), newest.outcome), (username, AuditOutcome::Refused));
        assert_eq!(newest.reason, "bad_password");
    }
    house.login("ann", PASSWORD).await.unwrap();
    assert_eq!(house.hashes(), 1, "success costs the same");
    house.login("ann", &"x".repeat(1_025)).await.unwrap_err();
    assert_eq!(house.hashes(), 0, "an endless password costs nothing");
}

#[tokio::test]
async fn the_first_yes_or_no_ends_the_chain_and_failures_close_it() {
    let house = House::new().await;
    let failed = |error: &AuthRefusal| matches!(error, AuthRefusal::Failed);
    let plugin = |error: &AuthRefusal| matches!(error, AuthRefusal::Plugin { .. }) && error.fault() == Fault::Plugin;
    type Case<'a> = (Vec<(&'static str, Script)>, &'a dyn Fn(&AuthRefusal) -> bool, &'a str, &'a str);
    let cases: [Case<'_>; 8] = [
        (vec![], &failed, "", "no_strategy"),
        (vec![("a", not_mine()), ("b", not_mine())], &failed, "", "no_strategy"),
        (vec![("a", not_mine()), ("b", denied("no")), ("c", granted("ann"))], &failed, "b", "no"),
        (vec![("a", trapped()), ("b", granted("ann"))], &plugin, "a", "plugin.trapped"),
        (vec![("a", Script::Says(Err(fault("x.y", "secretive")))), ("b", granted("ann"))], &plugin, "a", "x.y"),
        (vec![("a", granted("ghost"))], &failed, "a", "unknown_account"),
        (vec![("a", granted("eve"))], &failed, "a", "disabled_account"),
        (vec![("a", denied(&"ü".repeat(100)))], &failed, "a", &"ü".repeat(32)),
    ];
    for (n, (scripts, check, target, reason)) in (1..).zip(cases) {
        house.strategies(scripts);
        let error = house.auth.login(credential("ann", "x"), facts(n), at(0)).await.unwrap_err();
        assert!(check(&error), "case {n}: {error:?}");
        let newest = house.newest().await;
        assert_eq!((newest.target.as_str(), newest.reason.as_str(), newest.who.as_str()), (target, reason, "ann"));
    }
    house.strategies(vec![("a", not_mine()), ("b", granted("bob"))]);
    let login = house.login("ann", "x").await.unwrap();
    assert_eq!((login.session.principal.name.as_str(), login.session.principal.role), ("bob", Some(Role::Viewer)));
    assert_eq!(house.newest().await.who, "bob", "the strategy's word for who it is counts, not the claimed name");
}

#[tokio::test]
async fn guessing_is_slowed_down_for_the_guesser_alone_and_audited_once() {
    let house = House::new().await;
    let _still = Standstill::begin().await;
    house.strategies(vec![("a", denied("bad_password"))]);
    for _ in 0..5 {
        assert!(matches!(house.login("ann", "x").await, Err(AuthRefusal::Failed)));
    }
    for _ in 0..3 {
        let error = house.login("ann", "x").await.unwrap_err();
        assert!(matches!(error, AuthRefusal::TooManyAttempts { retry_after } if retry_after == Duration::from_secs(1)));
        assert_eq!(error.fault(), Fault::Caller);
    }
    let audit = house.audit().await;
    assert_eq!(audit.iter().filter(|entry| entry.record.reason == "too_many_attempts").count(), 1);
    assert_eq!(audit.iter().filter(|entry| entry.record.reason == "bad_password").count(), 5);
    house.strategies(vec![("a", granted("ann"))]);
    assert!(matches!(house.login("ann", "x").await, Err(AuthRefusal::TooManyAttempts { .. })), "not even judged");
    let from_elsewhere = house.auth.login(credential("ann", "x"), facts(2), at(0)).await;
    assert!(from_elsewhere.is_ok(), "a stranger locks nobody out");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(house.login("ann", "x").await.is_ok(), "the wait is over");
}

#[tokio::test]
async fn a_failing_strategy_does_not_count_against_who_logs_in() {
    let house = House::new().await;
    house.strategies(vec![("a", trapped())]);
    for _ in 0..10 {
        assert!(matches!(house.login("ann", "x").await, Err(AuthRefusal::Plugin { .. })));
    }
}

#[tokio::test]
async fn many_logins_at_once_are_bounded_and_the_rest_told_to_come_back() {
    let house = House::new().await;
    let logins = (0..200_u8).map(|n| house.auth.login(credential("ann", PASSWORD), facts(n), at(0)));
    let results = futures_util::future::join_all(logins).await;
    let good = results.iter().filter(|result| result.is_ok()).count();
    let busy = results.iter().filter(|result| matches!(result, Err(AuthRefusal::Busy { .. }))).count();
    println!("{good} of 200 logins at once were let in, {busy} told to come back");
    assert_eq!(good + busy, 200, "a good password is never called wrong");
    assert!(good >= 1 && busy >= 100 - password::cores(), "{good} {busy}");
    assert!(house.hashes() <= 200 - busy + password::cores());
}

#[tokio::test]
async fn a_login_whose_client_leaves_is_audited_all_the_same() {
    let house = House::new().await;
    {
        let login = house.login("ann", "wrong");
        tokio::pin!(login);
        assert!(futures_util::poll!(login.as_mut()).is_pending());
    }
    house.tracker.tracker().close();
    house.tracker.tracker().wait().await;
    assert_eq!(house.newest().await.reason, "bad_password");
}

#[tokio::test]
async fn nobody_is_let_in_without_a_record() {
    let house = House::new().await;
    house.strategies(vec![("a", granted("ann"))]);
    house.store.close().await.unwrap();
    let error = house.login("ann", "x").await.unwrap_err();
    assert!(matches!(error, AuthRefusal::Store(_)), "{error:?}");
    assert_eq!(error.fault(), Fault::Host);
}

#[tokio::test]
async fn bad_tokens_are_refused_alike() {
    let house = House::new().await;
    let login = house.login("ann", PASSWORD).await.unwrap();
    let token = login.token.reveal();
    let swapped = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'E' } else { 'A' });
    let never_given = token::new().unwrap();
    for bad in ["", "omni_", PASSWORD, &token[..20], &swapped, never_given.reveal(), &token.to_uppercase()] {
        let error = house.auth.session(bad, at(1)).unwrap_err();
        assert!(matches!(error, AuthRefusal::Required), "{bad}: {error:?}");
    }
    assert!(house.bearer(&login, 1).is_ok());
}

#[tokio::test]
async fn each_login_has_a_token_of_its_own_and_logout_ends_exactly_one() {
    let house = House::new().await;
    let (first, second) = (house.login("ann", PASSWORD).await.unwrap(), house.login("ann", PASSWORD).await.unwrap());
    assert_ne!(first.token, second.token);
    let feed = house.bearer(&first, 1).unwrap();
    for _ in 0..2 {
        house.auth.logout(&feed, facts(1), at(2)).await.unwrap();
        assert!(feed.ended.is_cancelled(), "an open feed learns of it");
        assert!(matches!(house.bearer(&first, 2), Err(AuthRefusal::Required)));
    }
    assert!(!second.session.ended.is_cancelled());
    assert!(house.bearer(&second, 3).is_ok());
    let logouts = house.audit().await.into_iter().filter(|entry| entry.record.what == "session.logout").count();
    assert_eq!(logouts, 1);
    let house = house.restarted().await;
    assert!(matches!(house.bearer(&first, 4), Err(AuthRefusal::Required)));
    assert!(house.bearer(&second, 4).is_ok(), "sessions outlive a restart");
}

#[tokio::test]
async fn a_session_ends_when_idle_and_in_any_case_at_its_end() {
    let house = House::new().await;
    let idle = house.login("ann", PASSWORD).await.unwrap();
    assert!(house.bearer(&idle, IDLE.as_secs() - 1).is_ok());
    assert!(house.bearer(&idle, 2 * IDLE.as_secs() - 2).is_ok(), "use prolongs it");
    let error = house.bearer(&idle, 3 * IDLE.as_secs()).unwrap_err();
    assert!(matches!(error, AuthRefusal::Required));
    assert!(idle.session.ended.is_cancelled());
    assert!(house.bearer(&idle, 1).is_err(), "a clock that is set back does not revive it");
}

#[tokio::test]
async fn use_does_not_prolong_a_session_beyond_its_end() {
    let house = House::new().await;
    let login = house.login("ann", PASSWORD).await.unwrap();
    let half_hours = ABSOLUTE.as_secs() / 1_800;
    for n in 0..half_hours {
        assert!(house.bearer(&login, n * 1_800).is_ok(), "{n}");
    }
    assert!(house.bearer(&login, ABSOLUTE.as_secs()).is_err());
}

#[tokio::test]
async fn the_last_use_survives_a_restart_to_the_minute() {
    let house = House::new().await;
    let login = house.login("ann", PASSWORD).await.unwrap();
    house.bearer(&login, IDLE.as_secs() - 100).unwrap();
    let house = house.restarted().await;
    assert!(house.bearer(&login, IDLE.as_secs() + 100).is_ok());
}

#[tokio::test]
async fn the_sweep_ends_what_is_over_spares_what_is_held_and_clears_the_store() {
    let house = House::new().await;
    let (left, held) = (house.login("ann", PASSWORD).await.unwrap(), house.login("ann", PASSWORD).await.unwrap());
    let (left_id, ended) = (left.session.session_id, left.session.ended.clone());
    drop(left);
    assert_eq!(house.auth.sweep(at(IDLE.as_secs() - 1)).await.unwrap(), 0);
    assert!(!ended.is_cancelled());
    assert_eq!(house.auth.sweep(at(IDLE.as_secs() + 61)).await.unwrap(), 1);
    assert!(ended.is_cancelled());
    assert_eq!(house.store.session(left_id).unwrap(), None);
    assert!(!held.session.ended.is_cancelled(), "an open feed is use");
    assert!(house.bearer(&held, IDLE.as_secs() + 62).is_ok());
    house.auth.sweep(at(ABSOLUTE.as_secs())).await.unwrap();
    assert!(held.session.ended.is_cancelled(), "its end comes all the same");
    assert_eq!(house.store.session(held.session.session_id).unwrap(), None);
}

#[tokio::test]
async fn upkeep_ends_with_its_token() {
    let house = House::empty();
    let stop = CancellationToken::new();
    stop.cancel();
    house.auth.run_upkeep(stop).await;
}

#[tokio::test]
async fn a_disabled_account_loses_its_sessions_at_the_next_request_for_good() {
    let house = House::new().await;
    let login = house.login("bob", PASSWORD).await.unwrap();
    house.disable("bob", true).await;
    assert!(matches!(house.bearer(&login, 1), Err(AuthRefusal::Required)));
    assert!(login.session.ended.is_cancelled());
    house.disable("bob", false).await;
    assert!(house.bearer(&login, 2).is_err(), "the session does not come back with the account");
    let house = house.restarted().await;
    assert!(house.bearer(&login, 3).is_err());
    assert_eq!(
        house.store.session(login.session.session_id).unwrap(),
        None,
        "it ended with its account, in one transaction"
    );
}

#[tokio::test]
async fn the_setup_token_makes_one_administrator_and_never_another() {
    let house = House::empty();
    let token = house.auth.begin_setup().unwrap().unwrap();
    let setup = |token: &Secret, name: &str, password: &str| {
        house.auth.setup(token.clone(), name.into(), Secret::new(password.into()), facts(1), at(0))
    };
    let error = setup(&Secret::new("omni_guess".into()), "mallory", PASSWORD).await.unwrap_err();
    assert!(matches!(error, AuthRefusal::Failed), "{error:?}");
    assert_eq!(house.newest().await.reason, "bad_token");
    let error = setup(&token, "ann", "short").await.unwrap_err();
    assert!(matches!(error, AuthRefusal::Account(AccountFault::PasswordTooShort { characters: 5, min: 12 })));
    assert!(matches!(setup(&token, "a b", PASSWORD).await, Err(AuthRefusal::Account(_))), "the token stays good");

    let login = setup(&token, "ann", PASSWORD).await.unwrap();
    assert_eq!(house.bearer(&login, 1).unwrap().principal.role, Some(Role::Admin));
    assert!(matches!(setup(&token, "eve", PASSWORD).await, Err(AuthRefusal::SetupDone)));
    assert_eq!(house.auth.begin_setup().unwrap(), None);
    house.login("ann", PASSWORD).await.unwrap();
    assert_eq!(house.store.accounts_count().unwrap(), 1);
}

#[tokio::test]
async fn of_two_setups_at_once_one_wins() {
    let house = House::empty();
    let token = house.auth.begin_setup().unwrap().unwrap();
    let setups = ["ann", "eve"]
        .map(|name| house.auth.setup(token.clone(), name.into(), Secret::new(PASSWORD.into()), facts(1), at(0)));
    let results = futures_util::future::join_all(setups).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().any(|result| matches!(result, Err(AuthRefusal::SetupDone))));
    assert_eq!(house.store.accounts_count().unwrap(), 1);
}

#[tokio::test]
async fn init_makes_the_first_administrator_only() {
    let house = House::empty();
    let init = |name: &'static str| {
        let password = Secret::new(PASSWORD.into());
        create_first_administrator(&house.store, &house.passwords, name, password, record("init"), at(0))
    };
    init("ann").await.unwrap();
    assert!(matches!(init("bob").await, Err(AuthRefusal::SetupDone)));
    assert_eq!(house.hashes(), 1, "the second is refused before it costs anything");
    assert!(
        house
            .store
            .account("ann")
            .unwrap()
            .unwrap()
            .password_hash
            .reveal()
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
    );
}

#[tokio::test]
async fn neither_passwords_nor_tokens_show_in_texts_or_on_the_disk() {
    let house = House::new().await;
    let login = house.login("ann", PASSWORD).await.unwrap();
    let refusal = house.login("ann", "canary-password").await.unwrap_err();
    let shown = format!("{login:?} {refusal:?} {:?} {:?} {:?}", house.auth, house.passwords, house.audit().await);
    let token = login.token.reveal().to_owned();
    let path = house.directory.path().join("o.redb");
    house.store.close().await.unwrap();
    let disk = std::fs::read(path).unwrap();
    for secret in [token.as_str(), &token[5..], PASSWORD, "canary-password"] {
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
        assert!(!disk.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is on the disk");
    }
}

#[tokio::test]
async fn how_long_sessions_last_is_as_the_settings_say_at_each_moment() {
    let house = House::new().await;
    let set = |idle: u64, timeout: u64| {
        house.settings.send_replace(Arc::new(ServerConfig {
            session_idle_timeout: Duration::from_secs(idle),
            session_timeout: Duration::from_secs(timeout),
            ..server_config(None)
        }));
    };
    let before = house.login("bob", PASSWORD).await.unwrap();
    set(100, 500);
    let after = house.login("bob", PASSWORD).await.unwrap();
    assert_eq!(house.bearer(&before, 1).unwrap().expires, at(0) + ABSOLUTE, "one that was there keeps its end");
    assert_eq!(house.bearer(&after, 1).unwrap().expires, at(500));
    assert!(house.bearer(&before, 100).is_ok(), "used 99 seconds ago");
    assert!(house.bearer(&before, 200).is_err(), "used a hundred seconds ago");
    set(1_000, 500);
    assert!(house.bearer(&after, 400).is_ok(), "it may be unused for longer now");
    assert!(house.bearer(&after, 501).is_err());
}
