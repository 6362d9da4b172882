//! The audit's end by age, and the room that it leaves.

use crate::config::Snapshot;
use crate::store::{AUDIT_PURGE_MAX, Store, StoreUsage};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the oldest records are looked at.
const INTERVAL: Duration = Duration::from_hours(1);
/// More in use is not compacted by itself: writes would wait for longer than half a second (docs/benchmarks.md).
const IN_USE_MAX: u64 = 32 << 20;

/// Removes records that are older than the configuration in force says, now and each hour, until `stop`.
pub(super) async fn run(store: Store, snapshots: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let retention = snapshots.borrow().config.audit.retention;
        remove(&store, retention, &stop).await;
        give_back(&store).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn remove(store: &Store, retention: Duration, stop: &CancellationToken) {
    let now = SystemTime::now();
    let Some(before) = now.checked_sub(retention) else { return };
    // As many at a time as one transaction takes, so that others are written in between.
    while !stop.is_cancelled() {
        match store.purge_audit(before, now).await {
            Ok(0) => break,
            Ok(count) => {
                tracing::info!(count, "records of the audit were removed for their age");
                if count < AUDIT_PURGE_MAX as u64 {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "old records of the audit were not removed; they are tried again in an hour");
                break;
            }
        }
    }
}

/// Makes the file smaller where more than half of it is free.
async fn give_back(store: &Store) {
    let StoreUsage { file_bytes, used_bytes } = match store.usage().await {
        Ok(usage) if usage.is_worth_compacting() => usage,
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, "how much of the database is in use is not known"),
    };
    if used_bytes > IN_USE_MAX {
        return tracing::info!(
            file_bytes,
            used_bytes,
            "more than half of the database's file is free; writes would wait for long: `omnivisor compact` at a quiet time"
        );
    }
    match store.compact().await {
        Ok(done) => {
            let took_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(done.before_bytes, done.after_bytes, took_ms, "the database was compacted");
        }
        Err(error) => {
            tracing::warn!(%error, file_bytes, used_bytes, "the database was not compacted; it is tried again in an hour")
        }
    }
}
