use crate::model::{NodeId, NodeStatus, ObservedProcess, ProcessId};
use std::sync::Arc;
use std::time::SystemTime;

/// One change on one node, told once, in the order in which it was observed.
#[derive(Debug, Clone)]
pub struct Event {
    /// The node.
    pub node: NodeId,
    /// When we observed it, by our clock.
    pub at: SystemTime,
    /// What changed.
    pub body: EventBody,
}

/// What changed.
#[derive(Debug, Clone)]
pub enum EventBody {
    /// The node itself: its state, reason, version or the like. Carries the whole new status.
    Node(Arc<NodeStatus>),
    /// A process appeared, changed, or was restarted (another pid or start time with an equal state).
    Process {
        /// As it was, `None` if it is new.
        before: Option<Box<ObservedProcess>>,
        /// As it is.
        after: Box<ObservedProcess>,
    },
    /// The process is no longer in the node's configuration.
    ProcessRemoved(ProcessId),
    /// The node is no longer in ours. Its processes were told as removed before.
    NodeRemoved,
}
