//! Copies of the whole database: taken while it is in use, looked into, put back.

use crate::config::StorageConfig;
use crate::store::apply::{self, Change};
use crate::store::audit::{AuditRecord, AuditVerdict, verify};
use crate::store::disk::{Access, open_at, open_file, open_for};
use crate::store::error::is_full;
use crate::store::tables::{
    ACCOUNTS, API_KEYS, AUDIT, CONFIGURATIONS, Contents, GENERATIONS, META, ROLES, SECRETS, SESSIONS, adopt, examine,
};
use crate::store::writer::Write;
use crate::store::{Store, StoreError};
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError, TableHandle, Value, WriteTransaction,
};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// What a copy of the database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFacts {
    /// The instance that it is of.
    pub instance: String,
    /// Accounts in it.
    pub accounts: u64,
    /// What going through its audit showed.
    pub audit: AuditVerdict,
}

impl Store {
    /// Copies all that was acknowledged until now into a new file (mode 0600), opens the copy and goes through it. The
    /// store is read and written meanwhile as ever. On a thread of its own; a copy that fails is removed.
    ///
    /// # Errors
    /// [`StoreError::Open`] when there is such a file or it cannot be made, [`StoreError::Full`] without room for it,
    /// [`StoreError::Damaged`] when the copy is not what it should be, [`StoreError::Read`], [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// The copy is made to its end when the future is dropped.
    pub async fn back_up(&self, path: PathBuf) -> Result<BackupFacts, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        let made = tokio::task::spawn_blocking(move || {
            let target = create(&path)?;
            let copied = snapshots.read(|txn| Ok(copy(txn, &target, &path))).and_then(std::convert::identity);
            // Closed, so that what is looked into is what is on the disk.
            drop(target);
            let looked_into = copied.and_then(|()| inspect(&path));
            if looked_into.is_err() {
                // It is of no use; that it cannot be removed either changes nothing.
                drop(fs::remove_file(&path));
            }
            looked_into
        });
        made.await.map_err(|_| StoreError::Closed)?
    }
}

/// Looks into a copy, or into the database of a server that is not running, without changing it.
///
/// # Errors
/// As for [`Store::open`]; one of an older schema is [`StoreError::NotADatabase`] here.
pub fn inspect(path: &Path) -> Result<BackupFacts, StoreError> {
    let damaged = |source: redb::Error| StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(source)) };
    let database = open_at(path, Access::Read, &open_file)?;
    let txn = database.begin_read().map_err(|error| damaged(error.into()))?;
    let instance = match examine(path, &txn)? {
        Contents::Ours(instance) => instance,
        Contents::Empty => return Err(StoreError::NotADatabase { path: path.to_owned(), reason: "it is empty" }),
        Contents::Older { .. } => {
            let reason = "it is of an older version; start a server on it once";
            return Err(StoreError::NotADatabase { path: path.to_owned(), reason });
        }
    };
    let look = || -> Result<_, redb::Error> { Ok((txn.open_table(ACCOUNTS)?.len()?, verify(&txn, None)?)) };
    let (accounts, audit) = look().map_err(damaged)?;
    Ok(BackupFacts { instance, accounts, audit })
}

/// What was put back, and where what was there before is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the copy held.
    pub facts: BackupFacts,
    /// Sessions that it held too; they have ended.
    pub sessions_ended: u64,
    /// The file that was there before, if there was one.
    pub aside: Option<PathBuf>,
}

/// Puts a copy in the place of the database, which no server may have open. What was there is kept beside it. All
/// sessions of the copy end, since some may have ended already; `record` is appended to its audit.
///
/// # Errors
/// As for [`inspect`]; [`StoreError::Damaged`] when the copy's audit is not whole, [`StoreError::Locked`] while a server
/// runs, [`StoreError::Full`], [`StoreError::Open`]. Nothing was changed then.
pub fn restore(copy: &Path, storage: &StorageConfig, record: AuditRecord) -> Result<Restored, StoreError> {
    let facts = inspect(copy)?;
    if facts.audit.fault.is_some() {
        return Err(StoreError::Damaged { path: copy.to_owned(), source: None });
    }
    let target = &storage.path;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| explain_io(path, source)
    };
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(at(directory))?;
    // Held until the names are exchanged: a server that starts meanwhile is refused.
    let held = if target.exists() { Some(hold(target)?) } else { None };
    let fresh = beside(target, "restoring");
    let put = || -> Result<u64, StoreError> {
        let mut source = File::open(copy).map_err(at(copy))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(at(&fresh))?;
        io::copy(&mut source, &mut file).and_then(|_| file.sync_all()).map_err(at(&fresh))?;
        drop(file);
        end_sessions(&fresh, record)
    };
    let sessions_ended = put().inspect_err(|_| drop(fs::remove_file(&fresh)))?;
    let aside = held.as_ref().map(|_| beside(target, "before-restore"));
    if let Some(aside) = &aside {
        fs::rename(target, aside).map_err(at(target))?;
    }
    fs::rename(&fresh, target).map_err(at(&fresh))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))?;
    Ok(Restored { facts, sessions_ended, aside })
}

/// A name beside the database's that nothing has yet: with the time, and a number where that is taken.
fn beside(target: &Path, what: &str) -> PathBuf {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = (0_u32..).map(|number| target.with_file_name(format!("{name}.{what}-{since}-{number}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| target.with_file_name(format!("{name}.{what}")))
}

fn hold(target: &Path) -> Result<Option<Database>, StoreError> {
    // Of a file that cannot be opened nobody can say whether a server has it.
    drop(open_for(target, Access::Read)?);
    match open_at(target, Access::Read, &open_file) {
        Ok(database) => Ok(Some(database)),
        Err(locked @ StoreError::Locked { .. }) => Err(locked),
        // It is put aside whatever it is: a damaged one is why people restore.
        Err(_) => Ok(None),
    }
}

fn end_sessions(path: &Path, record: AuditRecord) -> Result<u64, StoreError> {
    let damaged = |source: redb::Error| StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(source)) };
    let database = open_at(path, Access::Write, &open_file)?;
    adopt(path, &database)?;
    let write = |change, audit| Write { change, audit, reply: None };
    let batch = [write(Some(Change::EndSessions), None), write(None, Some(record))];
    let results = apply::commit(&database, &batch).map_err(damaged)?;
    results.into_iter().next().unwrap_or(Ok(0))
}

/// An empty database that is to become a copy.
fn create(path: &Path) -> Result<Database, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|source| explain_io(path.to_owned(), source))?;
    open_file(file, Access::Write).map_err(|error| StoreError::of_opening(path, error))
}

fn copy(from: &ReadTransaction, to: &Database, path: &Path) -> Result<(), StoreError> {
    copy_tables(from, to).map_err(|error| {
        if is_full(&error) {
            return StoreError::Full;
        }
        StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(error)) }
    })
}

/// Copies every table in one durable transaction.
pub(super) fn copy_tables(from: &ReadTransaction, to: &Database) -> Result<(), redb::Error> {
    let mut txn = to.begin_write()?;
    txn.set_quick_repair(true);
    copy_table(from, &txn, META)?;
    copy_table(from, &txn, ACCOUNTS)?;
    copy_table(from, &txn, SESSIONS)?;
    copy_table(from, &txn, ROLES)?;
    copy_table(from, &txn, API_KEYS)?;
    copy_table(from, &txn, SECRETS)?;
    copy_table(from, &txn, GENERATIONS)?;
    copy_table(from, &txn, CONFIGURATIONS)?;
    copy_table(from, &txn, AUDIT)?;
    // A table that is forgotten above must not be missed only when the copy is needed.
    let copied: BTreeSet<String> = txn.list_tables()?.map(|table| table.name().to_owned()).collect();
    if let Some(table) = from.list_tables()?.find(|table| !copied.contains(table.name())) {
        return Err(redb::Error::Corrupted(format!("the copy does not know the table `{}`", table.name())));
    }
    Ok(txn.commit()?)
}

/// Copies a table, if there is one.
fn copy_table<K: Key, V: Value>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), redb::Error> {
    let source = match from.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        source => source?,
    };
    let mut target = to.open_table(table)?;
    for pair in source.iter()? {
        let (key, value) = pair?;
        target.insert(key.value(), value.value())?;
    }
    Ok(())
}

fn explain_io(path: PathBuf, source: io::Error) -> StoreError {
    if is_full(&redb::Error::Io(io::Error::from(source.kind()))) {
        return StoreError::Full;
    }
    StoreError::Open { path, source }
}
