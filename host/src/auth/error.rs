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
    #[error("a valid session is needed; log in")]
    Required,
    /// The credential was not accepted.
    #[error("name, password or token is wrong")]
    Failed,
    /// Known, and not allowed to do that.
    #[error("the role does not allow `{action}`")]
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
    #[error("auth strategy `{strategy}` failed")]
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
            | Self::Account(_) => Fault::Caller,
            Self::Plugin { .. } => Fault::Plugin,
            Self::Store(error) => error.fault(),
            Self::Busy { .. } | Self::Internal { .. } => Fault::Host,
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
