use crate::auth::Action;
use crate::model::Fault;
use crate::plugin::JudgeError;
use crate::store::StoreError;
use std::time::Duration;

/// Why somebody was not let in, or an account was not made.
///
/// The texts never say which half of a credential was wrong.
#[derive(Debug, thiserror::Error)]
pub enum AuthRefusal {
    /// No token, an unknown one, or one whose session or account has ended.
    #[error("no credential that is good here came with this; log in")]
    Required,
    /// The credential was not accepted.
    #[error("name, password or token is wrong")]
    Failed,
    /// Known, and not allowed to do that.
    #[error("you may not do `{action}` here")]
    Forbidden {
        /// What was asked.
        action: Action,
    },
    /// Too many failures from this address, or for this account from this address.
    #[error("too many failed attempts; try again in {retry_after:?}")]
    TooManyAttempts {
        /// When the next attempt is looked at.
        retry_after: Duration,
    },
    /// So many logins are being checked that this one was not.
    #[error("too many logins at once; try again in {retry_after:?}")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// A strategy failed. Whoever asked is refused, whatever the next strategy might say.
    #[error("auth strategy `{strategy}` cannot judge now, and nobody is let in unjudged; try again later")]
    Plugin {
        /// The strategy.
        strategy: String,
        /// How.
        #[source]
        source: JudgeError,
    },
    /// The database did not do its part. Without its record nobody is let in.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is an administrator already.
    #[error("the first administrator exists already; log in")]
    SetupDone,
    /// The account's name or password breaks a rule.
    #[error(transparent)]
    Account(#[from] AccountFault),
    /// No strategy of this name sends anybody elsewhere.
    #[error("there is no login at `{strategy}`; see which strategies the operator has configured")]
    NoSuchLogin {
        /// The name asked for.
        strategy: String,
    },
    /// Logins that are sent elsewhere cannot come back.
    #[error(
        "logins at other servers need `external_url` in [server] of the configuration: where users reach this server"
    )]
    NoExternalUrl,
    /// So many logins are under way elsewhere that no other may begin.
    #[error("{limit} logins are under way, which is all that are allowed; try again in some minutes")]
    FlowsFull {
        /// Logins allowed.
        limit: usize,
    },
    /// Somebody came back, and no login of this browser is under way.
    #[error(
        "no login is under way in this browser: it was never begun here, was used already, or took longer than ten \
         minutes; begin again"
    )]
    FlowLost,
    /// So many tickets of one principal, or of all, are good and unused that no other is given.
    #[error("{limit} tickets are unused, which is all that {} have; try again in {retry_after:?}", if *is_own { "one may" } else { "all together may" })]
    TooManyTickets {
        /// Tickets allowed.
        limit: usize,
        /// They are one principal's own.
        is_own: bool,
        /// When the first of them is over.
        retry_after: Duration,
    },
    /// Logout without a session.
    #[error("this request was let in by its credential and has no session to end; revoke the credential instead")]
    NoSession,
    /// Somebody known elsewhere wants what only accounts have.
    #[error("that belongs to accounts, and you are known by another server; log in with an account")]
    NoAccount,
    /// A credential that is limited to some actions wants what no action stands for.
    #[error("this credential is limited to some actions; log in, or use one that is not")]
    Limited,
    /// Somebody wants to grant more than he has, or to change somebody who may do more.
    #[error("{what}; nobody gives, takes or changes what is beyond his own rights")]
    Exceeds {
        /// What is beyond them.
        what: &'static str,
    },
    /// There is no such session of that account.
    #[error("there is no such session; list them to see which there are")]
    NoSuchSession,
    /// Built-in roles stay as they are.
    #[error("the role `{name}` is built in and stays as it is")]
    BuiltIn {
        /// The role.
        name: String,
    },
    /// What is wished of an API key is wrong.
    #[error("{} things about the API key cannot be; see `errors`", .0.len())]
    KeyWish(Vec<KeyFault>),
    /// There is no such API key among those that one may manage.
    #[error("there is no API key `{id}` of yours; list them to see which there are")]
    NoSuchKey {
        /// The id asked for.
        id: String,
    },
    /// Something that only this host can be blamed for.
    #[error("{what} failed")]
    Internal {
        /// What failed.
        what: &'static str,
    },
}

impl AuthRefusal {
    /// A hash takes some hundredths of a second, so after one second the queue has moved on.
    pub(super) const BUSY: Self = Self::Busy { retry_after: Duration::from_secs(1) };

    /// At whose door it lies.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Required
            | Self::Failed
            | Self::Forbidden { .. }
            | Self::TooManyAttempts { .. }
            | Self::SetupDone
            | Self::Account(_)
            | Self::NoSuchLogin { .. }
            | Self::FlowLost
            | Self::TooManyTickets { .. }
            | Self::NoSession
            | Self::NoAccount
            | Self::KeyWish(_)
            | Self::Limited
            | Self::Exceeds { .. }
            | Self::NoSuchSession
            | Self::BuiltIn { .. }
            | Self::NoSuchKey { .. } => Fault::Caller,
            Self::Plugin { .. } => Fault::Plugin,
            Self::Store(error) => error.fault(),
            Self::Busy { .. } | Self::NoExternalUrl | Self::FlowsFull { .. } | Self::Internal { .. } => Fault::Host,
        }
    }
}

/// Which rule a new account breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountFault {
    /// No name.
    #[error("a name is needed")]
    NameEmpty,
    /// Too long a name.
    #[error("the name has {bytes} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that a name may not have.
    #[error("the character {character:?} is not allowed in a name; letters, digits and `. _ - @ +` are")]
    NameCharacter {
        /// The first such character.
        character: char,
    },
    /// Too short a password.
    #[error("the password has {characters} characters, at least {min} are needed")]
    PasswordTooShort {
        /// Characters given.
        characters: usize,
        /// Characters needed.
        min: usize,
    },
    /// Too long a password.
    #[error("the password has {bytes} bytes, at most {max} are allowed")]
    PasswordTooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl AccountFault {
    /// The field that breaks the rule: `username` or `password`.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::NameEmpty | Self::NameTooLong { .. } | Self::NameCharacter { .. } => "username",
            Self::PasswordTooShort { .. } | Self::PasswordTooLong { .. } => "password",
        }
    }

    /// The rule, stable.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NameEmpty => "required",
            Self::NameTooLong { .. } | Self::PasswordTooLong { .. } => "too_long",
            Self::NameCharacter { .. } => "character",
            Self::PasswordTooShort { .. } => "too_short",
        }
    }
}

/// What is wrong with a wished API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No label, too long a one, or one that would break a line.
    #[error("a label of 1 to {max} characters without control characters is needed")]
    Label {
        /// Characters allowed.
        max: usize,
    },
    /// More scopes than there are.
    #[error("at most {max} scopes are allowed")]
    TooManyScopes {
        /// Scopes allowed.
        max: usize,
    },
    /// No such action.
    #[error("there is no such action; those are {}", Action::ALL.map(Action::as_str).join(", "))]
    UnknownScope {
        /// Which of the scopes.
        index: usize,
    },
    /// An action that whoever makes the key may not do.
    #[error("you may not do `{action}` yourself, so no key of yours may")]
    ScopeExceeds {
        /// Which of the scopes.
        index: usize,
        /// The action.
        action: Action,
    },
    /// A key for all that the account may, made with a credential that may less.
    #[error("your own credential is limited, so name the scopes of the key")]
    ScopesNeeded,
    /// It would have ended before it began.
    #[error("the key would have ended already")]
    Past,
    /// It would last longer than the credential that makes it.
    #[error("the key would last longer than the credential that makes it; give it an end before that")]
    Outlives,
}

impl KeyFault {
    /// The field, as the end of a JSON pointer: `label`, `scopes`, `scopes/2`, `expires_in_s`.
    #[must_use]
    pub fn field(self) -> String {
        match self {
            Self::Label { .. } => "label".to_owned(),
            Self::TooManyScopes { .. } | Self::ScopesNeeded => "scopes".to_owned(),
            Self::UnknownScope { index } | Self::ScopeExceeds { index, .. } => format!("scopes/{index}"),
            Self::Past | Self::Outlives => "expires_in_s".to_owned(),
        }
    }

    /// The rule, stable.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Label { .. } => "label",
            Self::TooManyScopes { .. } => "too_many",
            Self::UnknownScope { .. } => "unknown_scope",
            Self::ScopeExceeds { .. } => "exceeds",
            Self::ScopesNeeded => "required",
            Self::Past => "past",
            Self::Outlives => "outlives",
        }
    }
}
