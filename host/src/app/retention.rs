//! The audit's end by age.

use crate::config::Snapshot;
use crate::store::{AUDIT_PURGE_MAX, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the oldest records are looked at.
const INTERVAL: Duration = Duration::from_hours(1);

/// Removes records that are older than the configuration in force says, now and each hour, until `stop`.
pub(super) async fn run(store: Store, snapshots: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let retention = snapshots.borrow().config.audit.retention;
        remove(&store, retention, &stop).await;
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
