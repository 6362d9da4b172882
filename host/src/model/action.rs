use crate::model::{Object, Role};
use std::fmt;

/// Something that needs a right. The REST routes, the feed and the logs all ask with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Read the figures of the server and of the fleet.
    MetricsRead,
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
    /// Look after the database's file.
    StorageManage,
    /// See accounts, their grants and sessions, and roles.
    AccountRead,
    /// Add, change and remove accounts and roles, never beyond one's own rights; end sessions.
    AccountManage,
}

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Nodes and their processes: it may be granted on some of them alone.
    Fleet,
    /// What is the caller's own: a grant of any scope is enough.
    Own,
    /// The server itself: only a grant over everything is enough.
    Server,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 26] = [
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
        Self::MetricsRead,
        Self::ConfigRead,
        Self::ConfigManage,
        Self::NodeManage,
        Self::AuditRead,
        Self::BackupCreate,
        Self::StorageManage,
        Self::AccountRead,
        Self::AccountManage,
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
            Self::MetricsRead => "metrics.read",
            Self::ConfigRead => "config.read",
            Self::ConfigManage => "config.manage",
            Self::NodeManage => "node.manage",
            Self::AuditRead => "audit.read",
            Self::BackupCreate => "backup.create",
            Self::StorageManage => "storage.manage",
            Self::AccountRead => "account.read",
            Self::AccountManage => "account.manage",
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
            | Self::HealthRead
            | Self::MetricsRead => Role::Viewer,
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
            | Self::BackupCreate
            | Self::StorageManage
            | Self::AccountRead
            | Self::AccountManage => Role::Admin,
        }
    }

    /// What it is done to.
    #[must_use]
    pub const fn kind(self) -> ActionKind {
        match self {
            Self::NodeRead
            | Self::ProcessRead
            | Self::LogRead
            | Self::ProcessControl
            | Self::ProcessSignal
            | Self::ProcessInput
            | Self::LogClear
            | Self::NodeUpdate
            | Self::NodeShutdown
            | Self::ChangeOverride => ActionKind::Fleet,
            Self::FeedRead | Self::ApiKeyRead | Self::ApiKeyWrite => ActionKind::Own,
            Self::PluginRead
            | Self::ApiKeyAdmin
            | Self::PluginManage
            | Self::HealthRead
            | Self::MetricsRead
            | Self::ConfigRead
            | Self::ConfigManage
            | Self::NodeManage
            | Self::AuditRead
            | Self::BackupCreate
            | Self::StorageManage
            | Self::AccountRead
            | Self::AccountManage => ActionKind::Server,
        }
    }

    /// What it has to be allowed on to be allowed on all that it can be done to.
    #[must_use]
    pub const fn anywhere(self) -> Object<'static> {
        match self.kind() {
            ActionKind::Fleet | ActionKind::Server => Object::Server,
            ActionKind::Own => Object::Somewhere,
        }
    }

    /// What it allows, in a few words for people.
    #[must_use]
    pub const fn said(self) -> &'static str {
        match self {
            Self::NodeRead => "see nodes and their state",
            Self::ProcessRead => "see processes and their state",
            Self::LogRead => "read logs",
            Self::FeedRead => "follow changes of what may be seen",
            Self::PluginRead => "see plugins and how they do",
            Self::ProcessControl => "start, stop and restart, groups included",
            Self::ProcessSignal => "send signals",
            Self::ProcessInput => "write to standard inputs",
            Self::LogClear => "empty logs",
            Self::NodeUpdate => "have a node read its files, and make it run what they say",
            Self::NodeShutdown => "restart a node's supervisor, and end it",
            Self::ChangeOverride => "override a validator that says \"not now\"",
            Self::ApiKeyRead => "see one's own API keys",
            Self::ApiKeyWrite => "create and revoke one's own API keys",
            Self::ApiKeyAdmin => "see and revoke everybody's API keys",
            Self::PluginManage => "install plugins and roll them back",
            Self::HealthRead => "see how the server does",
            Self::MetricsRead => "read the figures of the server and of all nodes",
            Self::ConfigRead => "see the configuration and its history",
            Self::ConfigManage => "have the configuration read again, and go back",
            Self::NodeManage => "add, change and remove nodes that the file does not declare",
            Self::AuditRead => "read, export and verify the audit",
            Self::BackupCreate => "take a copy of the database",
            Self::StorageManage => "compact the database",
            Self::AccountRead => "see accounts, grants, sessions and roles",
            Self::AccountManage => "change accounts, grants, sessions and roles, up to one's own rights",
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

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actions(u64);

impl Actions {
    /// Every action.
    #[must_use]
    pub fn all() -> Self {
        Action::ALL.into_iter().collect()
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of another are among them.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True without any.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contains(*action))
    }

    /// Their words.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        self.iter().map(|action| action.as_str().to_owned()).collect()
    }
}

const fn bit(action: Action) -> u64 {
    1 << (action as u8)
}

impl FromIterator<Action> for Actions {
    fn from_iter<T: IntoIterator<Item = Action>>(actions: T) -> Self {
        actions.into_iter().fold(Self::default(), |all, action| Self(all.0 | bit(action)))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Action::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Principal, Rights, allows};

    fn principal(role: Role, scopes: &[&str]) -> Principal {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Principal::new("ann".into(), "s".into(), false, Rights::of(role), scopes)
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
            (Action::MetricsRead, [true, true, true]),
            (Action::ConfigRead, [false, false, true]),
            (Action::ConfigManage, [false, false, true]),
            (Action::NodeManage, [false, false, true]),
            (Action::AuditRead, [false, false, true]),
            (Action::BackupCreate, [false, false, true]),
            (Action::StorageManage, [false, false, true]),
            (Action::AccountRead, [false, false, true]),
            (Action::AccountManage, [false, false, true]),
        ];
        assert_eq!(table.map(|(action, _)| action), Action::ALL);
        for (action, expected) in table {
            let allowed = Role::ALL.map(|role| allows(&principal(role, &[]).rights, action, Object::Server));
            assert_eq!(allowed, expected, "{action}");
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
    }

    #[test]
    fn scopes_narrow_and_never_widen() {
        let all = |principal: &Principal| principal.rights.on(Object::Server).iter().collect::<Vec<_>>();
        let ann = principal(Role::Admin, &["process.read", "no.such-action"]);
        assert_eq!((all(&ann), ann.role), (vec![Action::ProcessRead], Some(Role::Admin)));
        assert_eq!(all(&principal(Role::Viewer, &["process.control"])), [], "the role does not");
        assert_eq!(all(&principal(Role::Admin, &["no.such-action", ""])), [], "unknown words grant nothing");
    }
}
