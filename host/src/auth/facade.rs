use crate::auth::attempts::{Attempt, Attempts};
use crate::auth::chain::{self, Ruling};
use crate::auth::password::{Passwords, cores};
use crate::auth::session::{SessionInfo, Sessions};
use crate::auth::setup::{SetupGate, create_first_administrator};
use crate::auth::slots::Slots;
use crate::auth::{Action, AuthRefusal, allows};
use crate::model::{Credential, PeerFacts, Principal, Role, Secret};
use crate::plugin::{JudgeError, PluginFailure, PluginSet};
use crate::store::{Account, AuditOutcome, AuditRecord, SessionId, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Logins that may wait for their turn, and for how long. As many are judged at a time as there are cores, so that a
/// strategy's own time does not pass in a queue.
const LOGINS_WAITING_MAX: usize = 64;
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often ended sessions are looked for.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);

/// What [`Auth`] is made of.
pub struct AuthParts {
    /// Accounts, sessions and audit.
    pub store: Store,
    /// The hasher, which `auth-local` checks passwords with too.
    pub passwords: Arc<Passwords>,
    /// The strategies, as they are at each moment.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// Logins run on it, so that a client that leaves does not cut one short of its record.
    pub tracker: TaskTracker,
    /// A session not used for so long ends.
    pub idle_timeout: Duration,
    /// A session ends after so long in any case.
    pub timeout: Duration,
}

/// Decides who may come in and keeps the record of it. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    passwords: Arc<Passwords>,
    plugins: watch::Receiver<Arc<PluginSet>>,
    tracker: TaskTracker,
    sessions: Sessions,
    attempts: Attempts,
    setup: SetupGate,
    logins: Slots,
}

/// A session that has just begun.
#[derive(Debug, Clone)]
pub struct Login {
    /// The token. It is kept nowhere else.
    pub token: Secret,
    /// The session.
    pub session: SessionInfo,
}

impl Auth {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: AuthParts) -> Self {
        let AuthParts { store, passwords, plugins, tracker, idle_timeout, timeout } = parts;
        let sessions = Sessions::new(store.clone(), idle_timeout, timeout);
        let logins = Slots::new(cores(), LOGINS_WAITING_MAX, LOGIN_WAIT_MAX);
        let (attempts, setup) = (Attempts::default(), SetupGate::default());
        Self { inner: Arc::new(Inner { store, passwords, plugins, tracker, sessions, attempts, setup, logins }) }
    }

    /// A one-time token for [`Auth::setup`] if there is no account yet; the caller shows it to the operator. `None`
    /// when there is one. A second call replaces the token.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`], [`AuthRefusal::Internal`].
    pub fn begin_setup(&self) -> Result<Option<Secret>, AuthRefusal> {
        if self.inner.store.accounts_count()? > 0 {
            return Ok(None);
        }
        self.inner.setup.open().map(Some)
    }

    /// Judges a credential and begins a session. Success and failure are in the audit before this answers.
    ///
    /// # Errors
    /// [`AuthRefusal::Failed`], [`AuthRefusal::TooManyAttempts`], [`AuthRefusal::Busy`], [`AuthRefusal::Plugin`],
    /// [`AuthRefusal::Store`], [`AuthRefusal::Internal`]. Nobody is let in by any of them.
    ///
    /// # Cancel safety
    /// Once polled, a login runs to its end and is audited, also when the future is dropped.
    pub async fn login(&self, credential: Credential, facts: PeerFacts, now: SystemTime) -> Result<Login, AuthRefusal> {
        let inner = Arc::clone(&self.inner);
        let login = self.inner.tracker.spawn(async move { inner.login(credential, facts, now).await });
        login.await.unwrap_or(Err(AuthRefusal::Internal { what: "the login's task" }))
    }

    /// Creates the first administrator against the setup token and begins a session for it. The token is good for one
    /// account, and only while there is none.
    ///
    /// # Errors
    /// [`AuthRefusal::SetupDone`], [`AuthRefusal::Failed`] for a wrong token, [`AuthRefusal::Account`] when name or
    /// password break a rule (the token stays good), and those of [`Auth::login`] but `Plugin`.
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn setup(
        &self,
        token: Secret,
        username: String,
        password: Secret,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let inner = Arc::clone(&self.inner);
        let setup = self.inner.tracker.spawn(async move { inner.setup(&token, username, password, facts, now).await });
        setup.await.unwrap_or(Err(AuthRefusal::Internal { what: "the setup's task" }))
    }

    /// The session of a bearer token. REST routes and the feed both ask here. Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::Required`] for every kind of bad token alike; [`AuthRefusal::Store`].
    pub fn authenticate_bearer(&self, token: &str, now: SystemTime) -> Result<SessionInfo, AuthRefusal> {
        self.inner.authenticate(token, now)
    }

    /// Whether a principal may do something. Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::Forbidden`].
    pub fn permit(&self, principal: &Principal, action: Action) -> Result<(), AuthRefusal> {
        if allows(principal.role, action) { Ok(()) } else { Err(AuthRefusal::Forbidden { action }) }
    }

    /// The names of all that a principal may do, e.g. `process.control`.
    #[must_use]
    pub fn permissions(&self, principal: &Principal) -> Vec<String> {
        let may = Action::ALL.into_iter().filter(|action| self.permit(principal, *action).is_ok());
        may.map(|action| action.as_str().to_owned()).collect()
    }

    /// Ends exactly this session, here and in the store, with its record in the audit. Ending it twice is no error.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`]; then the session goes on, and it can be tried again.
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn logout(&self, session: &SessionInfo, facts: PeerFacts, now: SystemTime) -> Result<(), AuthRefusal> {
        let record = entry("session.logout", &session.principal.name, AuditOutcome::Done, "", &facts, now);
        let record = AuditRecord { target: session.session_id.to_string(), ..record };
        let (inner, id) = (Arc::clone(&self.inner), session.session_id);
        let end = self.inner.tracker.spawn(async move { inner.sessions.end(id, record).await });
        end.await.map_err(|_| AuthRefusal::Internal { what: "the logout's task" })??;
        Ok(())
    }

    /// Appends a record to the audit and waits until it is on the disk.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`]; then whatever was to be audited must not be done.
    pub async fn audit(&self, record: AuditRecord) -> Result<(), AuthRefusal> {
        Ok(self.inner.store.append_audit(record).await?)
    }

    /// Ends sessions whose time is over and clears them from the store, every half minute until `stop`.
    pub async fn run_upkeep(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.sweep(SystemTime::now()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "ended sessions could not be cleared away");
            }
        }
    }

    /// One round of [`Auth::run_upkeep`]. Answers how many sessions left the store.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`].
    pub(super) async fn sweep(&self, now: SystemTime) -> Result<u64, AuthRefusal> {
        Ok(self.inner.sessions.sweep(now).await?)
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Inner {
    async fn login(&self, credential: Credential, facts: PeerFacts, now: SystemTime) -> Result<Login, AuthRefusal> {
        let claimed = match &credential {
            Credential::Password { username, .. } => username,
            Credential::Bearer { .. } | Credential::Headers { .. } => "",
        };
        self.begin_attempt("session.login", claimed, &facts, now).await?;
        let result = self.judge(&credential, claimed, &facts, now).await;
        self.end_attempt(claimed, &facts, &result);
        result
    }

    async fn judge(
        &self,
        credential: &Credential,
        claimed: &str,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let refused = |strategy: String, reason: &str| AuditRecord {
            target: strategy,
            ..entry("session.login", claimed, AuditOutcome::Refused, reason, facts, now)
        };
        let ruling = {
            let _slot = self.logins.enter().await.ok_or(AuthRefusal::BUSY)?;
            let set = Arc::clone(&self.plugins.borrow());
            chain::judge(&set, credential, facts).await
        };
        let (record, refusal) = match ruling {
            Ruling::Granted { strategy, identity } => match self.enabled_account(&identity.name)? {
                Ok(account) => {
                    let name = identity.name;
                    let record = entry("session.login", &name, AuditOutcome::Done, "", facts, now);
                    let record = AuditRecord { target: strategy.clone(), ..record };
                    let principal = Principal { name, role: account.role, strategy };
                    let (token, session) = self.sessions.begin(principal, record, now).await?;
                    return Ok(Login { token, session });
                }
                Err(reason) => (refused(strategy, reason), AuthRefusal::Failed),
            },
            Ruling::Denied { strategy, code } => (refused(strategy, &code), AuthRefusal::Failed),
            Ruling::Failed { strategy, source } => {
                let record =
                    AuditRecord { outcome: AuditOutcome::Failed, ..refused(strategy.clone(), code_of(&source)) };
                let is_busy = matches!(source, JudgeError::Plugin(PluginFailure::Busy { .. }));
                (record, if is_busy { AuthRefusal::BUSY } else { AuthRefusal::Plugin { strategy, source } })
            }
        };
        self.store.append_audit(record).await?;
        Err(refusal)
    }

    async fn setup(
        &self,
        token: &Secret,
        username: String,
        password: Secret,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        const NO_ACCOUNT: &str = "";
        self.begin_attempt("setup", NO_ACCOUNT, &facts, now).await?;
        let result = self.redeem(token, username, password, &facts, now).await;
        self.end_attempt(NO_ACCOUNT, &facts, &result);
        result
    }

    async fn redeem(
        &self,
        token: &Secret,
        username: String,
        password: Secret,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        if !self.setup.check(token)? {
            let record = entry("setup", &username, AuditOutcome::Refused, "bad_token", facts, now);
            self.store.append_audit(record).await?;
            return Err(AuthRefusal::Failed);
        }
        let record = entry("setup", &username, AuditOutcome::Done, "", facts, now);
        let made = create_first_administrator(&self.store, &self.passwords, &username, password, record, now).await;
        if matches!(made, Ok(()) | Err(AuthRefusal::SetupDone)) {
            self.setup.close();
        }
        made?;
        let record = entry("session.login", &username, AuditOutcome::Done, "", facts, now);
        let principal = Principal { name: username, role: Role::Admin, strategy: "setup".to_owned() };
        let record = AuditRecord { target: principal.strategy.clone(), ..record };
        let (token, session) = self.sessions.begin(principal, record, now).await?;
        Ok(Login { token, session })
    }

    fn authenticate(&self, token: &str, now: SystemTime) -> Result<SessionInfo, AuthRefusal> {
        let found = self.sessions.find(token, now)?.ok_or(AuthRefusal::Required)?;
        match self.enabled_account(&found.account)? {
            Ok(account) => Ok(found.into_info(account.role)),
            Err(reason) => {
                self.end_for_good(found.id, &found.account, reason, now);
                Err(AuthRefusal::Required)
            }
        }
    }

    /// Ends a session whose account has gone, here at once and in the store soon: it must not come back with the
    /// account.
    fn end_for_good(&self, id: SessionId, account: &str, reason: &str, now: SystemTime) {
        self.sessions.end_here(id);
        let record = AuditRecord {
            at: now,
            who: account.to_owned(),
            what: "session.end".to_owned(),
            target: id.to_string(),
            outcome: AuditOutcome::Done,
            reason: reason.to_owned(),
            request_id: String::new(),
            address: None,
        };
        let store = self.store.clone();
        self.tracker.spawn(async move {
            if let Err(error) = store.delete_session(id, record).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, session = %id, "a session of a closed account is still in the store");
            }
        });
    }

    /// The account, or why nobody may use it.
    fn enabled_account(&self, name: &str) -> Result<Result<Account, &'static str>, AuthRefusal> {
        Ok(match self.store.account(name)? {
            None => Err("unknown_account"),
            Some(account) if account.is_disabled => Err("disabled_account"),
            Some(account) => Ok(account),
        })
    }

    async fn begin_attempt(
        &self,
        what: &str,
        account: &str,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        match self.attempts.begin(account, facts.address, Instant::now()) {
            Attempt::Admitted => Ok(()),
            Attempt::Refused { retry_after, is_first } => {
                // The first says it all; a record each would let a stranger fill the disk.
                if is_first {
                    let record = entry(what, account, AuditOutcome::Refused, "too_many_attempts", facts, now);
                    self.store.append_audit(record).await?;
                }
                Err(AuthRefusal::TooManyAttempts { retry_after })
            }
        }
    }

    fn end_attempt(&self, account: &str, facts: &PeerFacts, result: &Result<Login, AuthRefusal>) {
        match result {
            Ok(_) => self.attempts.succeeded(account, facts.address),
            Err(AuthRefusal::Failed) => {}
            Err(
                AuthRefusal::Required
                | AuthRefusal::Forbidden { .. }
                | AuthRefusal::TooManyAttempts { .. }
                | AuthRefusal::Busy { .. }
                | AuthRefusal::Plugin { .. }
                | AuthRefusal::Store(_)
                | AuthRefusal::SetupDone
                | AuthRefusal::Account(_)
                | AuthRefusal::Internal { .. },
            ) => self.attempts.not_judged(account, facts.address),
        }
    }
}

fn code_of(failure: &JudgeError) -> &str {
    match failure {
        JudgeError::Fault(fault) => &fault.code,
        JudgeError::Plugin(failure) => failure.code(),
    }
}

fn entry(
    what: &str,
    who: &str,
    outcome: AuditOutcome,
    reason: &str,
    facts: &PeerFacts,
    now: SystemTime,
) -> AuditRecord {
    AuditRecord {
        at: now,
        who: who.to_owned(),
        what: what.to_owned(),
        target: String::new(),
        outcome,
        reason: reason.to_owned(),
        request_id: facts.request_id.clone(),
        address: Some(facts.address),
    }
}
