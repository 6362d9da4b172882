//! Where the plugins' generations are remembered: the store, with the audit's entry in the same transaction.

use crate::plugin::{BoxFuture, GenerationLog, GenerationRecord, SwapEntry};
use crate::store::{AuditOutcome, AuditRecord, Generations, Store, StoreError};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The store, as plugins see it.
pub(super) struct StoredGenerations(pub(super) Store);

impl GenerationLog for StoredGenerations {
    fn read(&self) -> Result<BTreeMap<String, GenerationRecord>, String> {
        let stored = self.0.generations().map_err(|error| told(&error))?;
        let record = |Generations { generation, active, previous, refused }| GenerationRecord {
            generation,
            active,
            previous,
            refused,
        };
        Ok(stored.into_iter().map(|(plugin, generations)| (plugin, record(generations))).collect())
    }

    fn commit(&self, record: GenerationRecord, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>> {
        let GenerationRecord { generation, active, previous, refused } = record;
        let generations = Generations { generation, active, previous, refused };
        Box::pin(async move {
            let plugin = entry.plugin.clone();
            self.0.put_generations(&plugin, generations, audit(entry)).await.map_err(|error| told(&error))
        })
    }

    fn note(&self, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.0.append_audit(audit(entry)).await.map_err(|error| told(&error)) })
    }
}

fn audit(entry: SwapEntry) -> AuditRecord {
    AuditRecord {
        at: SystemTime::now(),
        who: entry.author.who,
        what: entry.what.to_owned(),
        target: entry.plugin,
        outcome: if entry.is_done { AuditOutcome::Done } else { AuditOutcome::Failed },
        reason: entry.reason,
        request_id: entry.author.request_id,
        address: entry.author.address,
    }
}

fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
