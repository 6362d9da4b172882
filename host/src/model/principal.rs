use crate::model::Secret;
use std::net::IpAddr;

/// Who asks, once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The account's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The strategy that vouched for it, e.g. `auth-local`.
    pub strategy: String,
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
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word)
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
}

/// What a strategy may know about the request besides the credential.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// The peer's address.
    pub address: IpAddr,
    /// The request's id.
    pub request_id: String,
}

/// A strategy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes: this is that account.
    Granted {
        /// The account's name, as the strategy knows it.
        name: String,
    },
    /// No. The code goes to log and audit, never to the one who asked.
    Denied {
        /// Why, e.g. `bad_password`.
        code: String,
    },
    /// This strategy does not deal with such credentials; ask the next one.
    NotMine,
}
