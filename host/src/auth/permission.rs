use crate::model::Role;
use std::fmt;

/// Something that needs a right. The REST routes, the feed and the logs all ask with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See nodes and their state.
    NodeRead,
    /// See processes and their state.
    ProcessRead,
    /// Read a process's logs.
    LogRead,
    /// Follow changes.
    FeedRead,
    /// See plugins and how they do.
    PluginRead,
    /// Start, stop or restart a process.
    ProcessControl,
    /// Install plugins and roll them back.
    PluginManage,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] = [
        Self::NodeRead,
        Self::ProcessRead,
        Self::LogRead,
        Self::FeedRead,
        Self::PluginRead,
        Self::ProcessControl,
        Self::PluginManage,
    ];

    /// The word used in texts and in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeRead => "node.read",
            Self::ProcessRead => "process.read",
            Self::LogRead => "log.read",
            Self::FeedRead => "feed.read",
            Self::PluginRead => "plugin.read",
            Self::ProcessControl => "process.control",
            Self::PluginManage => "plugin.manage",
        }
    }

    /// The lowest role that may do it.
    #[must_use]
    pub const fn needs(self) -> Role {
        match self {
            Self::NodeRead | Self::ProcessRead | Self::LogRead | Self::FeedRead | Self::PluginRead => Role::Viewer,
            Self::ProcessControl => Role::Operator,
            Self::PluginManage => Role::Admin,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a role may do something. The only place that decides it.
#[must_use]
pub fn allows(role: Role, action: Action) -> bool {
    role >= action.needs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_role_and_action_is_decided() {
        let table = [
            (Action::NodeRead, [true, true, true]),
            (Action::ProcessRead, [true, true, true]),
            (Action::LogRead, [true, true, true]),
            (Action::FeedRead, [true, true, true]),
            (Action::PluginRead, [true, true, true]),
            (Action::ProcessControl, [false, true, true]),
            (Action::PluginManage, [false, false, true]),
        ];
        assert_eq!(table.map(|(action, _)| action), Action::ALL);
        for (action, expected) in table {
            let roles = [Role::Viewer, Role::Operator, Role::Admin];
            assert_eq!(roles.map(|role| allows(role, action)), expected, "{action}");
        }
    }
}
