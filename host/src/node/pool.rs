use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Command, CommandReport, Event, LogChannel, LogNews, LogRange, LogSlice, LogTopic, NodeId, NodeState, NodeStatus,
    ProcessId,
};
use crate::node::error::NodeError;
use crate::node::follow::{Follower, Rope};
use crate::node::keeper::{CHANGES_MAX, Keeper, PoolChange, Reconfigure};
use crate::node::owner::Request;
use crate::node::patience::Patience;
use crate::plugin::PluginSet;
use crate::resilience::Jitter;
use crate::task::{TaskGroup, TaskKind};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Hint streams open at once. The other nodes are polled.
const HINT_STREAMS_MAX: usize = 1_024;
/// Streams open at once that tell of followed logs. The other logs are read at intervals.
const FOLLOW_STREAMS_MAX: usize = 1_024;
/// One in so many calls of adapters is kept for reading hints, so that neither waits for the other.
const HINT_READS_SHARE: usize = 8;

/// The nodes of a pool, replaced whole.
pub(super) type Nodes = ArcSwap<BTreeMap<NodeId, NodeHandle>>;

/// All supervised nodes. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    nodes: Arc<Nodes>,
    changes: mpsc::Sender<Reconfigure>,
    metrics: Arc<PoolMetrics>,
    calls: Arc<Semaphore>,
    calls_max: usize,
}

/// What a pool is made of.
pub struct PoolParts {
    /// The first nodes.
    pub nodes: Vec<NodeConfig>,
    /// `[pool]`
    pub config: PoolConfig,
    /// Calls of adapters under way over all owners, an eighth of them for reading hints. One that does not get its turn
    /// in time counts as nothing. Nodes that did not answer last time share half of the places.
    pub calls_max: usize,
    /// The adapters that serve now.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// Where owners tell of changes. While it is full they wait.
    pub events: mpsc::Sender<Event>,
    /// What spreads retries and trials in time, so that nodes that went together do not come back together. The same
    /// seed spreads them in the same way.
    pub seed: u64,
    /// Ends every owner: the call under way is cut, and none begins after.
    pub stop: CancellationToken,
}

/// What every owner shares.
pub(super) struct PoolContext {
    pub(super) config: PoolConfig,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) events: mpsc::Sender<Event>,
    /// Places of calls under way.
    pub(super) calls: Arc<Semaphore>,
    /// How many of those are for nodes that are not known to answer.
    pub(super) suspects: Arc<Semaphore>,
    /// Places of adapters that read hints, which is done without the node.
    pub(super) hint_reads: Arc<Semaphore>,
    /// Places of open hint streams.
    pub(super) hint_streams: Arc<Semaphore>,
    /// Places of open streams of followed logs.
    pub(super) follow_streams: Arc<Semaphore>,
    pub(super) metrics: Arc<PoolMetrics>,
    pub(super) stop: CancellationToken,
    seed: u64,
    revisions: AtomicU64,
}

impl PoolContext {
    /// A row of random numbers of that node's own.
    pub(super) fn jitter(&self, node: &NodeId) -> Jitter {
        let mut hasher = DefaultHasher::new();
        node.as_str().hash(&mut hasher);
        Jitter::new(self.seed ^ hasher.finish())
    }

    /// The next revision of any node's status. One row of numbers for the whole pool: a name that comes back never
    /// shows one that it had before.
    pub(super) fn revision(&self) -> u64 {
        self.revisions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Counters over all nodes since the start.
#[derive(Debug, Default)]
pub struct PoolMetrics {
    /// Calls of adapters that ended well.
    pub calls_ok: AtomicU64,
    /// Calls of adapters that failed.
    pub calls_failed: AtomicU64,
    /// Orders taken by supervisors.
    pub orders: AtomicU64,
    /// Hint streams opened.
    pub hint_streams: AtomicU64,
}

impl PoolMetrics {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Starts an owner task of `tasks` for each node. Returns at once; connecting goes on in the background.
    ///
    /// The owners end when `stop` is cancelled, at once.
    #[must_use]
    pub fn start(parts: PoolParts, tasks: &TaskGroup) -> Self {
        let PoolParts { nodes, config, calls_max, plugins, events, seed, stop } = parts;
        let places = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        let hint_reads = (calls_max / HINT_READS_SHARE).max(1);
        let calls = calls_max.saturating_sub(hint_reads).max(1);
        let metrics = Arc::new(PoolMetrics::default());
        let context = Arc::new(PoolContext {
            config,
            plugins,
            events,
            calls: places(calls),
            suspects: places(calls.div_ceil(2)),
            hint_reads: places(hint_reads),
            hint_streams: places(HINT_STREAMS_MAX),
            follow_streams: places(FOLLOW_STREAMS_MAX),
            metrics: Arc::clone(&metrics),
            stop,
            seed,
            revisions: AtomicU64::new(0),
        });
        let shown = Arc::new(Nodes::default());
        let (changes, inbox) = mpsc::channel(CHANGES_MAX);
        let (calls, calls_max) = (Arc::clone(&context.calls), context.calls.available_permits());
        let keeper = Keeper::start(nodes, context, Arc::clone(&shown), tasks.clone());
        tasks.of(TaskKind::Keeper).named("pool", keeper.run(inbox));
        Self { nodes: shown, changes, metrics, calls, calls_max }
    }

    /// Makes `nodes` the nodes of this pool and tells what that changed. Changes are made one after the other; this
    /// returns when every owner that is touched has taken it, which is at once but for a node whose environment alone
    /// changes: its call under way is finished first.
    ///
    /// A node that is the same as before is not disturbed. One that is gone has its call cut, its waiting requests
    /// answered with [`NodeError::Removed`], and is told on the feed as removed, each process first. One whose
    /// credentials change connects anew and keeps its processes and its orders. One whose address or adapter changes is
    /// another node of the same name: its processes are told as removed and its orders answered with
    /// [`NodeError::Replaced`].
    ///
    /// Of a name that is given twice the last counts. Nothing is changed once the pool has stopped.
    ///
    /// # Cancel safety
    /// Once this has been polled to its first wait, the change is made even if the future is dropped.
    pub async fn apply(&self, nodes: Vec<NodeConfig>) -> PoolChange {
        let (reply, change) = oneshot::channel();
        if self.changes.send(Reconfigure { nodes, reply }).await.is_err() {
            return PoolChange::default(); // the host is going down
        }
        change.await.unwrap_or_default()
    }

    /// The node of that name.
    ///
    /// # Errors
    /// [`NodeError::UnknownNode`].
    pub fn node(&self, name: &str) -> Result<NodeHandle, NodeError> {
        let unknown = || NodeError::UnknownNode { node: name.to_owned() };
        let id = NodeId::parse(name).map_err(|_| unknown())?;
        self.nodes.load().get(&id).cloned().ok_or_else(unknown)
    }

    /// All nodes of one moment, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeHandle> {
        self.nodes.load().values().cloned().collect()
    }

    /// Follows a log until `stop`: what is added to it from now on is told in the order of the file, none of it twice, and
    /// a gap where some may be missing. While it cannot be read it is tried again, with a word about why. A node that is
    /// not configured, or not any more, is waited for like one that does not answer.
    ///
    /// There is one stream to the node for it, however many read the news, and at most one read at a time. A full channel
    /// makes the reading wait; what is missed meanwhile is read afterwards as long as the file holds it.
    ///
    /// # Cancel safety
    /// Dropping the future ends it, and closes its stream.
    pub async fn follow(&self, log: LogTopic, news: mpsc::Sender<LogNews>, stop: CancellationToken) {
        Follower::new(self.clone(), log, news).run(stop).await;
    }

    /// Calls of adapters under way now, reading hints aside.
    #[must_use]
    pub fn calls_under_way(&self) -> usize {
        self.calls_max.saturating_sub(self.calls.available_permits())
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &PoolMetrics {
        &self.metrics
    }
}

/// One supervised node, as seen from outside its owner. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle(Arc<Door>);

struct Door {
    id: NodeId,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<NodeStatus>>,
    /// The turn of those who follow its logs: one of them asks at a time, so that they never fill its queue.
    log_turn: Semaphore,
    stop: CancellationToken,
}

impl NodeHandle {
    pub(super) fn new(
        id: NodeId,
        requests: mpsc::Sender<Request>,
        status: watch::Receiver<Arc<NodeStatus>>,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Door { id, requests, status, log_turn: Semaphore::new(1), stop }))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.0.id
    }

    /// What was last known. Never waits.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        Arc::clone(&self.0.status.borrow())
    }

    /// Gives an order and waits until its process settles or `command.wait` has passed since this was called.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`.
    ///
    /// # Cancel safety
    /// An order that was sent is carried out even if the future is dropped; one that was not sent by then is not sent.
    pub async fn command(&self, command: Command, patience: Patience) -> Result<CommandReport, NodeError> {
        let (reply, report) = oneshot::channel();
        let patience = Patience { left: patience.left.child_token(), ..patience };
        let _here = patience.left.clone().drop_guard();
        self.enqueue(Request::Command { command, patience, asked: Instant::now(), reply })?;
        report.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Reads a piece of a log.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`, `ProcessBusy` and `OutcomeUnknown`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the read, and closes its connection if it was under way.
    pub async fn read_log(
        &self,
        process: ProcessId,
        channel: LogChannel,
        range: LogRange,
        patience: Patience,
    ) -> Result<LogSlice, NodeError> {
        let (reply, slice) = oneshot::channel();
        let patience = Patience { left: patience.left.child_token(), ..patience };
        let _here = patience.left.clone().drop_guard();
        self.enqueue(Request::ReadLog { process, channel, range, patience, reply })?;
        slice.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// The same for who follows a log, which waits for its turn first.
    pub(super) async fn follow_log(
        &self,
        process: ProcessId,
        channel: LogChannel,
        range: LogRange,
        patience: Patience,
    ) -> Result<LogSlice, NodeError> {
        let late = || NodeError::NotBegun { node: self.0.id.clone() };
        let turn = timeout_at(patience.until, self.0.log_turn.acquire()).await;
        let _turn = turn.map_err(|_| late())?.map_err(|_| late())?;
        self.read_log(process, channel, range, patience).await
    }

    /// How to be told that a log grows.
    pub(super) async fn rope(
        &self,
        process: ProcessId,
        channel: LogChannel,
        patience: Patience,
    ) -> Result<Rope, NodeError> {
        let (reply, rope) = oneshot::channel();
        self.enqueue(Request::Rope { process, channel, patience, reply })?;
        rope.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Its status as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<NodeStatus>> {
        self.0.status.clone()
    }

    fn enqueue(&self, request: Request) -> Result<(), NodeError> {
        let Door { id, requests, .. } = &*self.0;
        requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => NodeError::QueueFull { node: id.clone(), limit: requests.max_capacity() },
            TrySendError::Closed(_) => self.gone(),
        })
    }

    /// Why there is no owner, or none that answered.
    fn gone(&self) -> NodeError {
        let node = self.0.id.clone();
        if self.0.stop.is_cancelled() {
            return NodeError::Gone { node };
        }
        NodeError::Removed { node, was_sent: false }
    }
}

pub(super) fn initial(node: &NodeConfig, revision: u64) -> NodeStatus {
    NodeStatus {
        id: node.name.clone(),
        environment: node.environment.clone(),
        adapter: node.adapter.clone(),
        state: NodeState::Connecting,
        reason: None,
        since: SystemTime::now(),
        observed_at: None,
        version: String::new(),
        identification: String::new(),
        info: None,
        processes: Arc::from([]),
        revision,
    }
}

/// Time that a call to a node may take beyond the byte exchange itself, so that a silent node is told from a slow adapter.
pub(super) const ADAPTER_SLACK: Duration = Duration::from_millis(500);
