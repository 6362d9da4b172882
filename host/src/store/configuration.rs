use crate::config::ManagedNode;
use crate::model::Secret;
use crate::store::apply::Change;
use crate::store::record::{decode, encode, from_ms, to_ms};
use crate::store::tables::CONFIGURATIONS;
use crate::store::{AuditRecord, SecretPlace, Store, StoreError};
use redb::{ReadableTable, Table, TableError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;

/// Generations of the configuration that are kept. The oldest go.
pub const CONFIGURATIONS_MAX: usize = 20;
/// Bytes of all their texts together; beyond it older ones go. The newest is kept in any case.
pub const CONFIGURATION_BYTES_MAX: usize = 16 << 20;

/// One generation of the configuration, with all that is needed to go back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Its number.
    pub generation: u64,
    /// When it was applied.
    pub at: SystemTime,
    /// What brought it, e.g. `reload` or `start`.
    pub cause: String,
    /// Who asked for it; empty for the host itself.
    pub who: String,
    /// The file's text.
    pub text: String,
    /// The nodes that the API owned.
    pub managed: Vec<ManagedNode>,
}

#[derive(Serialize, Deserialize)]
struct ConfigurationRecord {
    at_ms: u64,
    cause: String,
    who: String,
    text: String,
    managed: Vec<ManagedRecord>,
}

#[derive(Serialize, Deserialize)]
struct ManagedRecord {
    name: String,
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_file: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_kept_password: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
}

impl From<ManagedNode> for ManagedRecord {
    fn from(node: ManagedNode) -> Self {
        let ManagedNode {
            name,
            url,
            environment,
            adapter,
            username,
            password_env,
            password_file,
            has_kept_password,
            enabled,
        } = node;
        Self { name, url, environment, adapter, username, password_env, password_file, has_kept_password, enabled }
    }
}

impl From<ManagedRecord> for ManagedNode {
    fn from(record: ManagedRecord) -> Self {
        let ManagedRecord {
            name,
            url,
            environment,
            adapter,
            username,
            password_env,
            password_file,
            has_kept_password,
            enabled,
        } = record;
        Self { name, url, environment, adapter, username, password_env, password_file, has_kept_password, enabled }
    }
}

impl Store {
    /// The generations of the configuration that are kept, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub async fn configurations(&self) -> Result<Vec<Configuration>, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        // Megabytes of text may be among them, so their decoding is done aside too.
        let read = tokio::task::spawn_blocking(move || {
            let pairs = snapshots.read(|txn| {
                let table = match txn.open_table(CONFIGURATIONS) {
                    // A database of an earlier version, to which nothing was written yet.
                    Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                    table => table?,
                };
                let pairs = table.iter()?.map(|pair| pair.map(|(key, value)| (key.value(), value.value().to_vec())));
                Ok(pairs.collect::<Result<Vec<_>, _>>()?)
            })?;
            pairs.into_iter().map(|(generation, bytes)| decode_configuration(generation, &bytes)).collect()
        });
        read.await.map_err(|_| StoreError::Closed)?
    }

    /// Keeps a generation, drops those that are too old, seals `given`, drops the secrets of nodes that keep none in this
    /// generation, and appends `audit`, all in one transaction. No generation holds a secret.
    ///
    /// # Errors
    /// As for [`Store::append_audit`]; [`StoreError::NoKey`] when something is given and there is none,
    /// [`StoreError::Sealing`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn put_configuration(
        &self,
        made: Configuration,
        given: &[(SecretPlace, Secret)],
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        let sealed = self.seal(given)?;
        self.write(Some(Change::PutConfiguration { made, sealed }), Some(audit)).await.map(drop)
    }
}

/// Writes one down and drops what is too old.
pub(super) fn put(
    table: &mut Table<'_, u64, &'static [u8]>,
    configuration: &Configuration,
) -> Result<Result<u64, StoreError>, redb::Error> {
    let Configuration { generation, at, cause, who, text, managed } = configuration.clone();
    let managed = managed.into_iter().map(ManagedRecord::from).collect();
    let record = ConfigurationRecord { at_ms: to_ms(at), cause, who, text, managed };
    table.insert(generation, encode(&record)?.as_slice())?;
    let mut sizes = Vec::new();
    for pair in table.iter()?.rev() {
        let (key, value) = pair?;
        sizes.push((key.value(), value.value().len()));
    }
    let mut bytes = 0_usize;
    for (index, (generation, size)) in sizes.into_iter().enumerate() {
        bytes = bytes.saturating_add(size);
        if index > 0 && (index >= CONFIGURATIONS_MAX || bytes > CONFIGURATION_BYTES_MAX) {
            table.remove(generation)?;
        }
    }
    Ok(Ok(1))
}

fn decode_configuration(generation: u64, bytes: &[u8]) -> Result<Configuration, StoreError> {
    let record: ConfigurationRecord = decode(bytes).ok_or(StoreError::Record { table: "configurations" })?;
    let ConfigurationRecord { at_ms, cause, who, text, managed } = record;
    let managed = managed.into_iter().map(ManagedNode::from).collect();
    Ok(Configuration { generation, at: from_ms(at_ms), cause, who, text, managed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;
    use crate::store::AuditOutcome;
    use std::time::Duration;

    fn configuration(generation: u64, text: &str) -> Configuration {
        let node = ManagedNode {
            name: format!("n{generation}"),
            url: "http://x:1".into(),
            environment: None,
            adapter: Some("node-monit".into()),
            username: Some("u".into()),
            password_env: None,
            password_file: Some("n".into()),
            has_kept_password: false,
            enabled: Some(false),
        };
        Configuration {
            generation,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(generation),
            cause: "reload".into(),
            who: "ann".into(),
            text: text.into(),
            managed: vec![node],
        }
    }

    fn audit() -> AuditRecord {
        AuditRecord {
            at: SystemTime::UNIX_EPOCH,
            who: "ann".into(),
            what: "config.reload".into(),
            target: String::new(),
            outcome: AuditOutcome::Done,
            reason: String::new(),
            request_id: String::new(),
            address: None,
        }
    }

    #[tokio::test]
    async fn the_last_generations_are_there_after_a_restart_and_the_oldest_go() {
        let place = tempfile::tempdir().unwrap();
        let config = StorageConfig::at(place.path().join("x.redb"));
        let store = Store::open(&config).unwrap();
        assert_eq!(store.configurations().await.unwrap(), vec![]);
        let count = CONFIGURATIONS_MAX as u64 + 3;
        for generation in 1..=count {
            store.put_configuration(configuration(generation, "# text"), &[], audit()).await.unwrap();
        }
        store.close().await.unwrap();
        let store = Store::open(&config).unwrap();
        let kept: Vec<_> = (4..=count).map(|generation| configuration(generation, "# text")).collect();
        assert_eq!(store.configurations().await.unwrap(), kept);
        let large = "x".repeat(CONFIGURATION_BYTES_MAX);
        store.put_configuration(configuration(count + 1, &large), &[], audit()).await.unwrap();
        let generations: Vec<_> = store.configurations().await.unwrap().iter().map(|c| c.generation).collect();
        assert_eq!(generations, [count + 1], "the newest is kept whatever its size");
    }
}
