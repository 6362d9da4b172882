use crate::model::{Action, Actions, Rights, Secret};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who asks, once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The account's name, or `STRATEGY/NAME` of somebody known elsewhere. No account has a slash in its name.
    pub name: String,
    /// The highest built-in role that it has over everything, if it has one.
    pub role: Option<Role>,
    /// The strategy that vouched for it, e.g. `auth-local`.
    pub strategy: String,
    /// True of somebody known elsewhere, who has no account here.
    pub is_external: bool,
    /// The actions that its credential is limited to, e.g. `process.read`; empty for all that the role may. A word that
    /// is no action allows nothing.
    pub scopes: Vec<String>,
    /// What it may do: what it was granted, within its credential's scopes.
    pub rights: Arc<Rights>,
}

impl Principal {
    /// Somebody with these rights, by a credential that is limited to these actions, or to none in particular.
    #[must_use]
    pub fn new(name: String, strategy: String, is_external: bool, granted: Arc<Rights>, scopes: Vec<String>) -> Self {
        let role = granted.role();
        let rights = if scopes.is_empty() {
            granted
        } else {
            let limit: Actions = scopes.iter().filter_map(|word| Action::parse(word)).collect();
            Arc::new(granted.narrowed(limit))
        };
        Self { name, role, strategy, is_external, scopes, rights }
    }
}

/// The built-in roles. Each may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads states and logs.
    Viewer,
    /// Also starts, stops and restarts.
    Operator,
    /// Also everything else.
    Admin,
}

impl Role {
    /// The built-in roles, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// What it may do.
    #[must_use]
    pub fn actions(self) -> Actions {
        Action::ALL.into_iter().filter(|action| action.needs() <= self).collect()
    }

    /// The word used on the wire, in the store and in the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads such a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What somebody offers to prove who they are.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The account's name.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// What stood behind `Authorization: Bearer`, and is no session's token.
    Bearer {
        /// The text.
        token: Secret,
    },
    /// The request headers that a strategy wanted to see.
    Headers {
        /// Names in lower case, with their values.
        headers: Vec<(String, String)>,
    },
}

/// Whose name an identity has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// An account of the host.
    Account,
    /// Somebody known elsewhere, with the role that the strategy asks for them. The operator's grant bounds it.
    External(Role),
}

/// The one whom a strategy recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name, 1 to 255 bytes without control characters.
    pub name: String,
    /// Whose it is.
    pub source: IdentitySource,
    /// The actions that the credential is limited to; empty for all that the role may.
    pub scopes: Vec<String>,
    /// When it ends at the latest.
    pub expires: Option<SystemTime>,
}

/// What a strategy says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrategyInfo {
    /// The kinds of credential it looks at: `password`, `bearer`, `headers`, `redirect`.
    pub credentials: Vec<String>,
    /// The request headers it wants to see, in lower case.
    pub request_headers: Vec<String>,
}

/// Where a strategy sends the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// The address.
    pub url: String,
    /// What the strategy wants back when the browser is. Never leaves the host.
    pub keep: Secret,
}

/// What a strategy may know about the request besides the credential.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// Who asks, which a trusted proxy may have said: what limits and the audit go by.
    pub address: IpAddr,
    /// The other end of the connection, which nobody can say otherwise: what strategies are told.
    pub peer: IpAddr,
    /// The request's id.
    pub request_id: String,
}

/// A strategy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes: this is them.
    Granted(Identity),
    /// No. The code goes to log and audit, never to the one who asked.
    Denied {
        /// Why, e.g. `bad_password`.
        code: String,
    },
    /// This strategy does not deal with such credentials; ask the next one.
    NotMine,
}
