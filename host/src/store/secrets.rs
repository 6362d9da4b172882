//! The sealed secrets: their table, and the change of their key.

use crate::config::{StorageConfig, StorageKey};
use crate::model::Secret;
use crate::store::apply::Tables;
use crate::store::audit::AuditRecord;
use crate::store::configuration::Configuration;
use crate::store::disk::{Access, open_at, open_file};
use crate::store::error::is_full;
use crate::store::seal::{Sealer, SecretGap, SecretKind, SecretPlace, key_id_of};
use crate::store::tables::{META, SECRETS, SECRETS_KEY, adopt};
use crate::store::{Store, StoreError};
use redb::{Database, ReadTransaction, ReadableTable, ReadableTableMetadata, TableError};
use std::collections::BTreeSet;
use std::path::Path;

/// Records that are ready to be written: each with its key, and the check value of what sealed them.
pub(super) struct SealedSecrets {
    records: Vec<(String, Vec<u8>)>,
    check: Vec<u8>,
}

impl Store {
    /// Whether there is a key, so that secrets are taken.
    #[must_use]
    pub fn can_seal(&self) -> bool {
        self.shared.sealer.is_some()
    }

    /// The secret of a place, or why it cannot be had.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Closed`].
    pub fn secret(&self, place: &SecretPlace) -> Result<Result<Secret, SecretGap>, StoreError> {
        let key = place.key();
        let record = self.shared.snapshots.read(|txn| {
            let table = txn.open_table(SECRETS)?;
            Ok(table.get(key.as_str())?.map(|value| value.value().to_vec()))
        })?;
        Ok(match (record, &self.shared.sealer) {
            (None, _) => Err(SecretGap::Absent),
            (Some(_), None) => Err(SecretGap::NoKey),
            (Some(record), Some(sealer)) => sealer.open(place, &record),
        })
    }

    /// Seals what is to be written.
    pub(super) fn seal(&self, secrets: &[(SecretPlace, Secret)]) -> Result<Option<SealedSecrets>, StoreError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let sealer = self.shared.sealer.as_ref().ok_or(StoreError::NoKey)?;
        let seal = |(place, secret): &(SecretPlace, Secret)| Ok((place.key(), sealer.seal(place, secret)?));
        let records = secrets.iter().map(seal).collect::<Result<_, StoreError>>()?;
        Ok(Some(SealedSecrets { records, check: sealer.check()? }))
    }
}

/// Writes what is sealed, and removes the secrets of nodes that do not ask for them any more.
pub(super) fn put(
    tables: &mut Tables<'_>,
    configuration: &Configuration,
    sealed: Option<&SealedSecrets>,
) -> Result<(), redb::Error> {
    if let Some(SealedSecrets { records, check }) = sealed {
        for (key, record) in records {
            tables.secrets.insert(key.as_str(), record.as_slice())?;
        }
        tables.meta.insert(SECRETS_KEY, check.as_slice())?;
    }
    let wanted: BTreeSet<&str> =
        configuration.managed.iter().filter(|node| node.has_kept_password).map(|node| node.name.as_str()).collect();
    let beginning = format!("{}/", SecretKind::NodePassword.as_str());
    tables.secrets.retain(|key, _| key.strip_prefix(&beginning).is_none_or(|name| wanted.contains(name)))?;
    if tables.secrets.is_empty()? {
        // Whatever key comes next is welcome.
        tables.meta.remove(SECRETS_KEY)?;
    }
    Ok(())
}

/// Whether what is in a database can be opened with this key.
///
/// # Errors
/// [`StoreError::WrongKey`]; reading failed.
pub(super) fn check_key(path: &Path, txn: &ReadTransaction, sealer: &Sealer) -> Result<(), StoreError> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let meta = match txn.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            meta => meta?,
        };
        Ok(meta.get(SECRETS_KEY)?.map(|value| value.value().to_vec()))
    };
    let check = read().map_err(|source| StoreError::Read { source: Box::new(source) })?;
    match check {
        Some(check) if !sealer.made(&check) => Err(wrong_key(path, &check, sealer)),
        Some(_) | None => Ok(()),
    }
}

fn wrong_key(path: &Path, check: &[u8], given: &Sealer) -> StoreError {
    let sealed_with = key_id_of(check).unwrap_or_else(|| "unknown".to_owned());
    StoreError::WrongKey { path: path.to_owned(), sealed_with, given: given.id().to_owned() }
}

/// What a change of the key came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets in the database.
    pub secrets: u64,
    /// The public name of the key that seals them now.
    pub key: String,
    /// False when that was so before.
    pub is_changed: bool,
}

/// Seals every secret of a database with another key, which no server may have open. One transaction: after a kill at any
/// moment all of them are sealed with the one key or all with the other. `record` goes into the audit with it.
///
/// # Errors
/// [`StoreError::NoKey`] when the configuration has none and there are secrets, [`StoreError::WrongKey`] when they are
/// sealed with neither, [`StoreError::Record`] when one does not open, [`StoreError::Locked`] while a server runs,
/// [`StoreError::Full`]; as for [`Store::open`]. Nothing was changed then.
pub fn rotate(
    storage: &StorageConfig,
    new: &StorageKey,
    record: impl FnOnce(&str) -> AuditRecord,
) -> Result<Rotated, StoreError> {
    let path = &storage.path;
    let to = Sealer::new(new)?;
    let database = open_at(path, Access::Write, &open_file)?;
    adopt(path, &database)?;
    let from = storage.key.as_ref().map(Sealer::new).transpose()?;
    rotate_in(path, &database, from.as_ref(), &to, record).map_err(|error| {
        if is_full(&error) {
            return StoreError::Full;
        }
        StoreError::Damaged { path: path.clone(), source: Some(Box::new(error)) }
    })?
}

fn rotate_in(
    path: &Path,
    database: &Database,
    from: Option<&Sealer>,
    to: &Sealer,
    record: impl FnOnce(&str) -> AuditRecord,
) -> Result<Result<Rotated, StoreError>, redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    let made = reseal(path, &mut Tables::open(&txn)?, from, to, record)?;
    if made.as_ref().is_ok_and(|rotated| rotated.is_changed) {
        txn.commit()?;
    } else {
        txn.abort()?;
    }
    Ok(made)
}

fn reseal(
    path: &Path,
    tables: &mut Tables<'_>,
    from: Option<&Sealer>,
    to: &Sealer,
    record: impl FnOnce(&str) -> AuditRecord,
) -> Result<Result<Rotated, StoreError>, redb::Error> {
    let (secrets, key) = (tables.secrets.len()?, to.id().to_owned());
    let Some(check) = tables.meta.get(SECRETS_KEY)?.map(|value| value.value().to_vec()) else {
        return Ok(Ok(Rotated { secrets, key, is_changed: false }));
    };
    if to.made(&check) {
        return Ok(Ok(Rotated { secrets, key, is_changed: false }));
    }
    let Some(from) = from else { return Ok(Err(StoreError::NoKey)) };
    if !from.made(&check) {
        return Ok(Err(wrong_key(path, &check, from)));
    }
    let mut resealed = Vec::new();
    for entry in tables.secrets.iter()? {
        let (name, value) = entry?;
        match from.reseal(name.value(), value.value(), to) {
            Ok(Some(record)) => resealed.push((name.value().to_owned(), record)),
            Ok(None) => return Ok(Err(StoreError::Record { table: "secrets" })),
            Err(error) => return Ok(Err(error)),
        }
    }
    for (name, record) in resealed {
        tables.secrets.insert(name.as_str(), record.as_slice())?;
    }
    let check = match to.check() {
        Ok(check) => check,
        Err(error) => return Ok(Err(error)),
    };
    tables.meta.insert(SECRETS_KEY, check.as_slice())?;
    tables.append(&record(to.id()))?;
    tables.finish()?;
    Ok(Ok(Rotated { secrets, key, is_changed: true }))
}
