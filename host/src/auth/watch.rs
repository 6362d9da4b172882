//! What ends a connection that outlives the request that opened it.
//!
//! Every credential with such connections is registered once, however many they are. What ends here is told to the registry:
//! sessions, API keys, accounts. What only time or somebody else can tell is looked at once for each credential.

use crate::auth::AuthRefusal;
use crate::auth::facade::{Auth, Inner};
use crate::auth::keys;
use crate::auth::recognise::{Offer, Recognised, Source};
use crate::auth::token;
use crate::model::{Allowance, Credential, Grant, GrantEnd, PeerFacts, Principal, Rights};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the registry is gone through. It is in memory, so this costs no query.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// So long before a credential's time is over its connections are told.
const EXPIRING: Duration = Duration::from_secs(60);
/// So long after it its connections may still bring another one. Then they end.
const GRACE: Duration = Duration::from_secs(10);
/// How often a credential that a strategy judges is judged again while a connection that it opened goes on.
const RECHECK_INTERVAL: Duration = Duration::from_secs(30);
/// So many times in a row it may not have been judged, for want of whoever judges. Then its connections end.
const UNJUDGED_MAX: u32 = 3;
/// How long somebody who ends a credential waits until its connections are closed.
const APPLIED_MAX: Duration = Duration::from_secs(1);

/// Tells when whoever opened a connection may no longer have it. Keep it as long as the connection.
#[derive(Debug)]
pub struct Watch {
    /// Ends then.
    pub grant: Grant,
    _entry: Arc<Entry>,
}

/// The credentials that have connections.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Mutex<HashMap<[u8; 32], Weak<Entry>>>,
    /// Something ended that nobody has been told of.
    is_untold: AtomicBool,
    /// The accounts, as they were when everybody was last compared with theirs.
    accounts_seen: AtomicU64,
}

/// One credential, and whom it stood for.
#[derive(Debug)]
struct Entry {
    registry: Arc<Registry>,
    name: [u8; 32],
    grant: Grant,
    /// As it was when the first connection began. Keeps a session in use.
    who: Recognised,
    /// Whom it stands for now: rights and scopes may be others by now.
    now: Arc<Mutex<Principal>>,
    /// The key that it is, if it is one of ours.
    api_key: Option<String>,
    /// Ends the task that has it judged again.
    _gone: Option<DropGuard>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut entries = self.registry.lock();
        // Another one may have come in its place.
        if entries.get(&self.name).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&self.name);
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Weak<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have not ended.
    fn live(&self) -> Vec<Arc<Entry>> {
        // Not dropped under the lock, which the drop takes.
        let entries: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        entries.into_iter().filter(|entry| entry.grant.ended().is_none()).collect()
    }

    fn end(&self, entry: &Entry, why: GrantEnd) {
        if entry.grant.end(why) {
            self.is_untold.store(true, Ordering::Release);
        }
    }

    /// Ends everything that is over.
    fn look(&self, now: SystemTime) {
        for entry in self.live() {
            if let Some(expires) = entry.who.expires.filter(|expires| *expires <= now) {
                // What is over by itself is nothing else in the meantime.
                if expires + GRACE <= now {
                    self.end(&entry, GrantEnd::Expired);
                }
            } else if entry.who.session().is_some_and(|session| session.ended.is_cancelled()) {
                self.end(&entry, GrantEnd::Revoked);
            } else if let Some(left) = entry.who.expires.and_then(|expires| expires.duration_since(now).ok())
                && left <= EXPIRING
                && entry.grant.announce_end(u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
            {
                self.is_untold.store(true, Ordering::Release);
            }
        }
    }

    /// Ends whatever an API key opened.
    pub(super) fn end_key(&self, id: &str) {
        for entry in self.live().iter().filter(|entry| entry.api_key.as_deref() == Some(id)) {
            self.end(entry, GrantEnd::Revoked);
        }
    }

    /// Has everybody compared with their account again.
    pub(super) fn forget_accounts(&self) {
        self.accounts_seen.store(u64::MAX, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Inner {
    /// It was granted something else, or the nodes are in other environments: what it allows is changed, and its
    /// connections stay.
    fn change_rights(&self, entry: &Entry, granted: &Arc<Rights>) {
        let mut now = entry.now.lock().unwrap_or_else(PoisonError::into_inner);
        let Principal { name, strategy, is_external, scopes, .. } = now.clone();
        *now = Principal::new(name, strategy, is_external, Arc::clone(granted), scopes);
        let is_changed = entry.grant.change(self.allowance(&now));
        self.watches.is_untold.fetch_or(is_changed, Ordering::AcqRel);
    }

    /// What somebody may do while the nodes are where they are.
    fn allowance(&self, principal: &Principal) -> Allowance {
        let environments = Arc::clone(&self.environments.borrow());
        principal.rights.allowance(&environments)
    }

    /// Compares everybody who has connections with their account, one look-up for each account. Who cannot be looked up
    /// stays, and false tells so.
    pub(super) fn compare_accounts(&self) -> bool {
        let mut by_account: BTreeMap<String, Vec<Arc<Entry>>> = BTreeMap::new();
        for entry in self.watches.live() {
            by_account.entry(entry.who.principal.name.clone()).or_default().push(entry);
        }
        let mut all_known = true;
        for entries in by_account.values() {
            for entry in entries.iter().filter(|entry| entry.who.principal.is_external) {
                self.compare_external(entry);
            }
            let mut local = entries.iter().filter(|entry| !entry.who.principal.is_external).peekable();
            let Some(first) = local.peek() else { continue };
            match self.enabled_account(&first.who.principal.name) {
                Err(_) => all_known = false,
                Ok(Err(_)) => local.for_each(|entry| self.watches.end(entry, GrantEnd::Revoked)),
                Ok(Ok((_, granted))) => local.for_each(|entry| self.change_rights(entry, &granted)),
            }
        }
        all_known
    }

    /// Somebody known elsewhere: the strategy has to be there, and the operator's grant bounds the role that it gave.
    fn compare_external(&self, entry: &Entry) {
        let Principal { strategy, role, .. } = &entry.who.principal;
        match role.ok_or("no_role").and_then(|role| self.external_role(strategy, role)) {
            Err(_) => self.watches.end(entry, GrantEnd::Revoked),
            Ok(now) => self.change_rights(entry, &Rights::of(now)),
        }
    }

    /// Ends what is over, and waits until its connections are closed: no event that is published afterwards reaches them.
    pub(super) async fn close_ended(&self, now: SystemTime) {
        self.watches.look(now);
        self.tell().await;
    }

    async fn tell(&self) {
        let telling = async {
            let (done, applied) = oneshot::channel();
            // While the host ends nobody listens any more, and the connections are closed all the same.
            let Ok(place) = self.revoked.reserve().await else { return };
            self.watches.is_untold.store(false, Ordering::Release);
            place.send(done);
            let _ = applied.await;
        };
        if timeout(APPLIED_MAX, telling).await.is_err() {
            tracing::warn!("connections whose credential has ended were not all closed within {APPLIED_MAX:?}");
        }
    }

    /// One round of [`Auth::run_watch`]. `is_changed` says that strategies or what is granted to them are others.
    pub(super) async fn keep_watch(&self, is_changed: bool, now: SystemTime) {
        let changes = self.store.account_changes();
        if is_changed || self.watches.accounts_seen.load(Ordering::Acquire) != changes {
            // Remembered only once everybody was compared, so that a failing database is asked again.
            if self.compare_accounts() {
                self.watches.accounts_seen.store(changes, Ordering::Release);
            }
        }
        self.watches.look(now);
        if self.watches.is_untold.load(Ordering::Acquire) {
            self.tell().await;
        }
    }
}

impl Auth {
    /// Watches whoever opened a connection. What ends here (the session, the API key, the account) ends it within a second,
    /// and another role changes what it allows. What a strategy judged is judged again every 30 seconds, once for all connections of one credential.
    #[must_use]
    pub fn watch(&self, who: &Recognised, facts: &PeerFacts, began: SystemTime) -> Watch {
        let inner = self.inner();
        let (name, api_key) = named(who);
        let known = inner.watches.lock().get(&name).and_then(Weak::upgrade);
        if let Some(entry) = known.filter(|entry| entry.grant.ended().is_none()) {
            return Watch { grant: entry.grant.clone(), _entry: entry };
        }
        let grant = Grant::of(inner.allowance(&who.principal));
        let standing = Arc::new(Mutex::new(who.principal.clone()));
        let gone = offer_of(who).map(|offer| {
            let gone = CancellationToken::new();
            let (auth, now, facts, grant) = (self.clone(), Arc::clone(&standing), facts.clone(), grant.clone());
            let expires = who.expires;
            let task = Recheck { auth, now, offer, facts, is_ours: api_key.is_some(), expires, grant };
            let (stop, began) = (gone.clone(), (began, tokio::time::Instant::now()));
            self.tracker().spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = task.run(began) => {}
                }
            });
            gone.drop_guard()
        });
        let registry = Arc::clone(&inner.watches);
        let entry = Arc::new(Entry { registry, name, grant, who: who.clone(), now: standing, api_key, _gone: gone });
        inner.watches.lock().insert(name, Arc::downgrade(&entry));
        // Registered first, looked at once more then: whoever ends it in between is either told of here or finds it.
        inner.look_at(&entry, began);
        Watch { grant: entry.grant.clone(), _entry: entry }
    }

    /// Ends connections whose credential has ended, until `stop`: four looks a second at what is in memory, and one
    /// look-up for each account after an account has changed.
    pub async fn run_watch(&self, stop: CancellationToken) {
        let inner = self.inner();
        let (mut plugins, mut roles) = (inner.plugins.clone(), inner.roles_max.clone());
        let mut nodes = inner.environments.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let is_changed = plugins.has_changed().unwrap_or(false)
                || roles.has_changed().unwrap_or(false)
                || nodes.has_changed().unwrap_or(false);
            nodes.mark_unchanged();
            plugins.mark_unchanged();
            roles.mark_unchanged();
            inner.keep_watch(is_changed, SystemTime::now()).await;
        }
    }

    #[cfg(test)]
    pub(super) async fn look(&self, now: SystemTime) {
        self.inner().keep_watch(false, now).await;
    }
}

impl Inner {
    /// Ends one that came to its end while it was registered. Who cannot be looked up stays, and is looked up again.
    fn look_at(&self, entry: &Entry, now: SystemTime) {
        self.watches.look(now);
        let principal = &entry.who.principal;
        if !principal.is_external {
            match self.enabled_account(&principal.name) {
                Err(_) => self.watches.forget_accounts(),
                Ok(Err(_)) => self.watches.end(entry, GrantEnd::Revoked),
                Ok(Ok((_, granted))) => self.change_rights(entry, &granted),
            }
        }
        if let Some(id) = &entry.api_key
            && let Ok(key) = self.store.api_key(id)
            && key.is_none_or(|key| !key.is_good(now))
        {
            self.watches.end(entry, GrantEnd::Revoked);
        }
    }
}

/// What tells a credential from all others, and the id of the API key that it is.
fn named(who: &Recognised) -> ([u8; 32], Option<String>) {
    let (kind, api_key) = match &who.source {
        Source::Session(session) => (format!("session {:?}", session.session_id.0), None),
        Source::Credential(Credential::Bearer { token }) => {
            (format!("bearer {}", token.reveal()), keys::id_of(token.reveal()).map(str::to_owned))
        }
        Source::Credential(Credential::Headers { headers }) => (format!("headers {headers:?}"), None),
        Source::Credential(Credential::Password { username, .. }) => (format!("password {username}"), None),
    };
    // Whoever may something else by now is somebody else.
    (token::sha256(&format!("{kind}\n{:?}", who.principal)), api_key)
}

/// What to have judged again. A session needs no judge.
pub(super) fn offer_of(who: &Recognised) -> Option<Offer> {
    match &who.source {
        Source::Session(_) => None,
        Source::Credential(Credential::Bearer { token }) => {
            Some(Offer { bearer: Some(token.clone()), headers: Vec::new() })
        }
        Source::Credential(Credential::Headers { headers }) => Some(Offer { bearer: None, headers: headers.clone() }),
        // Nothing recognises a request by it; a connection without a way to judge it again does not begin.
        Source::Credential(Credential::Password { .. }) => Some(Offer { bearer: None, headers: Vec::new() }),
    }
}

struct Recheck {
    auth: Auth,
    now: Arc<Mutex<Principal>>,
    offer: Offer,
    facts: PeerFacts,
    /// It is an API key of this host: its end is told, and a judge that fails says nothing about it.
    is_ours: bool,
    expires: Option<SystemTime>,
    grant: Grant,
}

impl Recheck {
    async fn run(&self, began: (SystemTime, tokio::time::Instant)) {
        let mut unjudged = 0;
        let why = loop {
            tokio::time::sleep(RECHECK_INTERVAL).await;
            let now = began.0 + began.1.elapsed();
            match self.auth.recognise(self.offer.clone(), &self.facts, now).await {
                Ok(who) if self.is_still(&who.principal) => unjudged = 0,
                Ok(_) => break GrantEnd::Changed,
                // A database that fails says nothing about anybody.
                Err(AuthRefusal::Store(_)) => {}
                Err(refusal) if is_passing(&refusal) => {
                    unjudged += 1;
                    if !self.is_ours && unjudged >= UNJUDGED_MAX {
                        break GrantEnd::Revoked;
                    }
                }
                // Its time is over: it ends with that, when the grace is over too.
                Err(_) if self.expires.is_some_and(|expires| expires <= now) => {}
                Err(_) => break GrantEnd::Revoked,
            }
        };
        if self.grant.end(why) {
            self.auth.inner().watches.is_untold.store(true, Ordering::Release);
        }
    }
}

impl Recheck {
    /// Whether it is who it was. What they may do by now is theirs.
    fn is_still(&self, who: &Principal) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if (&now.name, &now.strategy, now.is_external) != (&who.name, &who.strategy, who.is_external) {
            return false;
        }
        if *now != *who {
            now.clone_from(who);
            if self.grant.change(self.auth.inner().allowance(who)) {
                self.auth.inner().watches.is_untold.store(true, Ordering::Release);
            }
        }
        true
    }
}

/// Whether a refusal says nothing about the credential itself.
const fn is_passing(refusal: &AuthRefusal) -> bool {
    match refusal {
        AuthRefusal::Busy { .. }
        | AuthRefusal::TooManyAttempts { .. }
        | AuthRefusal::Plugin { .. }
        | AuthRefusal::Store(_)
        | AuthRefusal::Internal { .. } => true,
        AuthRefusal::Required
        | AuthRefusal::Failed
        | AuthRefusal::Forbidden { .. }
        | AuthRefusal::SetupDone
        | AuthRefusal::Account(_)
        | AuthRefusal::NoSuchLogin { .. }
        | AuthRefusal::NoExternalUrl
        | AuthRefusal::FlowsFull { .. }
        | AuthRefusal::FlowLost
        | AuthRefusal::TooManyTickets { .. }
        | AuthRefusal::NoSession
        | AuthRefusal::NoAccount
        | AuthRefusal::KeyWish(_)
        | AuthRefusal::Limited
        | AuthRefusal::Exceeds { .. }
        | AuthRefusal::NoSuchSession
        | AuthRefusal::BuiltIn { .. }
        | AuthRefusal::NoSuchKey { .. } => false,
    }
}
