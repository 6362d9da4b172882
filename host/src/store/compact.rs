//! Giving back what a file holds beyond its records.

use crate::store::disk::room;
use crate::store::writer::Order;
use crate::store::{Store, StoreError, WRITES_MAX};
use redb::ReadableTableMetadata;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A smaller file is not worth the work.
const WORTH_BYTES_MIN: u64 = 16 << 20;
/// How long a compaction may take before its caller is told that it goes on.
const COMPACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Bytes that the file took on the disk before.
    pub before_bytes: u64,
    /// Bytes that it takes now.
    pub after_bytes: u64,
    /// How long writes waited for it.
    pub took: Duration,
}

/// How much of the file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreUsage {
    /// Bytes that the file takes on the disk.
    pub file_bytes: u64,
    /// Of these, bytes of pages that hold records. The rest is taken by what is written next.
    pub used_bytes: u64,
}

impl StoreUsage {
    /// Whether a compaction would give back more than half of a file that is not small.
    #[must_use]
    pub const fn is_worth_compacting(&self) -> bool {
        self.file_bytes >= WORTH_BYTES_MIN && self.used_bytes < self.file_bytes / 2
    }
}

impl Store {
    /// How much of the file is in use. Goes through its tables, on a thread of its own; nobody waits for that.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Closed`].
    pub async fn usage(&self) -> Result<StoreUsage, StoreError> {
        let (snapshots, path) = (Arc::clone(&self.shared.snapshots), self.shared.path.clone());
        let counted = tokio::task::spawn_blocking(move || {
            let used_bytes = snapshots.read(|txn| {
                let mut used = 0_u64;
                for table in txn.list_tables()? {
                    let stats = txn.open_untyped_table(table)?.stats()?;
                    let bytes = [stats.stored_bytes(), stats.metadata_bytes(), stats.fragmented_bytes()];
                    used = bytes.into_iter().fold(used, u64::saturating_add);
                }
                Ok(used)
            })?;
            let metadata = std::fs::metadata(&path).map_err(|source| StoreError::Open { path, source })?;
            Ok(StoreUsage { file_bytes: room(&metadata), used_bytes })
        });
        counted.await.map_err(|_| StoreError::Closed)?
    }

    /// How much room the file takes on the disk; 0 if that cannot be told.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.shared.path).map_or(0, |metadata| room(&metadata))
    }

    /// Writes all records into a new file that takes the place of this one, and so gives back what is not in use. Reads go
    /// on; writes wait until it is done. Killed at any moment, the database is the one file or the other, whole.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Closed`], [`StoreError::ReadOnly`], [`StoreError::Broken`]; [`StoreError::Full`] without
    /// room for a second file; [`StoreError::ReadUnderWay`] while somebody reads what the compaction before replaced. Nothing
    /// was changed then. [`StoreError::TimedOut`]: it goes on.
    ///
    /// # Cancel safety
    /// Once it was polled it is done to its end.
    pub async fn compact(&self) -> Result<Compaction, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Compact(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy { limit: WRITES_MAX },
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        match tokio::time::timeout(COMPACTION_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::TimedOut { limit: COMPACTION_TIMEOUT }),
        }
    }
}
