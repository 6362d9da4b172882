use crate::model::{NodeId, ProcessId, ProcessState};
use std::fmt;
use std::time::Duration;

/// Something a process can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Bring it up.
    Start,
    /// Bring it down.
    Stop,
    /// Bring it down, see it down, bring it up.
    Restart,
    /// Have its supervisor watch it, and bring it up again when it ends.
    Monitor,
    /// Have its supervisor leave it alone, whatever becomes of it.
    Unmonitor,
}

impl Operation {
    /// Every operation, in the order above.
    pub const ALL: [Self; 5] = [Self::Start, Self::Stop, Self::Restart, Self::Monitor, Self::Unmonitor];

    /// The word used on the wire, in logs and in the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Monitor => "monitor",
            Self::Unmonitor => "unmonitor",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One order to one process on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub operation: Operation,
    /// To which process.
    pub process: ProcessId,
    /// How long the answer may wait for the process to settle. The command itself is not undone when this ends.
    pub wait: Duration,
    /// The request that asked for it, for logs and audit.
    pub request_id: String,
}

/// How a command ended, as far as it is known when its caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The process is as it was asked to be.
    Done,
    /// It was so before, and nothing was sent.
    Unchanged,
    /// The supervisor took the order and the process is still on its way.
    InProgress,
    /// The supervisor took the order and the process ended up elsewhere, e.g. started and died.
    Failed,
}

impl Outcome {
    /// The outcome of a whole, given those of its parts: what failed counts most, then what is on its way. Of nothing at
    /// all, and where nothing was sent, it is [`Outcome::Unchanged`].
    #[must_use]
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        let rank = |outcome: Self| match outcome {
            Self::Unchanged => 0,
            Self::Done => 1,
            Self::InProgress => 2,
            Self::Failed => 3,
        };
        parts.into_iter().max_by_key(|outcome| rank(*outcome)).unwrap_or(Self::Unchanged)
    }

    /// The word used on the wire and in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::InProgress => "in-progress",
            Self::Failed => "failed",
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReport {
    /// The node.
    pub node: NodeId,
    /// The process.
    pub process: ProcessId,
    /// What was asked.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// The state last seen.
    pub state: ProcessState,
    /// The supervisor's explanation, empty when all is well.
    pub message: String,
    /// From the order to this report.
    pub took: Duration,
}
