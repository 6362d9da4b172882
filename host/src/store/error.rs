use crate::model::Fault;
use redb::DatabaseError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// So many writes are waiting that this one was not accepted. Nothing was written.
    #[error("{limit} writes are waiting for the database, which is all that are allowed")]
    Busy {
        /// Writes that may wait.
        limit: usize,
    },
    /// The write took too long. It may still be written.
    #[error("the database did not confirm a write within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The disk is full. Nothing was written; reads go on, and writes succeed again once there is room.
    #[error("the disk of the database is full")]
    Full,
    /// The disk takes no writes. Nothing was written; reads go on, and writes succeed again once it takes them.
    #[error("the disk of the database takes no writes")]
    ReadOnly,
    /// Somebody reads what was there before the last compaction, such as a copy under way. Nothing was done.
    #[error("the database was compacted a moment ago and is still read as it was before; try again later")]
    ReadUnderWay,
    /// A write failed for another reason than a full disk, and the file's state is not known any more. No write is
    /// tried until the process is restarted.
    #[error("the database takes no more writes until a restart, because one failed")]
    Broken {
        /// What failed.
        #[source]
        source: Arc<redb::Error>,
    },
    /// A read failed.
    #[error("the database could not be read")]
    Read {
        /// What failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// A value is not what this version writes.
    #[error("a record of table `{table}` cannot be understood")]
    Record {
        /// The table.
        table: &'static str,
    },
    /// The store was closed.
    #[error("the database is closed")]
    Closed,
    /// Another process has the file open.
    #[error("another Omnivisor is running on this data ({})", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version. It was not changed.
    #[error(
        "{} was written by a newer Omnivisor (schema {found}, this one knows up to {supported}); start that version",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this version knows.
        supported: u32,
    },
    /// The file is something else. It was not changed.
    #[error("{} is not a database of Omnivisor: {reason}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
    /// The file is a database and its contents are damaged.
    #[error("the database {} is damaged; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found, if the engine said so.
        #[source]
        source: Option<Box<redb::Error>>,
    },
    /// The file or its directory cannot be opened or created.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The secrets in the file are sealed with another key. Nothing was changed.
    #[error(
        "the secrets in {} are sealed with the key {sealed_with}, and the configured one is {given}; name the former, \
         or change it with `omnivisor secrets rotate`",
        path.display()
    )]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// The public name of the key that seals them.
        sealed_with: String,
        /// That of the one which was given.
        given: String,
    },
    /// There is no key to seal or open secrets with.
    #[error("there is no key for the secrets in the database; name one as `key_file` in `[storage]`")]
    NoKey,
    /// The machine gave no random numbers, or the cipher refused.
    #[error("a secret could not be sealed")]
    Sealing,
    /// The account's name is taken.
    #[error("there is an account `{name}` already")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// The account has as many API keys as it may have, or all accounts together have.
    #[error("there are {limit} API keys, which is all that are allowed; revoke one first")]
    TooManyKeys {
        /// Keys allowed.
        limit: usize,
    },
    /// The first account was to be created, and there is one.
    #[error("there are accounts already")]
    AccountsExist,
    /// There are as many accounts or roles as there may be.
    #[error("there are {limit} {what}, which is all that are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// There is no such account.
    #[error("there is no account `{name}`")]
    NoAccount {
        /// The name.
        name: String,
    },
    /// There is no such role.
    #[error("there is no role `{name}`")]
    NoRole {
        /// The name.
        name: String,
    },
    /// The role's name is taken.
    #[error("there is a role `{name}` already")]
    RoleExists {
        /// The name.
        name: String,
    },
    /// What was to be changed has been changed since it was read, or whoever changes it has been.
    #[error("it has been changed since you read it; read it again")]
    Stale,
    /// The role is granted to accounts.
    #[error("the role `{name}` is granted to {accounts} accounts; take it from them first")]
    RoleInUse {
        /// The role.
        name: String,
        /// How many have it.
        accounts: usize,
    },
    /// Nobody would be left who may do everything.
    #[error("the last enabled account with the role admin over everything stays as it is; make another one first")]
    LastAdministrator,
}

impl StoreError {
    /// At whose door it lies.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::AccountExists { .. }
            | Self::AccountsExist
            | Self::TooManyKeys { .. }
            | Self::TooMany { .. }
            | Self::NoAccount { .. }
            | Self::NoRole { .. }
            | Self::RoleExists { .. }
            | Self::Stale
            | Self::RoleInUse { .. }
            | Self::LastAdministrator => Fault::Caller,
            Self::Busy { .. }
            | Self::TimedOut { .. }
            | Self::Full
            | Self::ReadOnly
            | Self::ReadUnderWay
            | Self::Broken { .. }
            | Self::Read { .. }
            | Self::Record { .. }
            | Self::Closed
            | Self::Locked { .. }
            | Self::NewerSchema { .. }
            | Self::NotADatabase { .. }
            | Self::Damaged { .. }
            | Self::WrongKey { .. }
            | Self::NoKey
            | Self::Sealing
            | Self::Open { .. } => Fault::Host,
        }
    }
}

impl StoreError {
    /// Why a file could not be opened as a database.
    pub(super) fn of_opening(path: &Path, error: DatabaseError) -> Self {
        let path = path.to_owned();
        if matches!(error, DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) {
            return Self::Locked { path };
        }
        let error = redb::Error::from(error);
        let redb::Error::Io(source) = error else {
            return Self::Damaged { path, source: Some(Box::new(error)) };
        };
        if source.kind() == io::ErrorKind::InvalidData {
            return Self::NotADatabase { path, reason: "it does not begin like one" };
        }
        Self::Open { path, source }
    }
}

/// True when an operation failed for want of room, which passes by itself.
pub(super) fn is_full(error: &redb::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(io) if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}

/// True when an operation failed because the disk takes no writes, as after it was mounted for reading alone. Nothing was
/// written then, and it may be mounted for writing again.
pub(super) fn is_read_only(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(io) if io.kind() == io::ErrorKind::ReadOnlyFilesystem)
}
