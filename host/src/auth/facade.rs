use crate::auth::attempts::Attempts;
use crate::auth::flows::Flows;
use crate::auth::keys::{KeyWish, Keys};
use crate::auth::login::{Departure, entry};
use crate::auth::password::{Passwords, cores};
use crate::auth::recognise::{Offer, Recognised};
use crate::auth::session::{SessionInfo, Sessions};
use crate::auth::setup::SetupGate;
use crate::auth::slots::Slots;
use crate::auth::tickets::{Page, Tickets};
use crate::auth::verdicts::Verdicts;
use crate::auth::watch::Registry;
use crate::auth::{Action, AuthRefusal, allows};
use crate::config::ServerConfig;
use crate::model::{ActionKind, Credential, Environments, Object, PeerFacts, Principal, Role, Secret};
use crate::plugin::PluginSet;
use crate::store::{AuditOutcome, AuditRecord, IssuedKey, Store};
use crate::task::TaskGroup;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Logins that may wait for their turn, and for how long. As many are judged at a time as there are cores, so that a
/// strategy's own time does not pass in a queue.
const LOGINS_WAITING_MAX: usize = 64;
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(2);
/// Requests whose credential is being judged, or waits for it. A strategy may wait for another server meanwhile, so there
/// are more than cores; with the logins they stay below the calls that a strategy has by default.
const REQUESTS_MAX: usize = 16;
const REQUESTS_WAITING_MAX: usize = 256;

/// How often ended sessions are looked for.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);

/// What [`Auth`] is made of.
pub struct AuthParts {
    /// Accounts, sessions and audit.
    pub store: Store,
    /// The hasher, which `auth-local` checks passwords with too.
    pub passwords: Arc<Passwords>,
    /// API keys, which `auth-token` looks up too.
    pub keys: Arc<Keys>,
    /// The strategies, as they are at each moment.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// The most that people known elsewhere may be, by strategy. Viewers where a strategy is not named.
    pub roles_max: watch::Receiver<Arc<BTreeMap<String, Role>>>,
    /// The nodes with their environments, as they are at each moment.
    pub environments: watch::Receiver<Arc<Environments>>,
    /// `[server]`, as it is at each moment: where users reach this server, and how long sessions last.
    pub server: watch::Receiver<Arc<ServerConfig>>,
    /// Told when the grants of connections have ended; answered once those connections are closed.
    pub revoked: mpsc::Sender<oneshot::Sender<()>>,
    /// Logins run on it, so that a client that leaves does not cut one short of its record.
    pub tracker: TaskGroup,
}

/// Decides who may come in and keeps the record of it. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) passwords: Arc<Passwords>,
    pub(super) keys: Arc<Keys>,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) roles_max: watch::Receiver<Arc<BTreeMap<String, Role>>>,
    pub(super) environments: watch::Receiver<Arc<Environments>>,
    pub(super) server: watch::Receiver<Arc<ServerConfig>>,
    pub(super) tracker: TaskGroup,
    pub(super) sessions: Sessions,
    pub(super) attempts: Attempts,
    pub(super) setup: SetupGate,
    pub(super) flows: Flows,
    pub(super) tickets: Tickets,
    pub(super) verdicts: Verdicts,
    pub(super) logins: Slots,
    pub(super) requests: Slots,
    pub(super) revoked: mpsc::Sender<oneshot::Sender<()>>,
    pub(super) watches: Arc<Registry>,
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
        let AuthParts { store, passwords, keys, plugins, roles_max, environments, server, revoked, tracker } = parts;
        let inner = Inner {
            sessions: Sessions::new(store.clone(), server.clone()),
            attempts: Attempts::default(),
            setup: SetupGate::default(),
            flows: Flows::default(),
            tickets: Tickets::default(),
            verdicts: Verdicts::default(),
            logins: Slots::new(cores(), LOGINS_WAITING_MAX, LOGIN_WAIT_MAX),
            requests: Slots::new(REQUESTS_MAX, REQUESTS_WAITING_MAX, LOGIN_WAIT_MAX),
            store,
            passwords,
            keys,
            plugins,
            roles_max,
            environments,
            server,
            tracker,
            revoked,
            watches: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Logins and requests that are being judged, or wait for that.
    #[must_use]
    pub fn attempts_under_way(&self) -> usize {
        self.inner.logins.taken() + self.inner.requests.taken()
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

    /// Sends somebody elsewhere to log in: asks the strategy where to, and remembers that a login is under way. The
    /// redirection and the word for the browser's cookie go to the browser, and to nobody else.
    ///
    /// # Errors
    /// [`AuthRefusal::NoSuchLogin`], [`AuthRefusal::NoExternalUrl`], [`AuthRefusal::FlowsFull`],
    /// [`AuthRefusal::TooManyAttempts`] for too many under way from one address, [`AuthRefusal::Busy`],
    /// [`AuthRefusal::Plugin`], [`AuthRefusal::Internal`].
    ///
    /// # Cancel safety
    /// Dropping the future begins nothing.
    pub async fn depart(&self, strategy: &str, facts: PeerFacts) -> Result<Departure, AuthRefusal> {
        self.inner.depart(strategy, facts).await
    }

    /// Judges somebody who is back from elsewhere with the parameters of the query, and begins a session. `cookie` is the
    /// word that the browser was given by [`Auth::depart`].
    ///
    /// # Errors
    /// [`AuthRefusal::FlowLost`] when no such login is under way in this browser, [`AuthRefusal::NoSuchLogin`],
    /// [`AuthRefusal::NoExternalUrl`], and those of [`Auth::login`].
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn arrive(
        &self,
        strategy: &str,
        parameters: Vec<(String, String)>,
        cookie: Option<Secret>,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let (inner, strategy) = (Arc::clone(&self.inner), strategy.to_owned());
        let login =
            self.inner.tracker.spawn(async move { inner.arrive(&strategy, parameters, cookie, facts, now).await });
        login.await.unwrap_or(Err(AuthRefusal::Internal { what: "the login's task" }))
    }

    /// The request headers that strategies want to see, in lower case.
    #[must_use]
    pub fn request_headers(&self) -> Vec<String> {
        let set = Arc::clone(&self.inner.plugins.borrow());
        let looks = set.strategies.iter().filter(|strategy| strategy.info().credentials.iter().any(|c| c == "headers"));
        let mut names: Vec<_> = looks.flat_map(|strategy| strategy.info().request_headers.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Who makes a request: by its session's token, or by what a strategy says to its bearer token or headers. REST routes
    /// and the feed both ask here.
    ///
    /// # Errors
    /// [`AuthRefusal::Required`] without a credential that anybody here looks at and for every kind of bad session alike;
    /// [`AuthRefusal::Failed`] for a credential that was refused; [`AuthRefusal::TooManyAttempts`],
    /// [`AuthRefusal::Busy`], [`AuthRefusal::Plugin`], [`AuthRefusal::Store`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the call of the strategy. A refusal is then perhaps neither counted nor audited, and
    /// nobody has learned of it.
    pub async fn recognise(&self, offer: Offer, facts: &PeerFacts, now: SystemTime) -> Result<Recognised, AuthRefusal> {
        self.inner.recognise(offer, facts, now).await
    }

    /// Who stands behind a session's token, and behind nothing else. Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::Required`] for every kind of bad session alike; [`AuthRefusal::Store`].
    pub fn recognise_session(&self, token: &Secret, now: SystemTime) -> Result<Recognised, AuthRefusal> {
        Ok(Recognised::by(self.inner.session(token.reveal(), now)?))
    }

    /// A ticket that lets one connection in, once and within [`crate::auth::TICKET_TTL`], for whoever asks on that page.
    /// Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::TooManyTickets`], [`AuthRefusal::Internal`].
    pub fn issue_ticket(&self, who: &Recognised, page: Page) -> Result<Secret, AuthRefusal> {
        self.inner.tickets.issue(who, page, Instant::now())
    }

    /// Who stands behind a ticket: whoever asked for it, as that credential is worth now. The ticket is used up, whatever comes
    /// of it.
    ///
    /// # Errors
    /// [`AuthRefusal::Required`] for every kind of bad ticket alike, and those of [`Auth::recognise`].
    ///
    /// # Cancel safety
    /// As for [`Auth::recognise`]; the ticket is used up.
    pub async fn redeem_ticket(
        &self,
        ticket: &Secret,
        page: &Page,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Recognised, AuthRefusal> {
        self.inner.redeem_ticket(ticket, page, facts, now).await
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn tracker(&self) -> &TaskGroup {
        &self.inner.tracker
    }

    /// The session of a token. Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::Required`] for every kind of bad token alike; [`AuthRefusal::Store`].
    #[cfg(test)]
    pub(super) fn session(&self, token: &str, now: SystemTime) -> Result<SessionInfo, AuthRefusal> {
        self.inner.session(token, now)
    }

    /// Whether a principal may do something to an object. Does not wait.
    ///
    /// # Errors
    /// [`AuthRefusal::Forbidden`].
    pub fn permit(&self, principal: &Principal, action: Action, object: Object<'_>) -> Result<(), AuthRefusal> {
        if allows(&principal.rights, action, object) { Ok(()) } else { Err(AuthRefusal::Forbidden { action }) }
    }

    /// The names of all that a principal may do to an object, e.g. `process.control`, and of what it may do with its own.
    #[must_use]
    pub fn permissions(&self, principal: &Principal, object: Object<'_>) -> Vec<String> {
        let at = |action: Action| if action.kind() == ActionKind::Own { Object::Somewhere } else { object };
        let may = Action::ALL.into_iter().filter(|action| allows(&principal.rights, *action, at(*action)));
        may.map(|action| action.as_str().to_owned()).collect()
    }

    /// Ends exactly this session, here and in the store, with its record in the audit, and closes its connections. Ending
    /// it twice is no error.
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
        let end = self.inner.tracker.spawn(async move {
            inner.sessions.end(id, record).await?;
            inner.close_ended(now).await;
            Ok::<_, AuthRefusal>(())
        });
        end.await.map_err(|_| AuthRefusal::Internal { what: "the logout's task" })??;
        Ok(())
    }

    /// Makes an API key for the caller's account, within what the caller's own credential may. The text is shown this once.
    /// Audited in the same transaction.
    ///
    /// # Errors
    /// [`AuthRefusal::NoAccount`], [`AuthRefusal::KeyWish`] with all that is wrong, [`AuthRefusal::Store`] (among them that there are too many keys),
    /// [`AuthRefusal::Internal`].
    ///
    /// # Cancel safety
    /// Once polled, the key is perhaps made. Nobody has its text then; it is listed and can be revoked.
    pub async fn create_key(
        &self,
        caller: &Recognised,
        wish: KeyWish,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(Secret, IssuedKey), AuthRefusal> {
        let principal = &caller.principal;
        if principal.is_external {
            return Err(AuthRefusal::NoAccount);
        }
        let faults = wish.faults(caller, now);
        if !faults.is_empty() {
            return Err(AuthRefusal::KeyWish(faults));
        }
        let record = entry("api-key.create", &principal.name, AuditOutcome::Done, "", facts, now);
        self.inner.keys.issue(&principal.name, wish, record, now).await
    }

    /// API keys, newest first: one's own, and everybody's with [`Action::ApiKeyAdmin`]. Those that have ended are among
    /// them for a while.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`].
    pub async fn keys(&self, principal: &Principal) -> Result<Vec<IssuedKey>, AuthRefusal> {
        let mut keys = self.inner.store.api_keys().await?;
        keys.retain(|key| may_manage(principal, key));
        keys.sort_unstable_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(keys)
    }

    /// Revokes an API key, one's own or anybody's with [`Action::ApiKeyAdmin`]. It is refused from the next request on,
    /// and its connections are closed. Revoking it twice is no error. Audited in the same transaction.
    ///
    /// # Errors
    /// [`AuthRefusal::NoSuchKey`], also for one that is not theirs to revoke; [`AuthRefusal::Store`].
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn revoke_key(
        &self,
        principal: &Principal,
        id: &str,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        let key = self.inner.store.api_key(id)?.filter(|key| may_manage(principal, key));
        let Some(IssuedKey { id, .. }) = key else { return Err(AuthRefusal::NoSuchKey { id: id.to_owned() }) };
        let record = entry("api-key.revoke", &principal.name, AuditOutcome::Done, "", facts, now);
        let record = AuditRecord { target: id.clone(), ..record };
        let inner = Arc::clone(&self.inner);
        let revoke = self.inner.tracker.spawn(async move {
            inner.keys.revoke(&id, record, now).await?;
            inner.watches.end_key(&id);
            inner.close_ended(now).await;
            Ok::<_, AuthRefusal>(())
        });
        revoke.await.map_err(|_| AuthRefusal::Internal { what: "the revocation's task" })??;
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

/// Whether a key is this principal's to see and revoke.
fn may_manage(principal: &Principal, key: &IssuedKey) -> bool {
    allows(&principal.rights, Action::ApiKeyAdmin, Object::Server)
        || (!principal.is_external && key.account == principal.name)
}
