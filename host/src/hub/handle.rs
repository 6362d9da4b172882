use crate::hub::acks::Acks;
use crate::hub::figures::Counters;
use crate::hub::filter::Filter;
use crate::hub::heritage::{self, Heritage, Inherited, Unfit};
use crate::hub::inbox::{Arrival, Inbox, Join, Link};
use crate::hub::log::{Bounds, Log};
use crate::hub::logs::{LogLane, LogLimits, LogPublication};
use crate::hub::shard::{self, Wire};
use crate::hub::snapshot::{Extent, Kept, Snapshot};
use crate::hub::{Access, Close, HubFigures, Publication};
use crate::model::Grant;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

/// How much the hub may hold and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubLimits {
    /// Clients at once. Beyond it [`Hub::reserve`] says no.
    pub clients_max: usize,
    /// Events that the ring holds.
    pub events_max: usize,
    /// Bytes that the ring holds.
    pub bytes_max: usize,
    /// How long the ring holds an event.
    pub age_max: Duration,
    /// Removals that are remembered longer than the ring holds their events. Who missed one that is not is given all.
    pub removals_max: usize,
    /// Topics of which nothing is left, besides as many as there are of the others. Beyond it they are forgotten, and count
    /// their events anew if they come back.
    pub topics_spare: usize,
    /// The lane of logs.
    pub logs: LogLimits,
    /// Bytes of snapshots that are being sent. Beyond it a client that needs one is told to come back.
    pub snapshot_bytes_max: usize,
    /// A client that reads and is further behind than this starts over.
    pub lag_max: Duration,
    /// A client that takes no byte for so long is too slow.
    pub progress_max: Duration,
    /// A client that does not take one frame as a whole within it is too slow.
    pub frame_max: Duration,
    /// A client that has to start over more often than this within `resync_window` is put out.
    pub resyncs_max: usize,
    /// See `resyncs_max`.
    pub resync_window: Duration,
    /// After so long without a frame a client is given a bookmark.
    pub bookmark_after: Duration,
    /// How often a client is pinged.
    pub ping_interval: Duration,
    /// What a client has for its farewell: our close frame, its answer, the end of the stream.
    pub farewell: Duration,
    /// At most so long the closes of a shutdown are spread.
    pub drain_max: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            events_max: 65_536,
            bytes_max: 64 * 1024 * 1024,
            age_max: Duration::from_mins(15),
            removals_max: 16_384,
            topics_spare: 4_096,
            logs: LogLimits::default(),
            snapshot_bytes_max: 128 * 1024 * 1024,
            lag_max: Duration::from_secs(30),
            progress_max: Duration::from_secs(10),
            frame_max: Duration::from_secs(30),
            resyncs_max: 3,
            resync_window: Duration::from_mins(5),
            bookmark_after: Duration::from_secs(25),
            ping_interval: Duration::from_secs(25),
            farewell: Duration::from_secs(1),
            drain_max: Duration::from_secs(5),
        }
    }
}

/// The shared log and the shards that serve it. Cheap to clone; all clones are one hub.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: HubLimits,
    clients_max: AtomicUsize,
    drain_max: Mutex<Duration>,
    pub(super) epoch: String,
    pub(super) counters: Counters,
    pub(super) head: watch::Sender<u64>,
    pub(super) acks: Acks,
    pub(super) logs: Arc<LogLane>,
    log: RwLock<Log>,
    kept: Mutex<Kept>,
    snapshot_bytes: Arc<AtomicUsize>,
    shards: RwLock<Vec<Arc<Inbox>>>,
    next_shard: AtomicUsize,
}

impl Hub {
    /// An empty log with an epoch of its own.
    #[must_use]
    pub fn new(limits: HubLimits) -> Self {
        // The standard library seeds this from the system: unlike any earlier log's, which is all an epoch has to be.
        let epoch = format!("{:016x}", RandomState::new().hash_one(0_u8));
        let log = Log::new(bounds(&limits));
        Self::with(limits, log, epoch)
    }

    /// Goes on with the log that an earlier hub left as `bytes`, under the same epoch, as if there had been no end in
    /// between. What it gives besides is the state as it was then: the caller has to find out what of it is still so, and to
    /// publish what is not.
    ///
    /// The same bytes must never be taken twice: two hubs with one epoch would give the same offsets to different events.
    ///
    /// # Errors
    /// [`Unfit`]; a hub of its own epoch has to be made then.
    pub fn inherit(
        limits: HubLimits,
        bytes: &[u8],
        stamp: &str,
        wall: SystemTime,
    ) -> Result<(Self, Vec<Inherited>), Unfit> {
        let mut log = Log::new(bounds(&limits));
        let Heritage { epoch, lines, log_offset } = heritage::decode(&mut log, bytes, stamp, Instant::now(), wall)?;
        let items = log.state.iter().map(|(key, item)| Inherited {
            key: key.to_string(),
            topic: item.topic.to_string(),
            item: item.json.to_string(),
        });
        let items = items.collect();
        let hub = Self::with(limits, log, epoch);
        hub.0.logs.go_on_from(log_offset, lines);
        Ok((hub, items))
    }

    /// What a later hub needs to go on, for [`Hub::inherit`] with the same `stamp`. Nothing may be published, and nobody
    /// served, after this.
    #[must_use]
    pub fn leave(&self, stamp: &str, wall: SystemTime) -> Vec<u8> {
        let logs = self.0.logs.figures();
        let heritage = Heritage { epoch: self.0.epoch.clone(), lines: logs.lines, log_offset: logs.offset };
        heritage::encode(&self.0.log(), &heritage, stamp, Instant::now(), wall)
    }

    fn with(limits: HubLimits, log: Log, epoch: String) -> Self {
        let head = log.head();
        Self(Arc::new(Shared {
            log: RwLock::new(log),
            logs: Arc::new(LogLane::new(limits.logs.clone())),
            clients_max: AtomicUsize::new(limits.clients_max),
            drain_max: Mutex::new(limits.drain_max),
            limits,
            epoch,
            counters: Counters::default(),
            head: watch::Sender::new(head),
            acks: Acks::default(),
            kept: Mutex::default(),
            snapshot_bytes: Arc::default(),
            shards: RwLock::default(),
            next_shard: AtomicUsize::new(0),
        }))
    }

    /// One more shard: the task that serves its share of the clients until `stop` is cancelled, and ends once each of them
    /// was told. Clients are given to it from now on, so it has to be run.
    pub fn shard(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        shard::run(self.0.clone(), self.0.add_shard(), stop)
    }

    /// Appends an event, changes the state with it, and wakes the shards. Gives the event's offset.
    ///
    /// Never waits for a client. Called by one task, since the order of the calls is the order of the feed.
    pub fn publish(&self, publication: Publication) -> u64 {
        let now = Instant::now();
        let offset = self.0.log.write().unwrap_or_else(PoisonError::into_inner).append(publication, now);
        self.0.head.send_replace(offset);
        offset
    }

    /// Appends an event that is a frame already, and changes no state.
    #[cfg(test)]
    pub(crate) fn publish_frame(&self, topic: &str, frame: bytes::Bytes) {
        let offset =
            self.0.log.write().unwrap_or_else(PoisonError::into_inner).append_frame(topic, frame, Instant::now());
        self.0.head.send_replace(offset);
    }

    /// Appends lines to a log. They reach those who follow it, who are told if they are taken past some. Gives their place
    /// among the lines of all logs.
    ///
    /// Never waits for a client.
    pub fn publish_log(&self, publication: LogPublication) -> u64 {
        self.0.logs.publish(publication, Instant::now())
    }

    /// The logs that at least one client follows now, by their topics.
    #[must_use]
    pub fn log_demand(&self) -> watch::Receiver<Arc<BTreeSet<Arc<str>>>> {
        self.0.logs.demand()
    }

    /// Tells the shards that grants have ended or changed, at this place among the events: no event behind it reaches a
    /// connection that may no longer have it. `done` is told once every shard has closed or changed those connections.
    pub fn revoke(&self, done: oneshot::Sender<()>) {
        let number = self.0.log.write().unwrap_or_else(PoisonError::into_inner).control();
        if let Some(done) = self.0.acks.wait_for(number, done, Instant::now()) {
            let _ = done.send(());
        }
        // The number is not the head's, but who waits for the head looks at both.
        self.0.head.send_modify(|_| {});
    }

    /// Takes a place for a client before its connection is upgraded. `None` when the hub is full.
    #[must_use]
    pub fn reserve(&self) -> Option<Slot> {
        let clients_max = self.0.clients_max.load(Relaxed);
        let more = |clients: usize| (clients < clients_max).then(|| clients + 1);
        self.0.counters.clients.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Slot { shared: self.0.clone() })
    }

    /// From now on so many clients get a place, and closing all of them takes so long at most. Nobody who has a place
    /// loses it.
    pub fn set(&self, clients_max: usize, drain_max: Duration) {
        self.0.clients_max.store(clients_max, Relaxed);
        *self.0.drain_max.lock().unwrap_or_else(PoisonError::into_inner) = drain_max;
    }

    /// Which log this is.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// What was done and what is held, for metrics.
    #[must_use]
    pub fn figures(&self) -> HubFigures {
        let now = Instant::now();
        let (shards, lag_max) = {
            let shards = self.0.shards.read().unwrap_or_else(PoisonError::into_inner);
            (shards.len(), shards.iter().map(|shard| shard.lag_ms.load(Relaxed)).max().unwrap_or(0))
        };
        let logs = self.0.logs.figures();
        let log = self.0.log();
        let counters = &self.0.counters;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        HubFigures {
            clients: counters.clients.load(Relaxed),
            events: log.head(),
            ring_events: log.ring_events(),
            ring_bytes: log.ring_bytes(),
            ring_age: log.oldest_at().map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            shards,
            blocked: counters.blocked.load(Relaxed),
            lag_max: Duration::from_millis(lag_max),
            bytes: get(&counters.bytes),
            writes: get(&counters.writes),
            skipped: get(&counters.skipped),
            revokes: get(&counters.revokes),
            revoke_time: Duration::from_micros(get(&counters.revoke_us)),
            revoke_max: Duration::from_micros(get(&counters.revoke_us_max)),
            state_items: log.state_items(),
            snapshot_bytes: self.0.snapshot_bytes.load(Relaxed),
            deliveries: get(&counters.deliveries),
            refreshes: get(&counters.refreshes),
            regrants: get(&counters.regrants),
            snapshots: get(&counters.snapshots),
            resyncs: get(&counters.resyncs),
            resumed: get(&counters.resumed),
            resume_other_epoch: get(&counters.resume_other_epoch),
            resume_other_view: get(&counters.resume_other_view),
            resume_changes: get(&counters.resume_changes),
            resume_too_old: get(&counters.resume_too_old),
            resume_ahead: get(&counters.resume_ahead),
            log_events: logs.offset,
            log_lines: logs.lines,
            log_lines_skipped: get(&counters.log_lines_skipped),
            log_ring_events: logs.events,
            log_ring_bytes: logs.bytes,
            log_ring_age: logs.oldest_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            logs_followed: logs.followed,
            passes: counters.passes.read(),
            sequencer_lag: counters.sequencer_lag.read(),
            client_lag: counters.client_lag.read(),
            snapshot_times: counters.snapshot_times.read(),
            disconnects: counters.disconnects(),
        }
    }
}

impl Shared {
    /// How long closing all clients of a shutdown may take.
    pub(super) fn drain_max(&self) -> Duration {
        *self.drain_max.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state now, and thereby a place in the log: what follows its offset is not in it, all else is.
    /// `None` when too many snapshots are being sent already.
    pub(super) fn snapshot(&self, filter: &mut Filter) -> Option<Arc<Snapshot>> {
        let (offset, items) = {
            let log = self.log();
            let offset = log.head();
            if let Some(kept) = self.kept().find(filter.key(), offset) {
                return Some(kept);
            }
            (offset, log.items(filter))
        };
        let snapshot = self.encode(Extent::Whole, offset, &items)?;
        self.kept().keep(filter.key().clone(), snapshot.clone());
        Some(snapshot)
    }

    /// What leads from the state at `cursor` to the one now: what changed, if that is known, and all of it otherwise. `None`
    /// when too many snapshots are being sent already. `saw` says which topics the client has seen until now.
    pub(super) fn changes(
        &self,
        cursor: u64,
        filter: &mut Filter,
        saw: impl Fn(&str) -> bool,
    ) -> Option<Arc<Snapshot>> {
        let changes = {
            let log = self.log();
            log.changes(cursor, filter, saw).map(|items| (log.head(), items))
        };
        match changes {
            Some((offset, items)) => self.encode(Extent::Changes, offset, &items),
            None => self.snapshot(filter),
        }
    }

    fn encode(&self, extent: Extent, offset: u64, items: &[Utf8Bytes]) -> Option<Arc<Snapshot>> {
        if self.snapshot_bytes.load(Relaxed) > self.limits.snapshot_bytes_max {
            self.kept().clear();
            if self.snapshot_bytes.load(Relaxed) > self.limits.snapshot_bytes_max {
                return None;
            }
        }
        self.counters.snapshots.fetch_add(1, Relaxed);
        let began = Instant::now();
        let snapshot = Snapshot::encode(extent, offset, items, self.snapshot_bytes.clone());
        self.counters.snapshot_times.note(began.elapsed());
        Some(Arc::new(snapshot))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_shard(&self) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::new(self.acks.enter()));
        self.shards.write().unwrap_or_else(PoisonError::into_inner).push(inbox.clone());
        inbox
    }

    /// The inboxes of the shards that serve, in turn.
    fn shard(&self) -> Option<Arc<Inbox>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.next_shard.fetch_add(1, Relaxed).checked_rem(shards.len())?;
        shards.iter().cycle().skip(first).take(shards.len()).find(|shard| !shard.is_closed()).cloned()
    }
}

fn bounds(limits: &HubLimits) -> Bounds {
    let HubLimits { events_max, bytes_max, age_max, removals_max, topics_spare, .. } = *limits;
    Bounds { events_max: events_max.max(1), bytes_max, age_max, removals_max, topics_spare }
}

/// What a client's bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Text frames of a WebSocket.
    WebSocket,
    /// Server-sent events.
    EventStream,
}

/// A client's place. Given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    pub(super) shared: Arc<Shared>,
}

impl Slot {
    /// Hands a connection to a shard, which does all the writing from now on. The client is given nothing before it has
    /// said what it asks for. `None` when no shard serves any more. The receiver is told nothing; it ends when the shard
    /// has let the connection go.
    #[must_use]
    pub fn join(
        self,
        wire: Box<dyn Wire>,
        framing: Framing,
        grant: Grant,
        access: Access,
    ) -> Option<(Link, oneshot::Receiver<()>)> {
        let inbox = self.shared.shard()?;
        let (open, closed) = oneshot::channel();
        let join = Join { slot: self, framing, grant, access, pending: Arc::default() };
        Some((Link::new(inbox, Arrival { join, wire, open })?, closed))
    }

    /// Counts a connection that ended before it was one.
    pub fn left(self) {
        self.shared.counters.note_close(Close::Left);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.counters.clients.fetch_sub(1, Relaxed);
    }
}
