//! Durable records behind one writer thread; readers never wait for it.
//!
//! The only room that names redb. Knows nothing of passwords, tokens or permissions: it keeps what it is given. Every
//! write goes through one bounded queue to one thread, which puts all that waits into one transaction and answers each
//! caller once that transaction is on the disk: what was acknowledged survives a kill.
//!
//! Accounts and sessions have the shape of a key-value table, the audit that of a log that only grows, so that another
//! engine can take either place later. Entry point: [`Store::open`].

mod accounts;
mod apply;
mod audit;
mod backup;
mod compact;
mod condition;
mod configuration;
mod disk;
mod error;
mod figures;
mod generation;
mod keys;
mod overlay;
mod reader;
mod record;
mod seal;
mod secrets;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::SlowDisk;
mod writer;

pub use accounts::{ACCOUNTS_MAX, AccountEdit, Editor, GRANTS_MAX, ROLES_MAX};
pub use audit::{
    AUDIT_PAGE_MAX, AUDIT_PURGE_MAX, AUDIT_SCAN_MAX, AuditCursor, AuditEntry, AuditFault, AuditFilter, AuditLink,
    AuditMark, AuditOrder, AuditOutcome, AuditPage, AuditQuery, AuditRecord, AuditVerdict,
};
pub use backup::{BackupFacts, Restored, inspect, restore};
pub use compact::{Compaction, StoreUsage};
pub use condition::StoreCondition;
pub use configuration::{CONFIGURATION_BYTES_MAX, CONFIGURATIONS_MAX, Configuration};
pub use error::StoreError;
pub use figures::StoreFigures;
pub use generation::Generations;
pub use keys::{KEYS_MAX, KEYS_OF_ACCOUNT_MAX};
pub use record::{Account, CustomRole, IssuedKey, Session, SessionId};
pub use seal::{SecretGap, SecretKind, SecretPlace};
pub use secrets::{Rotated, rotate};

use crate::config::StorageConfig;
use crate::model::Secret;
use apply::Change;
use seal::Sealer;
use snapshot::Snapshots;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use writer::{Order, Write};

/// Writes that may wait for the writer thread. Beyond it a write is refused with [`StoreError::Busy`].
pub const WRITES_MAX: usize = 1_024;

/// How long a caller waits for its write to be on the disk.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The database. Cheap to clone; the file is let go when the last clone is dropped or after [`Store::close`].
///
/// Dropping the last clone waits for the writer thread to finish what it was given.
#[derive(Clone)]
pub struct Store {
    // Declared first: the thread ends when the last sender is gone, and `shared` waits for the thread.
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

struct Shared {
    snapshots: Arc<Snapshots>,
    instance_id: String,
    path: PathBuf,
    /// The key of the secrets, if there is one.
    sealer: Option<Arc<Sealer>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer thread panicked; its last writes were not acknowledged");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.join();
    }
}

impl Store {
    /// Opens the database, creating it (mode 0600) and its directory (0700) where they are missing.
    ///
    /// Blocks while it reads the file and, after a crash, repairs it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process has it open, [`StoreError::NewerSchema`] and
    /// [`StoreError::NotADatabase`] without changing the file, [`StoreError::WrongKey`] when the key is not the one of the
    /// secrets in it, [`StoreError::Damaged`], [`StoreError::Open`].
    pub fn open(config: &StorageConfig) -> Result<Self, StoreError> {
        Self::open_with(config, disk::open_file)
    }

    fn open_with(config: &StorageConfig, opener: impl disk::Opener) -> Result<Self, StoreError> {
        let (orders, inbox) = mpsc::channel(WRITES_MAX);
        let sealer = config.key.as_ref().map(Sealer::new).transpose()?.map(Arc::new);
        let opener = Box::new(opener);
        let (snapshots, instance_id, thread) = writer::start(config.path.clone(), opener, sealer.clone(), inbox)?;
        let (path, thread) = (config.path.clone(), Mutex::new(Some(thread)));
        Ok(Self { orders, shared: Arc::new(Shared { snapshots, instance_id, path, sealer, thread }) })
    }

    /// The random name that this database was given when it was created: 32 hexadecimal digits.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.shared.instance_id
    }

    /// Carries out every write that was accepted before, closes the file and ends the writer thread.
    ///
    /// Later reads and writes, and a second close, answer [`StoreError::Closed`].
    ///
    /// # Errors
    /// [`StoreError::Closed`] if it was closed before.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.orders.send(Order::Close(reply)).await.map_err(|_| StoreError::Closed)?;
        done.await.map_err(|_| StoreError::Closed)?;
        // The thread answered with its last breath, so this does not wait.
        self.shared.join();
        Ok(())
    }

    /// Differs from what it was when accounts have been changed since. Does not wait and asks nobody.
    #[must_use]
    pub fn account_changes(&self) -> u64 {
        self.shared.snapshots.account_changes()
    }

    /// Keeps a session and appends `audit` in the same transaction.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn put_session(&self, id: SessionId, session: Session, audit: AuditRecord) -> Result<(), StoreError> {
        self.write(Some(Change::PutSession { id, session }), Some(audit)).await.map(drop)
    }

    /// Removes a session and appends `audit` in the same transaction. False if it was not there; then nothing is
    /// appended, so that ending a session twice is audited once.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn delete_session(&self, id: SessionId, audit: AuditRecord) -> Result<bool, StoreError> {
        self.write(Some(Change::DeleteSession { id }), Some(audit)).await.map(|count| count > 0)
    }

    /// Notes that a session was used, without waiting. Merged with other writes, never moves backwards, and has no
    /// effect on a session that is gone. It is a hint: a kill may lose it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] or [`StoreError::Closed`]; the hint is lost.
    pub fn touch_session(&self, id: SessionId, used: SystemTime) -> Result<(), StoreError> {
        self.send(Write { change: Some(Change::TouchSession { id, used }), audit: None, reply: None })
    }

    /// Removes every session that is over at `now`: past its end, or unused for `idle_timeout`. Answers how many.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn purge_sessions(&self, now: SystemTime, idle_timeout: Duration) -> Result<u64, StoreError> {
        self.write(Some(Change::PurgeSessions { now, idle_timeout }), None).await
    }

    /// Appends a record to the audit and waits until it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the queue is full and [`StoreError::Closed`]: nothing is written.
    /// [`StoreError::Full`] when the disk is full: nothing is written, and a later write may succeed.
    /// [`StoreError::Broken`] after any other failure of the disk, until the process is restarted.
    /// [`StoreError::TimedOut`] when it took too long: it may still be written.
    ///
    /// # Cancel safety
    /// Dropping the future before its first poll writes nothing; later, the record is written all the same.
    pub async fn append_audit(&self, record: AuditRecord) -> Result<(), StoreError> {
        self.write(None, Some(record)).await.map(drop)
    }

    /// Writes something small, to see whether the disk takes it. What is written changes nothing for anybody.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(Some(Change::Probe), None).await.map(drop)
    }

    /// The key under which compiled plugins are sealed: 64 hexadecimal digits, drawn once for each database.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`]; where it has to be made first, as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn artefact_key(&self) -> Result<Secret, StoreError> {
        if let Some(key) = self.find_artefact_key()? {
            return Ok(key);
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)
            .map_err(|error| StoreError::Read { source: Box::new(redb::Error::Io(error.into())) })?;
        let key = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.write(Some(Change::MakeArtefactKey { key: Secret::new(key) }), None).await?;
        // Read back: another caller may have been first.
        self.find_artefact_key()?.ok_or(StoreError::Record { table: "meta" })
    }

    async fn write(&self, change: Option<Change>, audit: Option<AuditRecord>) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Write { change, audit, reply: Some(reply) })?;
        match tokio::time::timeout(WRITE_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::TimedOut { limit: WRITE_TIMEOUT }),
        }
    }

    fn send(&self, write: Write) -> Result<(), StoreError> {
        self.orders.try_send(Order::Write(Box::new(write))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.shared.snapshots.counters.refused();
                StoreError::Busy { limit: WRITES_MAX }
            }
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("instance_id", &self.shared.instance_id).finish_non_exhaustive()
    }
}
