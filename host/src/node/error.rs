use crate::model::{AdapterFault, Fault, FaultKind, NodeId, Operation, ProcessId};
use crate::plugin::{AdapterError, PluginFailure};
use std::time::Duration;

/// Why a node did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No such node is configured.
    #[error("there is no node `{node}`")]
    UnknownNode {
        /// The name asked for.
        node: String,
    },
    /// The node has no such process.
    #[error("node `{node}` has no process `{process}`")]
    UnknownProcess {
        /// The node.
        node: NodeId,
        /// The process asked for.
        process: ProcessId,
    },
    /// The node reports several processes under one name, so an order might reach the wrong one.
    #[error("node `{node}` reports more than one process `{process}`; give them different names there")]
    AmbiguousProcess {
        /// The node.
        node: NodeId,
        /// The name.
        process: ProcessId,
    },
    /// Another order for this process is being carried out.
    #[error("process `{process}` on node `{node}` is busy with another {operation}; try again when it has settled")]
    ProcessBusy {
        /// The node.
        node: NodeId,
        /// The process.
        process: ProcessId,
        /// The order under way.
        operation: Operation,
    },
    /// The node is busy with an order to a group or to itself, which this one could cross.
    #[error("node `{node}` is busy: {what}; try again when that has ended")]
    NodeBusy {
        /// The node.
        node: NodeId,
        /// What is under way.
        what: String,
    },
    /// The node has no such group.
    #[error("node `{node}` has no group `{group}`")]
    UnknownGroup {
        /// The node.
        node: NodeId,
        /// The group asked for.
        group: String,
    },
    /// The node's queue is full.
    #[error("node `{node}` has {limit} requests waiting, which is all that are allowed")]
    QueueFull {
        /// The node.
        node: NodeId,
        /// Requests allowed.
        limit: usize,
    },
    /// The node failed so often that it is left alone for a while.
    #[error("node `{node}` is not being called for another {retry_after:?}, because it did not answer")]
    BreakerOpen {
        /// The node.
        node: NodeId,
        /// How long it stays so.
        retry_after: Duration,
    },
    /// The adapter does not list that, and nothing was sent.
    #[error(
        "node `{node}` is of a kind that cannot {what}; its `operations`, `abilities` and `log_channels` say what it can"
    )]
    Unsupported {
        /// The node.
        node: NodeId,
        /// What was asked.
        what: String,
    },
    /// So many calls to nodes are under way that this one did not begin in time.
    #[error("node `{node}` was not called: too many calls to other nodes are under way")]
    PoolBusy {
        /// The node.
        node: NodeId,
    },
    /// This host is going down.
    #[error("node `{node}` is no longer supervised here")]
    Gone {
        /// The node.
        node: NodeId,
    },
    /// The node left the configuration before there was an answer.
    #[error("node `{node}` was removed from the configuration; {}", fate(*.was_sent))]
    Removed {
        /// The node.
        node: NodeId,
        /// True if the node may have been asked.
        was_sent: bool,
    },
    /// The node is reached in another way since, and there was no answer before.
    #[error("the settings of node `{node}` changed; {}", fate(*.was_sent))]
    Replaced {
        /// The node.
        node: NodeId,
        /// True if the node may have been asked.
        was_sent: bool,
    },
    /// The node is disabled in the configuration.
    #[error("node `{node}` is disabled, {}; `enabled = true` in the configuration has it asked again", fate(*.was_sent))]
    Disabled {
        /// The node.
        node: NodeId,
        /// True if the node may have been asked before.
        was_sent: bool,
    },
    /// The caller left before the node was asked, or before its answer.
    #[error("the caller left before node `{node}` had answered")]
    CallerLeft {
        /// The node.
        node: NodeId,
    },
    /// The request's time was over before its turn came. Nothing was sent.
    #[error("node `{node}` was not asked: the time of the request was over before its turn came")]
    NotBegun {
        /// The node.
        node: NodeId,
    },
    /// An order left for the node, and neither an answer nor the state of the process says whether it arrived.
    #[error("nobody knows whether node `{node}` was told to {operation} process `{process}`: {why}")]
    OutcomeUnknown {
        /// The node.
        node: NodeId,
        /// The process.
        process: ProcessId,
        /// What was sent.
        operation: Operation,
        /// What happened instead of an answer.
        why: Box<NodeError>,
    },
    /// The same for what has no state that could tell.
    #[error("nobody knows whether node `{node}` was told to {what}: {why}")]
    Lost {
        /// The node.
        node: NodeId,
        /// What was sent.
        what: String,
        /// What happened instead of an answer.
        why: Box<NodeError>,
    },
    /// The node's own word.
    #[error("node `{node}`: {fault}")]
    Answered {
        /// The node.
        node: NodeId,
        /// The fault, as the adapter reports it.
        fault: AdapterFault,
    },
    /// The adapter failed; nothing is known about the node.
    #[error("node `{node}` could not be asked")]
    Adapter {
        /// The node.
        node: NodeId,
        /// How the adapter failed.
        #[source]
        source: PluginFailure,
    },
}

impl NodeError {
    /// Puts the node's name to an adapter's error.
    #[must_use]
    pub fn from_adapter(node: NodeId, error: AdapterError) -> Self {
        match error {
            AdapterError::Fault(fault) => Self::Answered { node, fault },
            AdapterError::Plugin(source) => Self::Adapter { node, source },
        }
    }

    /// At whose door it lies.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::UnknownNode { .. }
            | Self::UnknownProcess { .. }
            | Self::AmbiguousProcess { .. }
            | Self::ProcessBusy { .. }
            | Self::NodeBusy { .. }
            | Self::UnknownGroup { .. }
            | Self::Unsupported { .. }
            | Self::Disabled { .. }
            | Self::CallerLeft { .. } => Fault::Caller,
            Self::QueueFull { .. }
            | Self::PoolBusy { .. }
            | Self::Gone { .. }
            | Self::NotBegun { .. }
            | Self::Removed { .. }
            | Self::Replaced { .. } => Fault::Host,
            Self::BreakerOpen { .. } | Self::OutcomeUnknown { .. } | Self::Lost { .. } => Fault::Node,
            Self::Adapter { .. } => Fault::Plugin,
            Self::Answered { fault, .. } => match fault.kind {
                FaultKind::Caller | FaultKind::Unsupported => Fault::Caller,
                FaultKind::Node | FaultKind::Timeout => Fault::Node,
                FaultKind::Plugin => Fault::Plugin,
            },
        }
    }
}

const fn fate(was_sent: bool) -> &'static str {
    if was_sent { "what it did by then is not known" } else { "nothing was sent to it" }
}
