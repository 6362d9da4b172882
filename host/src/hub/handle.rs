use crate::hub::figures::Counters;
use crate::hub::filter::Filter;
use crate::hub::log::Log;
use crate::hub::snapshot::{Kept, Snapshot};
use crate::hub::{Close, HubFigures, Patterns, Position, Publication, Subscription};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How much the hub may hold and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubLimits {
    /// Clients at once. Beyond it [`Hub::reserve`] says no.
    pub clients_max: usize,
    /// Events that the ring holds.
    pub events_max: usize,
    /// Bytes that the ring holds.
    pub bytes_max: usize,
    /// Bytes of snapshots that are being sent. Beyond it a client that needs one is told to come back.
    pub snapshot_bytes_max: usize,
    /// A client that has to start over more often than this within `resync_window` is too slow.
    pub resyncs_max: usize,
    /// See `resyncs_max`.
    pub resync_window: Duration,
    /// After so long without a frame a client is given a bookmark.
    pub bookmark_after: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            events_max: 65_536,
            bytes_max: 64 * 1024 * 1024,
            snapshot_bytes_max: 128 * 1024 * 1024,
            resyncs_max: 3,
            resync_window: Duration::from_mins(5),
            bookmark_after: Duration::from_secs(25),
        }
    }
}

/// The shared log. Cheap to clone; all clones are one hub.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: HubLimits,
    pub(super) epoch: String,
    pub(super) counters: Counters,
    pub(super) head: watch::Sender<u64>,
    log: RwLock<Log>,
    kept: Mutex<Kept>,
    snapshot_bytes: Arc<AtomicUsize>,
}

impl Hub {
    /// An empty log with an epoch of its own.
    #[must_use]
    pub fn new(limits: HubLimits) -> Self {
        // The standard library seeds this from the system: unlike any earlier log's, which is all an epoch has to be.
        let epoch = format!("{:016x}", RandomState::new().hash_one(0_u8));
        Self(Arc::new(Shared {
            log: RwLock::new(Log::new(limits.events_max, limits.bytes_max)),
            limits,
            epoch,
            counters: Counters::default(),
            head: watch::Sender::new(0),
            kept: Mutex::default(),
            snapshot_bytes: Arc::default(),
        }))
    }

    /// Appends an event, changes the state with it, and wakes those who wait. Gives the event's offset.
    ///
    /// Never waits for a client. Called by one task, since the order of the calls is the order of the feed.
    pub fn publish(&self, publication: Publication) -> u64 {
        let offset = self.0.log.write().unwrap_or_else(PoisonError::into_inner).append(publication);
        self.0.head.send_replace(offset);
        offset
    }

    /// Takes a place for a client before its connection is upgraded. `None` when the hub is full.
    #[must_use]
    pub fn reserve(&self) -> Option<Slot> {
        let clients_max = self.0.limits.clients_max;
        let more = |clients: usize| (clients < clients_max).then(|| clients + 1);
        self.0.counters.clients.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Slot { shared: self.0.clone() })
    }

    /// Which log this is.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// Counts the end of a connection.
    pub fn note_close(&self, close: Close) {
        self.0.counters.note_close(close);
    }

    /// What was done and what is held, for metrics.
    #[must_use]
    pub fn figures(&self) -> HubFigures {
        let log = self.0.log();
        let counters = &self.0.counters;
        HubFigures {
            clients: counters.clients.load(Relaxed),
            events: log.head(),
            ring_events: log.ring_events(),
            ring_bytes: log.ring_bytes(),
            state_items: log.state_items(),
            snapshot_bytes: self.0.snapshot_bytes.load(Relaxed),
            deliveries: counters.deliveries.load(Relaxed),
            snapshots: counters.snapshots.load(Relaxed),
            resyncs: counters.resyncs.load(Relaxed),
            resumed: counters.resumed.load(Relaxed),
            resume_other_epoch: counters.resume_other_epoch.load(Relaxed),
            resume_too_old: counters.resume_too_old.load(Relaxed),
            resume_ahead: counters.resume_ahead.load(Relaxed),
            disconnects: counters.disconnects(),
        }
    }
}

impl Shared {
    pub(super) fn log(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state now, and thereby a place in the log: what follows its offset is not in it, all else is.
    /// `None` when too many snapshots are being sent already.
    pub(super) fn snapshot(&self, filter: &mut Filter) -> Option<Arc<Snapshot>> {
        let (offset, items) = {
            let log = self.log();
            let offset = log.head();
            if let Some(kept) = self.kept().find(filter.patterns(), offset) {
                return Some(kept);
            }
            (offset, log.items(filter))
        };
        if self.snapshot_bytes.load(Relaxed) > self.limits.snapshot_bytes_max {
            self.kept().clear();
            if self.snapshot_bytes.load(Relaxed) > self.limits.snapshot_bytes_max {
                return None;
            }
        }
        self.counters.snapshots.fetch_add(1, Relaxed);
        let snapshot = Arc::new(Snapshot::encode(offset, &items, self.snapshot_bytes.clone()));
        self.kept().keep(filter.patterns().clone(), snapshot.clone());
        Some(snapshot)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place. Given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    pub(super) shared: Arc<Shared>,
}

impl Slot {
    /// Begins to read: with what followed `since` if the ring still has all of it, with a snapshot otherwise.
    #[must_use]
    pub fn subscribe(self, patterns: Patterns, since: Option<&Position>) -> Subscription {
        Subscription::begin(self, patterns, since)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.counters.clients.fetch_sub(1, Relaxed);
    }
}
