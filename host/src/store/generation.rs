use crate::store::apply::Change;
use crate::store::record::{decode, encode};
use crate::store::tables::GENERATIONS;
use crate::store::{AuditRecord, Store, StoreError};
use redb::{ReadableTable, TableError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of one plugin's generations. Digests are SHA-256 in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// The number of the one that was made last.
    pub generation: u64,
    /// The component that serves.
    pub active: String,
    /// The one before it.
    pub previous: Option<String>,
    /// Components that were rolled back, oldest first.
    pub refused: Vec<String>,
}

impl Store {
    /// What is known of every plugin's generations, by the plugin's name.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn generations(&self) -> Result<BTreeMap<String, Generations>, StoreError> {
        let pairs = self.shared.snapshots.read(|txn| {
            let table = match txn.open_table(GENERATIONS) {
                // A database of an earlier version, to which nothing was written yet.
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let pairs =
                table.iter()?.map(|pair| pair.map(|(key, value)| (key.value().to_owned(), value.value().to_vec())));
            Ok(pairs.collect::<Result<Vec<_>, _>>()?)
        })?;
        pairs.into_iter().map(|(plugin, bytes)| Ok((plugin, decode_generations(&bytes)?))).collect()
    }

    /// Writes what is known of a plugin's generations and appends `audit` in the same transaction.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn put_generations(
        &self,
        plugin: &str,
        generations: Generations,
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        let change = Change::PutGenerations { plugin: plugin.to_owned(), generations };
        self.write(Some(change), Some(audit)).await.map(drop)
    }
}

pub(super) fn encode_generations(generations: &Generations) -> Result<Vec<u8>, redb::Error> {
    encode(generations)
}

fn decode_generations(bytes: &[u8]) -> Result<Generations, StoreError> {
    decode(bytes).ok_or(StoreError::Record { table: "generations" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;
    use crate::store::AuditOutcome;
    use std::time::SystemTime;

    #[tokio::test]
    async fn generations_are_there_after_a_restart_with_their_audit() {
        let place = tempfile::tempdir().unwrap();
        let config = StorageConfig::at(place.path().join("x.redb"));
        let store = Store::open(&config).unwrap();
        assert_eq!(store.generations().unwrap(), BTreeMap::new());
        let audit = |what: &str| AuditRecord {
            at: SystemTime::UNIX_EPOCH,
            who: "ann".into(),
            what: what.into(),
            target: "validate-strict".into(),
            outcome: AuditOutcome::Done,
            reason: String::new(),
            request_id: String::new(),
            address: None,
        };
        let first = Generations { generation: 1, active: "a".into(), ..Generations::default() };
        let second =
            Generations { generation: 2, active: "b".into(), previous: Some("a".into()), refused: vec!["c".into()] };
        store.put_generations("validate-strict", first, audit("plugin.install")).await.unwrap();
        store.put_generations("validate-strict", second.clone(), audit("plugin.rollback")).await.unwrap();
        store.close().await.unwrap();
        let store = Store::open(&config).unwrap();
        assert_eq!(store.generations().unwrap(), BTreeMap::from([("validate-strict".to_owned(), second)]));
        let newest = store.recent_audit(5).await.unwrap();
        let told: Vec<_> = newest.iter().map(|entry| entry.record.what.as_str()).collect();
        assert_eq!(told, ["plugin.rollback", "plugin.install"]);
    }

    #[test]
    fn another_encoding_is_refused_not_guessed() {
        assert!(matches!(decode_generations(b"\x02{}"), Err(StoreError::Record { table: "generations" })));
        assert!(decode_generations(b"\x01{\"generation\":1}").is_err());
    }
}
