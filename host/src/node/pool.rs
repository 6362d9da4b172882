use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Command, CommandReport, ConfigChanges, Event, GroupCommand, GroupReport, LogChannel, LogNews, LogRange, LogSlice,
    LogTopic, NodeId, NodeOperation, NodeState, NodeStatus, ProcessAct, ProcessId, UpdateReport,
};
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::follow::{Follower, Rope};
use crate::node::inbox::{Letterbox, NotTaken};
use crate::node::keeper::{CHANGES_MAX, Keeper, PoolChange, Reconfigure};
use crate::node::lane::{LaneRequest, Reply};
use crate::node::owner::Request;
use crate::node::patience::Patience;
use crate::plugin::PluginSet;
use crate::resilience::Jitter;
use crate::task::{Places, TaskGroup, TaskKind};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
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
    settings: watch::Sender<Arc<PoolConfig>>,
    metrics: Arc<PoolMetrics>,
    // Not the whole context: who reads events learns from its end that every owner is gone.
    bounds: Arc<Bounds>,
}

/// How many do something at once, over all owners.
pub(super) struct Bounds {
    /// Places of calls under way.
    pub(super) calls: Places,
    /// How many of those are for nodes that are not known to answer.
    pub(super) suspects: Places,
    /// Places of adapters that read hints, which is done without the node.
    pub(super) hint_reads: Places,
    /// Places of open hint streams.
    pub(super) hint_streams: Arc<Semaphore>,
    /// Places of open streams that tell of followed logs.
    pub(super) follow_streams: Arc<Semaphore>,
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
    settings: watch::Receiver<Arc<PoolConfig>>,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) bounds: Arc<Bounds>,
    pub(super) metrics: Arc<PoolMetrics>,
    pub(super) stop: CancellationToken,
    seed: u64,
    revisions: AtomicU64,
}

/// What is taken in a pool that has stopped: nothing, or something is left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolPlaces {
    /// Calls of adapters under way.
    pub calls: usize,
    /// Those among them to nodes that are not known to answer.
    pub suspects: usize,
    /// Adapters that read hints.
    pub hint_reads: usize,
    /// Hint streams open.
    pub hint_streams: usize,
    /// Streams open that tell of followed logs.
    pub follow_streams: usize,
}

/// How many of the calls of adapters may be which: to nodes, of these to nodes that are not known to answer, and reading
/// hints.
fn shares(calls_max: usize) -> (usize, usize, usize) {
    let hint_reads = (calls_max / HINT_READS_SHARE).max(1);
    let calls = calls_max.saturating_sub(hint_reads).max(1);
    (calls, calls.div_ceil(2), hint_reads)
}

impl PoolContext {
    /// The settings as they are now. Who does several things by them keeps these.
    pub(super) fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.settings.borrow())
    }

    /// The settings as they change.
    pub(super) fn settings(&self) -> watch::Receiver<Arc<PoolConfig>> {
        self.settings.clone()
    }

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

impl Pool {
    /// Starts an owner task of `tasks` for each node. Returns at once; connecting goes on in the background.
    ///
    /// The owners end when `stop` is cancelled, at once.
    #[must_use]
    pub fn start(parts: PoolParts, tasks: &TaskGroup) -> Self {
        let PoolParts { nodes, config, calls_max, plugins, events, seed, stop } = parts;
        let (calls, suspects, hint_reads) = shares(calls_max);
        let (settings, seen) = watch::channel(Arc::new(config));
        let metrics = Arc::new(PoolMetrics::default());
        let bounds = Arc::new(Bounds {
            calls: Places::new(calls),
            suspects: Places::new(suspects),
            hint_reads: Places::new(hint_reads),
            hint_streams: Arc::new(Semaphore::new(HINT_STREAMS_MAX)),
            follow_streams: Arc::new(Semaphore::new(FOLLOW_STREAMS_MAX)),
        });
        let context = Arc::new(PoolContext {
            settings: seen,
            plugins,
            events,
            bounds: Arc::clone(&bounds),
            metrics: Arc::clone(&metrics),
            stop,
            seed,
            revisions: AtomicU64::new(0),
        });
        let shown = Arc::new(Nodes::default());
        let (changes, inbox) = mpsc::channel(CHANGES_MAX);
        let keeper = Keeper::start(nodes, context, Arc::clone(&shown), tasks.clone());
        tasks.of(TaskKind::Keeper).named("pool", keeper.run(inbox));
        Self { nodes: shown, changes, settings, metrics, bounds }
    }

    /// Has other settings count from each owner's next step on, and other numbers of calls at once from now on. What is
    /// under way goes on by those that it began with. Breakers and the count of failures stay as they are.
    pub fn set(&self, config: PoolConfig, calls_max: usize) {
        let (calls, suspects, hint_reads) = shares(calls_max);
        self.bounds.calls.resize(calls);
        self.bounds.suspects.resize(suspects);
        self.bounds.hint_reads.resize(hint_reads);
        self.settings.send_replace(Arc::new(config));
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
        self.bounds.calls.taken()
    }

    /// What is taken of everything that this pool bounds.
    #[must_use]
    pub fn taken(&self) -> PoolPlaces {
        let Bounds { calls, suspects, hint_reads, hint_streams, follow_streams } = &*self.bounds;
        PoolPlaces {
            calls: calls.taken(),
            suspects: suspects.taken(),
            hint_reads: hint_reads.taken(),
            hint_streams: HINT_STREAMS_MAX.saturating_sub(hint_streams.available_permits()),
            follow_streams: FOLLOW_STREAMS_MAX.saturating_sub(follow_streams.available_permits()),
        }
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
    requests: Letterbox,
    status: watch::Receiver<Arc<NodeStatus>>,
    /// The turn of those who follow its logs: one of them asks at a time, so that they never fill its queue.
    log_turn: Semaphore,
    stop: CancellationToken,
}

impl NodeHandle {
    pub(super) fn new(
        id: NodeId,
        requests: Letterbox,
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

    /// Does something to one process at once. Returned means taken: there is no state to wait for.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`; [`NodeError::Lost`] when nobody knows whether it was done.
    ///
    /// # Cancel safety
    /// What was not sent when the future is dropped is not sent.
    pub async fn act(&self, process: ProcessId, act: ProcessAct, patience: Patience) -> Result<(), NodeError> {
        self.ask(patience, |patience, reply| LaneRequest::Act { process, act, patience, reply }).await
    }

    /// Gives an order to a whole group and waits until its processes settle or `command.wait` has passed since this was
    /// called. One at a time on a node, and none while one of the group's processes has an order of its own.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`; what went wrong with one process stands in the report.
    ///
    /// # Cancel safety
    /// As [`NodeHandle::command`].
    pub async fn command_group(&self, command: GroupCommand, patience: Patience) -> Result<GroupReport, NodeError> {
        let asked = Instant::now();
        self.ask(patience, |patience, reply| LaneRequest::Group { command, patience, asked, reply }).await
    }

    /// Has the supervisor read its files; tells how they differ from what runs. Changes nothing.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`.
    ///
    /// # Cancel safety
    /// As [`NodeHandle::read_log`].
    pub async fn reread(&self, patience: Patience) -> Result<ConfigChanges, NodeError> {
        self.ask(patience, |patience, reply| LaneRequest::Reread { patience, reply }).await
    }

    /// Makes the node run what its files say, and waits for it at most so long. Nothing else is done to its processes
    /// meanwhile.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`; what went wrong with one group stands in the report. An answer that is lost on
    /// the way ends the update.
    ///
    /// # Cancel safety
    /// As [`NodeHandle::command`].
    pub async fn update(&self, wait: Duration, patience: Patience) -> Result<UpdateReport, NodeError> {
        let asked = Instant::now();
        self.ask(patience, |patience, reply| LaneRequest::Update { wait, patience, asked, reply }).await
    }

    /// Restarts the supervisor itself. Returned means taken; the node is shutting down until it is observed again.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`; [`NodeError::Lost`] when nobody knows whether it was done.
    ///
    /// # Cancel safety
    /// As [`NodeHandle::act`].
    pub async fn restart(&self, patience: Patience) -> Result<(), NodeError> {
        let operation = NodeOperation::Restart;
        self.ask(patience, |patience, reply| LaneRequest::Supervisor { operation, patience, reply }).await
    }

    /// Ends the supervisor itself.
    ///
    /// # Errors
    /// As [`NodeHandle::restart`].
    ///
    /// # Cancel safety
    /// As [`NodeHandle::act`].
    pub async fn shut_down(&self, patience: Patience) -> Result<(), NodeError> {
        let operation = NodeOperation::Shutdown;
        self.ask(patience, |patience, reply| LaneRequest::Supervisor { operation, patience, reply }).await
    }

    /// Reads the end of the supervisor's own log, at most so many bytes.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`.
    ///
    /// # Cancel safety
    /// As [`NodeHandle::read_log`].
    pub async fn read_node_log(&self, bytes_max: u32, patience: Patience) -> Result<Vec<u8>, NodeError> {
        self.ask(patience, |patience, reply| LaneRequest::NodeLog { bytes_max, patience, reply }).await
    }

    /// Asks the owner, and lets it know when whoever asked has left.
    async fn ask<T>(
        &self,
        patience: Patience,
        request: impl FnOnce(Patience, Reply<T>) -> LaneRequest,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        let patience = Patience { left: patience.left.child_token(), ..patience };
        let _here = patience.left.clone().drop_guard();
        self.enqueue(Request::Lane(request(patience, reply)))?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
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
        requests.put(request).map_err(|error| match error {
            NotTaken::Full(limit) => NodeError::QueueFull { node: id.clone(), limit },
            NotTaken::Closed => self.gone(),
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
        state: if node.is_enabled { NodeState::Connecting } else { NodeState::Disabled },
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
