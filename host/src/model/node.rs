use crate::model::{Ability, NodeId, Operation, Process};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

/// How we stand with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Not heard from since this host started or since its settings changed.
    Connecting,
    /// Observed, and a hint stream tells of changes at once.
    Live,
    /// Observed by polling alone.
    LivePoll,
    /// The last observations failed; the data shown is old.
    Stale,
    /// Repeatedly not answering.
    Unreachable,
    /// It answers, and refuses our credentials.
    Refused,
    /// Something answers there, and it is not such a supervisor.
    WrongEndpoint,
    /// The supervisor said that it is going down or restarting.
    ShuttingDown,
    /// Our adapter for it trapped or ran over its limits.
    AdapterFailed,
    /// The operator had it left alone; nothing is sent to it.
    Disabled,
}

impl NodeState {
    /// The word used on the wire, in logs and in the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::LivePoll => "live-poll",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::WrongEndpoint => "wrong-endpoint",
            Self::ShuttingDown => "shutting-down",
            Self::AdapterFailed => "adapter-failed",
            Self::Disabled => "disabled",
        }
    }

    /// True while the data shown is current.
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            Self::Live | Self::LivePoll => true,
            Self::Connecting
            | Self::Stale
            | Self::Unreachable
            | Self::Refused
            | Self::WrongEndpoint
            | Self::ShuttingDown
            | Self::AdapterFailed
            | Self::Disabled => false,
        }
    }
}

/// What an adapter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// What it speaks to, e.g. `supervisord`.
    pub kind: String,
    /// The operations it can carry out.
    pub operations: Vec<Operation>,
    /// What it can do besides.
    pub abilities: BTreeSet<Ability>,
    /// The log channels it can read, e.g. `stdout`.
    pub log_channels: Vec<String>,
    /// Whether its supervisor wakes at every byte, so that half a request is enough to wake it.
    pub wakes_at_bytes: bool,
}

/// One complete description of a node, as its adapter read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The supervisor's version, e.g. `4.3.0`.
    pub version: String,
    /// The name the supervisor gives itself.
    pub identification: String,
    /// Its processes.
    pub processes: Vec<Process>,
    /// Processes that the node has and that are not among them: they have no usable name, or there are too many.
    pub skipped: u64,
}

/// All we know of one node at one moment. Immutable, replaced whole.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// The node.
    pub id: NodeId,
    /// The environment the operator put it in, if any.
    pub environment: Option<String>,
    /// The name of the adapter plugin that speaks to it.
    pub adapter: String,
    /// How we stand with it.
    pub state: NodeState,
    /// Why, when it is not live; or what is missing from what is shown. One sentence without secrets.
    pub reason: Option<String>,
    /// Since when the state holds, by our clock.
    pub since: SystemTime,
    /// When `processes` was read, by our clock. `None` until the first time.
    pub observed_at: Option<SystemTime>,
    /// The supervisor's version, empty until known.
    pub version: String,
    /// The name the supervisor gives itself, empty until known.
    pub identification: String,
    /// What its adapter can do, once it has said so.
    pub info: Option<Arc<AdapterInfo>>,
    /// Its processes, sorted by group, then name.
    pub processes: Arc<[ObservedProcess]>,
    /// Rises by one with every replacement.
    pub revision: u64,
}

/// A process with what only the host can say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedProcess {
    /// As the node described it.
    pub process: Process,
    /// Start of its current run by *our* clock: when it was first observed, less its uptime then. Stays the same until
    /// the run ends, so an unchanged process is equal from poll to poll.
    pub started_at: Option<SystemTime>,
    /// Runs that began since it was seen first, by this host.
    pub restarts: u64,
}
