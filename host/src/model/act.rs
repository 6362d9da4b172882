use crate::model::{AdapterFault, CommandReport, NodeId, Operation, Outcome, ProcessId};
use std::collections::BTreeSet;
use std::time::Duration;

/// One thing that an adapter can do for its nodes beyond the operations on processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// Send a signal to a process.
    Signal,
    /// Write to a process's standard input.
    SendInput,
    /// Empty a process's logs.
    ClearLogs,
    /// Start a whole group.
    GroupStart,
    /// Stop a whole group.
    GroupStop,
    /// Tell how the node's configuration files differ from what runs.
    Reread,
    /// Take a group into service.
    AddGroup,
    /// Take a group out of service.
    RemoveGroup,
    /// Restart the supervisor itself.
    RestartNode,
    /// End the supervisor itself.
    ShutdownNode,
    /// Stream a log as it is written.
    FollowLogs,
    /// Read the supervisor's own log.
    NodeLog,
}

impl Ability {
    /// What has to be there for a group to be restarted: it is stopped, seen stopped, and started.
    pub const GROUP_RESTART: [Self; 2] = [Self::GroupStop, Self::GroupStart];
    /// What has to be there for a node to be made to run what its files say.
    pub const UPDATE: [Self; 4] = [Self::Reread, Self::GroupStop, Self::RemoveGroup, Self::AddGroup];

    /// The words for all that these abilities make possible, composed ones included.
    #[must_use]
    pub fn words(abilities: &BTreeSet<Self>) -> Vec<String> {
        let has = |needed: &[Self]| needed.iter().all(|ability| abilities.contains(ability));
        let restart = has(&Self::GROUP_RESTART).then_some("group-restart");
        let update = has(&Self::UPDATE).then_some("update");
        abilities.iter().map(|ability| ability.as_str()).chain(restart).chain(update).map(str::to_owned).collect()
    }

    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::SendInput => "send-input",
            Self::ClearLogs => "clear-logs",
            Self::GroupStart => "group-start",
            Self::GroupStop => "group-stop",
            Self::Reread => "reread",
            Self::AddGroup => "add-group",
            Self::RemoveGroup => "remove-group",
            Self::RestartNode => "restart-node",
            Self::ShutdownNode => "shutdown-node",
            Self::FollowLogs => "follow-logs",
            Self::NodeLog => "node-log",
        }
    }
}

/// A signal that a process can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(&'static str);

impl Signal {
    /// The names that are known, without `SIG`. Those that report a fault of the program itself are left out.
    pub const NAMES: [&str; 14] =
        ["HUP", "INT", "QUIT", "TERM", "KILL", "USR1", "USR2", "CONT", "STOP", "TSTP", "WINCH", "ALRM", "ABRT", "PIPE"];

    /// The signal of that name, in capitals or not, with or without `SIG`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::NAMES.into_iter().find(|known| *known == short).map(Self)
    }

    /// Its name, without `SIG`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Something that is done to a process at once, without a state to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessAct {
    /// Send it a signal.
    Signal(Signal),
    /// Write to its standard input, 1 to [`ProcessAct::INPUT_BYTES_MAX`] bytes.
    SendInput(Vec<u8>),
    /// Empty all its logs.
    ClearLogs,
}

impl ProcessAct {
    /// Bytes that are written to a standard input at once. A pipe takes 64 KiB before its writer waits.
    pub const INPUT_BYTES_MAX: usize = 16 << 10;

    /// The word used on the wire, in logs and in the audit.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::SendInput(_) => "input",
            Self::ClearLogs => "clear-logs",
        }
    }

    /// What an adapter has to be able to do for it.
    #[must_use]
    pub const fn ability(&self) -> Ability {
        match self {
            Self::Signal(_) => Ability::Signal,
            Self::SendInput(_) => Ability::SendInput,
            Self::ClearLogs => Ability::ClearLogs,
        }
    }
}

/// Something that an adapter does to a whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupOperation {
    /// Bring its processes up.
    Start,
    /// Bring its processes down.
    Stop,
}

impl GroupOperation {
    /// What an adapter has to be able to do for it.
    #[must_use]
    pub const fn ability(self) -> Ability {
        match self {
            Self::Start => Ability::GroupStart,
            Self::Stop => Ability::GroupStop,
        }
    }
}

/// Something that an adapter does to the supervisor itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOperation {
    /// Take a group into service.
    AddGroup(String),
    /// Take a group out of service, all of whose processes have stopped.
    RemoveGroup(String),
    /// End all processes, read everything anew, go on.
    Restart,
    /// End all processes and itself.
    Shutdown,
}

impl NodeOperation {
    /// What an adapter has to be able to do for it.
    #[must_use]
    pub const fn ability(&self) -> Ability {
        match self {
            Self::AddGroup(_) => Ability::AddGroup,
            Self::RemoveGroup(_) => Ability::RemoveGroup,
            Self::Restart => Ability::RestartNode,
            Self::Shutdown => Ability::ShutdownNode,
        }
    }
}

/// What the supervisor answered to an order to a group, for one of its processes. `true` if it took the order, `false`
/// if the process was as asked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOutcome {
    /// The process.
    pub id: ProcessId,
    /// What became of the order.
    pub outcome: Result<bool, AdapterFault>,
}

/// How a node's configuration files differ from what runs there: names of groups, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigChanges {
    /// Only in the files.
    pub added: Vec<String>,
    /// In both, and different.
    pub changed: Vec<String>,
    /// No longer in the files.
    pub removed: Vec<String>,
}

/// An order to all processes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCommand {
    /// The group.
    pub group: String,
    /// What to do: start, stop or restart.
    pub operation: Operation,
    /// How long the answer may wait for the processes to settle.
    pub wait: Duration,
}

/// What became of an order to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// The node.
    pub node: NodeId,
    /// The group.
    pub group: String,
    /// What was asked.
    pub operation: Operation,
    /// The worst of its processes' outcomes.
    pub outcome: Outcome,
    /// Each process, in the order of the names.
    pub items: Vec<CommandReport>,
    /// From the order to this report.
    pub took: Duration,
}

/// How a group of the files differs from what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupChange {
    /// Only in the files.
    Added,
    /// In both, and different.
    Changed,
    /// No longer in the files.
    Removed,
}

impl GroupChange {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What became of one group of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUpdate {
    /// The group.
    pub group: String,
    /// How it differed.
    pub change: GroupChange,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed; empty when it did not.
    pub message: String,
}

/// What became of making a node run what its files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateReport {
    /// The node.
    pub node: NodeId,
    /// The worst of its groups' outcomes; unchanged when nothing differed.
    pub outcome: Outcome,
    /// Each group that differed, in the order in which they are done: removed, changed, added.
    pub groups: Vec<GroupUpdate>,
    /// From the order to this report.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_composed_is_offered_where_its_parts_are() {
        let words = |abilities: &[Ability]| Ability::words(&abilities.iter().copied().collect());
        assert_eq!(words(&[Ability::GroupStop]), ["group-stop"]);
        assert_eq!(words(&Ability::GROUP_RESTART), ["group-start", "group-stop", "group-restart"]);
        assert!(words(&Ability::UPDATE).contains(&"update".to_owned()));
        assert!(!words(&Ability::UPDATE[1..]).contains(&"update".to_owned()));
    }

    #[test]
    fn signals_are_known_by_name_however_it_is_written() {
        for name in ["HUP", "hup", "SIGHUP", "sighup"] {
            assert_eq!(Signal::parse(name).map(Signal::as_str), Some("HUP"), "{name}");
        }
        for name in ["", "SIG", "1", "SEGV", "HUP ", "SIGSIGHUP", "KILLL"] {
            assert_eq!(Signal::parse(name), None, "{name:?}");
        }
    }
}
