use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Command, CommandReport, Event, LogChannel, LogRange, LogSlice, NodeId, NodeState, NodeStatus, ProcessId,
};
use crate::node::error::NodeError;
use crate::node::keeper::{CHANGES_MAX, Keeper, PoolChange, Reconfigure};
use crate::node::owner::Request;
use crate::plugin::PluginSet;
use crate::task::{TaskGroup, TaskKind};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The nodes of a pool, replaced whole.
pub(super) type Nodes = ArcSwap<BTreeMap<NodeId, NodeHandle>>;

/// All supervised nodes. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    nodes: Arc<Nodes>,
    changes: mpsc::Sender<Reconfigure>,
    metrics: Arc<PoolMetrics>,
}

/// What a pool is made of.
pub struct PoolParts {
    /// The first nodes.
    pub nodes: Vec<NodeConfig>,
    /// `[pool]`
    pub config: PoolConfig,
    /// Calls to nodes under way over all owners. One that does not get its turn in time counts as nothing.
    pub calls_max: usize,
    /// The adapters that serve now.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// Where owners tell of changes. While it is full they wait.
    pub events: mpsc::Sender<Event>,
    /// Ends every owner: the call under way is cut, and none begins after.
    pub stop: CancellationToken,
}

/// What every owner shares.
pub(super) struct PoolContext {
    pub(super) config: PoolConfig,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) calls: Arc<Semaphore>,
    pub(super) metrics: Arc<PoolMetrics>,
    pub(super) stop: CancellationToken,
    revisions: AtomicU64,
}

impl PoolContext {
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
        let PoolParts { nodes, config, calls_max, plugins, events, stop } = parts;
        let metrics = Arc::new(PoolMetrics::default());
        let context = Arc::new(PoolContext {
            config,
            plugins,
            events,
            calls: Arc::new(Semaphore::new(calls_max)),
            metrics: Arc::clone(&metrics),
            stop,
            revisions: AtomicU64::new(0),
        });
        let shown = Arc::new(Nodes::default());
        let (changes, inbox) = mpsc::channel(CHANGES_MAX);
        let keeper = Keeper::start(nodes, context, Arc::clone(&shown), tasks.clone());
        tasks.of(TaskKind::Keeper).named("pool", keeper.run(inbox));
        Self { nodes: shown, changes, metrics }
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
    stop: CancellationToken,
}

impl NodeHandle {
    pub(super) fn new(
        id: NodeId,
        requests: mpsc::Sender<Request>,
        status: watch::Receiver<Arc<NodeStatus>>,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Door { id, requests, status, stop }))
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

    /// Gives an order and waits until its process settles or `command.wait` has passed.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode`.
    ///
    /// # Cancel safety
    /// Once this has been polled the order is in the node's queue and is carried out even if the future is dropped.
    pub async fn command(&self, command: Command) -> Result<CommandReport, NodeError> {
        let (reply, report) = oneshot::channel();
        self.enqueue(Request::Command { command, reply })?;
        report.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Reads a piece of a log.
    ///
    /// # Errors
    /// Any [`NodeError`] but `UnknownNode` and `ProcessBusy`.
    pub async fn read_log(
        &self,
        process: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> Result<LogSlice, NodeError> {
        let (reply, slice) = oneshot::channel();
        self.enqueue(Request::ReadLog { process, channel, range, reply })?;
        slice.await.unwrap_or_else(|_| Err(self.gone()))
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
