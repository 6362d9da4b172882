use crate::auth::{AuthRefusal, token};
use crate::config::ServerConfig;
use crate::model::{Principal, Rights, Role, Secret};
use crate::store::{AuditRecord, Session, SessionId, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sessions that are kept in memory. When full, those go first that nobody holds and that were used longest ago; they
/// are read from the store again when they come back.
const CACHED_MAX: usize = 16_384;

/// How often the last use of a session is written down, at most.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// A session that was found good just now.
///
/// Whoever keeps it, such as an open feed, keeps the session in use: it does not end for idleness meanwhile.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Who it is, with the rights that the account has now.
    pub principal: Principal,
    /// Which session, for logs and the audit; no token can be made from it.
    pub session_id: SessionId,
    /// When it ends in any case.
    pub expires: SystemTime,
    /// Cancelled when the session ends: logout, expiry, or the end of its account.
    pub ended: CancellationToken,
    /// Counts who keeps it.
    _hold: Arc<()>,
}

/// Somebody whom a session may be begun for.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) principal: Principal,
    /// What was granted, whatever the credential is limited to.
    pub(super) granted: Arc<Rights>,
    /// The epoch of the account.
    pub(super) epoch: u64,
}

/// Sessions: a bounded memory in front of the store.
#[derive(Debug)]
pub(super) struct Sessions {
    store: Store,
    server: watch::Receiver<Arc<ServerConfig>>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    entries: HashMap<SessionId, Entry>,
    /// The latest moment seen. A clock that is set back does not bring an ended session back to life.
    latest: SystemTime,
}

#[derive(Debug, Clone)]
struct Entry {
    session: Session,
    /// When its last use was written down.
    touched: SystemTime,
    /// Cancelled in an entry means: ended here, whatever a slow reader has just read from the store.
    ended: CancellationToken,
    hold: Arc<()>,
}

impl Entry {
    fn new(session: Session) -> Self {
        Self { touched: session.last_used, session, ended: CancellationToken::new(), hold: Arc::default() }
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.hold) > 1
    }
}

/// A session whose account has not been looked up yet.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: SessionId,
    pub(super) account: String,
    pub(super) strategy: String,
    /// The role that somebody known elsewhere was given at login.
    pub(super) external: Option<Role>,
    /// The epoch of its account when it began.
    pub(super) epoch: u64,
    scopes: Vec<String>,
    expires: SystemTime,
    ended: CancellationToken,
    hold: Arc<()>,
}

impl Found {
    pub(super) fn into_info(self, granted: Arc<Rights>) -> SessionInfo {
        let Self { id, account, strategy, external, epoch: _, scopes, expires, ended, hold } = self;
        let principal = Principal::new(account, strategy, external.is_some(), granted, scopes);
        SessionInfo { principal, session_id: id, expires, ended, _hold: hold }
    }
}

impl Sessions {
    /// How long sessions last is as `server` says at each moment: unused ones at once, in any case for those that begin.
    pub(super) fn new(store: Store, server: watch::Receiver<Arc<ServerConfig>>) -> Self {
        let cache = Cache { entries: HashMap::new(), latest: SystemTime::UNIX_EPOCH };
        Self { store, server, cache: Mutex::new(cache) }
    }

    /// Begins a session for a principal and appends `audit` in the same transaction. It ends at `expires` at the latest.
    /// The token is shown this once.
    pub(super) async fn begin(
        &self,
        standing: Standing,
        expires: Option<SystemTime>,
        audit: AuditRecord,
        now: SystemTime,
    ) -> Result<(Secret, SessionInfo), AuthRefusal> {
        let Standing { principal, granted, epoch } = standing;
        let token = token::new()?;
        let id = token::digest(token.reveal()).map(SessionId);
        let id = id.ok_or(AuthRefusal::Internal { what: "making a token" })?;
        let now = self.lock().advance(now);
        let latest = now + self.server.borrow().session_timeout;
        let session = Session {
            account: principal.name.clone(),
            strategy: principal.strategy,
            external: principal.role.filter(|_| principal.is_external),
            epoch,
            scopes: principal.scopes,
            created: now,
            last_used: now,
            expires: expires.map_or(latest, |expires| expires.min(latest)),
        };
        self.store.put_session(id, session.clone(), audit).await?;
        let found =
            self.lock().admit(id, Entry::new(session), now, self.idle_timeout()).ok_or(AuthRefusal::Required)?;
        Ok((token, found.into_info(granted)))
    }

    /// A session, if it is not over. Reads the store only for one that is not in memory.
    pub(super) fn find(&self, id: SessionId, now: SystemTime) -> Result<Option<Found>, StoreError> {
        let cached = {
            let mut cache = self.lock();
            let now = cache.advance(now);
            cache.entries.get(&id).cloned().map(|entry| cache.admit(id, entry, now, self.idle_timeout()))
        };
        let found = match cached {
            Some(found) => found,
            None => match self.store.session(id)? {
                Some(session) => {
                    let mut cache = self.lock();
                    let now = cache.advance(now);
                    cache.admit(id, Entry::new(session), now, self.idle_timeout())
                }
                None => None,
            },
        };
        if found.is_some() {
            self.touch_if_due(id);
        }
        Ok(found)
    }

    /// Ends one session for good and appends `audit` in the same transaction. False if it had ended before.
    ///
    /// The store comes first: if it fails, the session goes on and ending it can be tried again.
    pub(super) async fn end(&self, id: SessionId, audit: AuditRecord) -> Result<bool, StoreError> {
        let was_there = self.store.delete_session(id, audit).await?;
        self.end_here(id);
        Ok(was_there)
    }

    /// Ends a session in this process at once; the store is the caller's to tell.
    pub(super) fn end_here(&self, id: SessionId) {
        let mut cache = self.lock();
        let latest = cache.latest;
        // Also where it is not in memory: a reader may be about to bring it.
        let entry = cache.entries.entry(id).or_insert_with(|| {
            let (account, strategy, scopes) = (String::new(), String::new(), Vec::new());
            let (created, last_used, expires) = (latest, latest, latest);
            Entry::new(Session { account, strategy, external: None, epoch: 0, scopes, created, last_used, expires })
        });
        entry.session.last_used = latest;
        entry.ended.cancel();
    }

    /// Ends all sessions of somebody in this process at once, but one, which is of this epoch from now on. The store has
    /// ended them already.
    pub(super) fn end_all_here(&self, account: &str, keep: Option<(SessionId, u64)>) {
        let mut cache = self.lock();
        let latest = cache.latest;
        for (id, entry) in cache.entries.iter_mut().filter(|(_, entry)| entry.session.account == account) {
            match keep.filter(|(kept, _)| kept == id) {
                Some((_, epoch)) => entry.session.epoch = epoch,
                None => {
                    entry.session.last_used = latest;
                    entry.ended.cancel();
                }
            }
        }
    }

    /// Ends what is over, notes the use of what is held, and clears the store of ended sessions.
    pub(super) async fn sweep(&self, now: SystemTime) -> Result<u64, StoreError> {
        let due: Vec<_> = {
            let mut cache = self.lock();
            let now = cache.advance(now);
            for entry in cache.entries.values_mut() {
                if entry.is_held() && !entry.ended.is_cancelled() {
                    entry.session.last_used = now;
                }
                if entry.session.is_over(now, self.idle_timeout()) {
                    entry.ended.cancel();
                }
            }
            // An entry that ended stays for one interval, for the slow reader's sake.
            let interval = self.touch_interval();
            cache.entries.retain(|_, entry| {
                let age = now.duration_since(entry.session.last_used).unwrap_or_default();
                !entry.ended.is_cancelled() || entry.is_held() || age < interval
            });
            cache.entries.keys().copied().collect()
        };
        let all_noted = due.into_iter().all(|id| self.touch_if_due(id));
        if !all_noted {
            // The store does not know of every use yet, and would clear away too much.
            return Ok(0);
        }
        let now = self.lock().advance(now);
        self.store.purge_sessions(now, self.idle_timeout() + self.touch_interval()).await
    }

    /// Has the last use written down if that was long enough ago. False if the store had no room for it.
    fn touch_if_due(&self, id: SessionId) -> bool {
        let used = {
            let cache = self.lock();
            let Some(entry) = cache.entries.get(&id).filter(|entry| !entry.ended.is_cancelled()) else { return true };
            let since = entry.session.last_used.duration_since(entry.touched).unwrap_or_default();
            if since < self.touch_interval() {
                return true;
            }
            entry.session.last_used
        };
        let is_noted = self.store.touch_session(id, used).is_ok();
        if is_noted && let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.touched = entry.touched.max(used);
        }
        is_noted
    }

    fn idle_timeout(&self) -> Duration {
        self.server.borrow().session_idle_timeout
    }

    fn touch_interval(&self) -> Duration {
        TOUCH_INTERVAL.min(self.idle_timeout() / 10)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn advance(&mut self, now: SystemTime) -> SystemTime {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Uses a session, which was in memory or has just been read. What is in memory by now wins.
    fn admit(&mut self, id: SessionId, read: Entry, now: SystemTime, idle_timeout: Duration) -> Option<Found> {
        if !self.entries.contains_key(&id) {
            self.make_room();
        }
        let entry = self.entries.entry(id).or_insert(read);
        if entry.session.is_over(now, idle_timeout) {
            entry.ended.cancel();
        }
        if entry.ended.is_cancelled() {
            return None;
        }
        entry.session.last_used = entry.session.last_used.max(now);
        Some(Found {
            id,
            account: entry.session.account.clone(),
            strategy: entry.session.strategy.clone(),
            external: entry.session.external,
            epoch: entry.session.epoch,
            scopes: entry.session.scopes.clone(),
            expires: entry.session.expires,
            ended: entry.ended.clone(),
            hold: Arc::clone(&entry.hold),
        })
    }

    fn make_room(&mut self) {
        if self.entries.len() < CACHED_MAX {
            return;
        }
        let mut free: Vec<_> =
            self.entries.iter().filter(|(_, e)| !e.is_held()).map(|(id, e)| (e.session.last_used, *id)).collect();
        free.sort_unstable();
        for (_, id) in free.into_iter().take(CACHED_MAX / 4) {
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
    }

    fn session(last_used: u64) -> Session {
        Session {
            account: "ann".into(),
            strategy: "s".into(),
            external: None,
            epoch: 0,
            scopes: vec![],
            created: at(0),
            last_used: at(last_used),
            expires: at(1_000_000),
        }
    }

    fn id(n: usize) -> SessionId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        SessionId(bytes)
    }

    const IDLE: Duration = Duration::from_secs(600_000);

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_held() {
        let mut cache = Cache { entries: HashMap::new(), latest: at(0) };
        let held = cache.admit(id(0), Entry::new(session(0)), at(0), IDLE).unwrap();
        for n in 1..=CACHED_MAX + 10 {
            cache.admit(id(n), Entry::new(session(0)), at(n as u64), IDLE).unwrap();
            assert!(cache.entries.len() <= CACHED_MAX);
        }
        assert!(cache.entries.contains_key(&held.id), "the oldest of all, but a feed hangs on it");
        assert!(!cache.entries.contains_key(&id(1)));
        assert!(cache.entries.contains_key(&id(CACHED_MAX)), "the newest stay");
    }

    #[test]
    fn a_slow_reader_does_not_bring_an_ended_session_back() {
        let mut cache = Cache { entries: HashMap::new(), latest: at(0) };
        let read_before_the_end = Entry::new(session(0));
        let ended = Entry::new(session(0));
        ended.ended.cancel();
        cache.entries.insert(id(1), ended);
        assert!(cache.admit(id(1), read_before_the_end, at(1), IDLE).is_none());
    }
}
