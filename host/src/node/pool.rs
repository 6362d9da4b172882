use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Command, CommandReport, Event, LogChannel, LogRange, LogSlice, NodeId, NodeState, NodeStatus, ProcessId,
};
use crate::node::error::NodeError;
use crate::node::owner::{Owner, Request};
use crate::plugin::PluginSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// All supervised nodes. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    nodes: Arc<BTreeMap<NodeId, NodeHandle>>,
    metrics: Arc<PoolMetrics>,
}

/// What every owner shares.
pub(super) struct PoolContext {
    pub(super) config: PoolConfig,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) calls: Arc<Semaphore>,
    pub(super) metrics: Arc<PoolMetrics>,
    pub(super) stop: CancellationToken,
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
    /// Starts an owner task on `tracker` for each node. Returns at once; connecting goes on in the background.
    ///
    /// The owners end when `stop` is cancelled, each within one call's timeout. `calls_max` bounds calls to nodes under
    /// way over all owners; an owner whose turn does not come in time counts that as nothing and tries again.
    ///
    /// # Errors
    /// [`NodeError::Answered`] for the first node whose credentials cannot be sent.
    pub fn start(
        nodes: &[NodeConfig],
        config: &PoolConfig,
        calls_max: usize,
        plugins: watch::Receiver<Arc<PluginSet>>,
        events: mpsc::Sender<Event>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, NodeError> {
        let metrics = Arc::new(PoolMetrics::default());
        let context = Arc::new(PoolContext {
            config: config.clone(),
            plugins,
            events,
            calls: Arc::new(Semaphore::new(calls_max)),
            metrics: Arc::clone(&metrics),
            stop,
        });
        let mut handles = BTreeMap::new();
        for node in nodes {
            let (requests, inbox) = mpsc::channel(config.commands_max);
            let (status, seen) = watch::channel(Arc::new(initial(node)));
            let owner = Owner::new(node, Arc::clone(&context), inbox, status)?;
            tracker.spawn(owner.run());
            let handle = NodeHandle { id: node.name.clone(), requests, status: seen };
            handles.insert(node.name.clone(), handle);
        }
        Ok(Self { nodes: Arc::new(handles), metrics })
    }

    /// The node of that name.
    ///
    /// # Errors
    /// [`NodeError::UnknownNode`].
    pub fn node(&self, name: &str) -> Result<&NodeHandle, NodeError> {
        let unknown = || NodeError::UnknownNode { node: name.to_owned() };
        let id = NodeId::parse(name).map_err(|_| unknown())?;
        self.nodes.get(&id).ok_or_else(unknown)
    }

    /// All nodes, sorted by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeHandle> {
        self.nodes.values()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &PoolMetrics {
        &self.metrics
    }
}

/// One supervised node, as seen from outside its owner. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    id: NodeId,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<NodeStatus>>,
}

impl NodeHandle {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What was last known. Never waits.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        Arc::clone(&self.status.borrow())
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
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => {
                NodeError::QueueFull { node: self.id.clone(), limit: self.requests.max_capacity() }
            }
            TrySendError::Closed(_) => self.gone(),
        })
    }

    fn gone(&self) -> NodeError {
        NodeError::Gone { node: self.id.clone() }
    }
}

fn initial(node: &NodeConfig) -> NodeStatus {
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
        revision: 0,
    }
}

/// Time that a call to a node may take beyond the byte exchange itself, so that a silent node is told from a slow adapter.
pub(super) const ADAPTER_SLACK: Duration = Duration::from_millis(500);
