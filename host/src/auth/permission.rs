use crate::model::{Principal, Role};
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
    /// Send a process a signal.
    ProcessSignal,
    /// Write to a process's standard input.
    ProcessInput,
    /// Empty a process's logs.
    LogClear,
    /// Have a node read its files, and make it run what they say.
    NodeUpdate,
    /// Restart a node's supervisor, or end it.
    NodeShutdown,
    /// Do now what a validator keeps for later, such as a change during a freeze. No route needs it; validators ask.
    ChangeOverride,
    /// See one's own API keys.
    ApiKeyRead,
    /// Create and revoke one's own API keys.
    ApiKeyWrite,
    /// See and revoke everybody's API keys.
    ApiKeyAdmin,
    /// Install plugins and roll them back.
    PluginManage,
    /// See how the server does, part by part.
    HealthRead,
    /// See the configuration, without secrets, and its history.
    ConfigRead,
    /// Have the configuration read again, and go back to an earlier one.
    ConfigManage,
    /// Add, change and remove nodes that the configuration's file does not declare.
    NodeManage,
    /// Read the audit.
    AuditRead,
    /// Take a copy of the database.
    BackupCreate,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 22] = [
        Self::NodeRead,
        Self::ProcessRead,
        Self::LogRead,
        Self::FeedRead,
        Self::PluginRead,
        Self::ProcessControl,
        Self::ProcessSignal,
        Self::ProcessInput,
        Self::LogClear,
        Self::NodeUpdate,
        Self::NodeShutdown,
        Self::ChangeOverride,
        Self::ApiKeyRead,
        Self::ApiKeyWrite,
        Self::ApiKeyAdmin,
        Self::PluginManage,
        Self::HealthRead,
        Self::ConfigRead,
        Self::ConfigManage,
        Self::NodeManage,
        Self::AuditRead,
        Self::BackupCreate,
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
            Self::ProcessSignal => "process.signal",
            Self::ProcessInput => "process.input",
            Self::LogClear => "log.clear",
            Self::NodeUpdate => "node.update",
            Self::NodeShutdown => "node.shutdown",
            Self::ChangeOverride => "change.override",
            Self::ApiKeyRead => "api-key.read",
            Self::ApiKeyWrite => "api-key.write",
            Self::ApiKeyAdmin => "api-key.admin",
            Self::PluginManage => "plugin.manage",
            Self::HealthRead => "health.read",
            Self::ConfigRead => "config.read",
            Self::ConfigManage => "config.manage",
            Self::NodeManage => "node.manage",
            Self::AuditRead => "audit.read",
            Self::BackupCreate => "backup.create",
        }
    }

    /// The lowest role that may do it.
    #[must_use]
    pub const fn needs(self) -> Role {
        match self {
            Self::NodeRead
            | Self::ProcessRead
            | Self::LogRead
            | Self::FeedRead
            | Self::PluginRead
            | Self::ApiKeyRead
            | Self::ApiKeyWrite
            | Self::HealthRead => Role::Viewer,
            Self::ProcessControl | Self::ProcessSignal | Self::ProcessInput | Self::LogClear | Self::NodeUpdate => {
                Role::Operator
            }
            Self::NodeShutdown
            | Self::ChangeOverride
            | Self::ApiKeyAdmin
            | Self::PluginManage
            | Self::ConfigRead
            | Self::ConfigManage
            | Self::NodeManage
            | Self::AuditRead
            | Self::BackupCreate => Role::Admin,
        }
    }

    /// Reads a word of [`Action::as_str`].
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a principal may do something: its role has to, and its credential's scopes. The only place that decides it.
#[must_use]
pub fn allows(principal: &Principal, action: Action) -> bool {
    let in_scope = principal.scopes.is_empty() || principal.scopes.iter().any(|scope| scope == action.as_str());
    in_scope && principal.role >= action.needs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, scopes: &[&str]) -> Principal {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Principal { name: "ann".into(), role, strategy: "s".into(), is_external: false, scopes }
    }

    #[test]
    fn every_pair_of_role_and_action_is_decided() {
        let table = [
            (Action::NodeRead, [true, true, true]),
            (Action::ProcessRead, [true, true, true]),
            (Action::LogRead, [true, true, true]),
            (Action::FeedRead, [true, true, true]),
            (Action::PluginRead, [true, true, true]),
            (Action::ProcessControl, [false, true, true]),
            (Action::ProcessSignal, [false, true, true]),
            (Action::ProcessInput, [false, true, true]),
            (Action::LogClear, [false, true, true]),
            (Action::NodeUpdate, [false, true, true]),
            (Action::NodeShutdown, [false, false, true]),
            (Action::ChangeOverride, [false, false, true]),
            (Action::ApiKeyRead, [true, true, true]),
            (Action::ApiKeyWrite, [true, true, true]),
            (Action::ApiKeyAdmin, [false, false, true]),
            (Action::PluginManage, [false, false, true]),
            (Action::HealthRead, [true, true, true]),
            (Action::ConfigRead, [false, false, true]),
            (Action::ConfigManage, [false, false, true]),
            (Action::NodeManage, [false, false, true]),
            (Action::AuditRead, [false, false, true]),
            (Action::BackupCreate, [false, false, true]),
        ];
        assert_eq!(table.map(|(action, _)| action), Action::ALL);
        for (action, expected) in table {
            let roles = [Role::Viewer, Role::Operator, Role::Admin];
            assert_eq!(roles.map(|role| allows(&principal(role, &[]), action)), expected, "{action}");
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
    }

    #[test]
    fn scopes_narrow_and_never_widen() {
        let ann = principal(Role::Admin, &["process.read", "no.such-action"]);
        let allowed: Vec<_> = Action::ALL.into_iter().filter(|action| allows(&ann, *action)).collect();
        assert_eq!(allowed, [Action::ProcessRead]);
        assert!(!allows(&principal(Role::Viewer, &["process.control"]), Action::ProcessControl), "the role does not");
        let nobody = principal(Role::Admin, &["no.such-action", ""]);
        assert!(!Action::ALL.into_iter().any(|action| allows(&nobody, action)), "unknown words grant nothing");
    }
}
