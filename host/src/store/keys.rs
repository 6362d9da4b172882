//! API keys: the table and what may be done to it.

use crate::store::apply::Change;
use crate::store::record::{IssuedKey, decode_key, encode_key};
use crate::store::tables::API_KEYS;
use crate::store::{AuditRecord, Store, StoreError, Write};
use redb::{ReadableTable, ReadableTableMetadata, Table};
use std::sync::Arc;
use std::time::SystemTime;

/// API keys that one account may have at once, neither revoked nor expired.
pub const KEYS_OF_ACCOUNT_MAX: usize = 64;
/// Revoked and expired keys of one account that stay listed; the oldest go first.
const ENDED_OF_ACCOUNT_MAX: usize = 64;
/// API keys in all, so that a list of them is bounded.
pub const KEYS_MAX: usize = 10_000;

type Keys<'txn> = Table<'txn, &'static str, &'static [u8]>;

/// A change of API keys.
pub(super) enum KeyChange {
    Create(IssuedKey),
    Revoke { id: String, at: SystemTime },
    Touch { id: String, used: SystemTime },
}

impl KeyChange {
    /// The account that has to be there for it.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Create(key) => Some(&key.account),
            Self::Revoke { .. } | Self::Touch { .. } => None,
        }
    }

    pub(super) fn apply(&self, keys: &mut Keys<'_>) -> Result<Result<u64, StoreError>, redb::Error> {
        match self {
            Self::Create(key) => create(keys, key),
            // What was revoked first stays so: it is no second revocation.
            Self::Revoke { id, at } => {
                update(keys, id, |key| key.revoked.is_none().then_some(IssuedKey { revoked: Some(*at), ..key }))
            }
            Self::Touch { id, used } => update(keys, id, |key| {
                let is_later = key.last_used.is_none_or(|last| last < *used);
                is_later.then_some(IssuedKey { last_used: Some(*used), ..key })
            }),
        }
    }
}

fn create(keys: &mut Keys<'_>, key: &IssuedKey) -> Result<Result<u64, StoreError>, redb::Error> {
    let mut ended = Vec::new();
    let mut good = 0;
    for entry in keys.iter()? {
        let (id, value) = entry?;
        match decode_key(id.value(), value.value()) {
            Ok(other) if other.account != key.account => {}
            Ok(other) if other.is_good(key.created) => good += 1,
            Ok(other) => ended.push((other.created, other.id)),
            Err(error) => return Ok(Err(error)),
        }
    }
    if good >= KEYS_OF_ACCOUNT_MAX {
        return Ok(Err(StoreError::TooManyKeys { limit: KEYS_OF_ACCOUNT_MAX }));
    }
    if keys.len()? >= KEYS_MAX as u64 {
        return Ok(Err(StoreError::TooManyKeys { limit: KEYS_MAX }));
    }
    ended.sort_unstable();
    let gone = ended.len().saturating_sub(ENDED_OF_ACCOUNT_MAX - 1);
    for (_, id) in ended.into_iter().take(gone) {
        keys.remove(id.as_str())?;
    }
    keys.insert(key.id.as_str(), encode_key(key)?.as_slice())?;
    Ok(Ok(1))
}

fn update(
    keys: &mut Keys<'_>,
    id: &str,
    change: impl FnOnce(IssuedKey) -> Option<IssuedKey>,
) -> Result<Result<u64, StoreError>, redb::Error> {
    let found = keys.get(id)?.map(|value| decode_key(id, value.value()));
    let changed = match found {
        None => None,
        Some(Err(error)) => return Ok(Err(error)),
        Some(Ok(key)) => change(key),
    };
    let Some(key) = changed else { return Ok(Ok(0)) };
    keys.insert(id, encode_key(&key)?.as_slice())?;
    Ok(Ok(1))
}

impl Store {
    /// Keeps an API key and appends `audit` in the same transaction. Beyond 64 that have ended, the account's oldest
    /// such record makes room.
    ///
    /// # Errors
    /// [`StoreError::TooManyKeys`], [`StoreError::NoAccount`]; otherwise as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn create_api_key(&self, key: IssuedKey, audit: AuditRecord) -> Result<(), StoreError> {
        self.write(Some(Change::Key(KeyChange::Create(key))), Some(audit)).await.map(drop)
    }

    /// Revokes an API key and appends `audit` in the same transaction. False if there is no such key or it was revoked
    /// before; then nothing is appended.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn revoke_api_key(&self, id: &str, at: SystemTime, audit: AuditRecord) -> Result<bool, StoreError> {
        let change = Change::Key(KeyChange::Revoke { id: id.to_owned(), at });
        self.write(Some(change), Some(audit)).await.map(|count| count > 0)
    }

    /// Notes that an API key was used, without waiting. A hint, as [`Store::touch_session`].
    ///
    /// # Errors
    /// [`StoreError::Busy`] or [`StoreError::Closed`]; the hint is lost.
    pub fn touch_api_key(&self, id: &str, used: SystemTime) -> Result<(), StoreError> {
        let change = Change::Key(KeyChange::Touch { id: id.to_owned(), used });
        self.send(Write { change: Some(change), audit: None, reply: None })
    }

    /// The API key with this id, whether or not it is good.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn api_key(&self, id: &str) -> Result<Option<IssuedKey>, StoreError> {
        let bytes = self.shared.snapshots.read(|txn| {
            let table = txn.open_table(API_KEYS)?;
            Ok(table.get(id)?.map(|value| value.value().to_vec()))
        })?;
        bytes.map(|bytes| decode_key(id, &bytes)).transpose()
    }

    /// Every API key, good or not, in no order; at most [`KEYS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub async fn api_keys(&self) -> Result<Vec<IssuedKey>, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        let read = tokio::task::spawn_blocking(move || {
            snapshots.read(|txn| {
                let table = txn.open_table(API_KEYS)?;
                let pairs =
                    table.iter()?.map(|pair| pair.map(|(id, value)| (id.value().to_owned(), value.value().to_vec())));
                Ok(pairs.collect::<Result<Vec<_>, _>>()?)
            })
        });
        let pairs = read.await.map_err(|_| StoreError::Closed)??;
        pairs.into_iter().map(|(id, bytes)| decode_key(&id, &bytes)).collect()
    }
}
