//! Whether a disk that was full, or took no writes, takes them again.

use crate::resilience::{Backoff, Jitter};
use crate::store::{Store, StoreCondition};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The pauses between two tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Pace {
    /// A disk that has room again is found within a minute, also where nobody writes.
    pub(super) const USUAL: Self = Self { first: Duration::from_secs(1), longest: Duration::from_mins(1) };
}

/// Tries to write as long as writes are refused for a reason that passes, less and less often, until `stop`. Others who
/// write meanwhile are tried too; whoever comes first finds it.
pub(super) async fn run(store: Store, pace: Pace, seed: u64, stop: CancellationToken) {
    let mut backoff = Backoff::new(pace.first, pace.longest, Jitter::new(seed));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
        match store.condition() {
            StoreCondition::Full | StoreCondition::ReadOnly => {}
            StoreCondition::Good => {
                backoff.reset();
                continue;
            }
            StoreCondition::Broken | StoreCondition::Closed => return,
        }
        match store.probe().await {
            Ok(()) => {
                tracing::info!("the database is written again");
                backoff.reset();
            }
            Err(error) => tracing::debug!(%error, "the database is not written yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;
    use crate::store::SlowDisk;
    use tokio::time::Instant;

    #[tokio::test]
    async fn p11_a_full_disk_is_tried_less_and_less_often_and_found_to_have_room_again() {
        let directory = tempfile::TempDir::new().unwrap();
        let (store, disk) = SlowDisk::open(&StorageConfig::at(directory.path().join("omnivisor.redb")));
        let stop = CancellationToken::new();
        disk.fill(true);
        assert!(store.probe().await.is_err());
        assert_eq!(store.condition(), StoreCondition::Full);
        let pace = Pace { first: Duration::from_millis(20), longest: Duration::from_millis(320) };
        let began = Instant::now();
        let looking = async {
            while disk.refusals().len() < 8 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(began.elapsed() < Duration::from_secs(30), "{:?}", disk.refusals());
            }
            let tries = disk.refusals();
            let pauses: Vec<_> = tries.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
            for (number, pause) in pauses.iter().enumerate() {
                let due = pace.first.saturating_mul(2 << number).min(pace.longest).mul_f64(0.79);
                assert!(*pause >= due, "pause {number} was {pause:?}, {due:?} is due: {pauses:?}");
            }
            assert_eq!(store.condition(), StoreCondition::Full);
            disk.fill(false);
            let freed = Instant::now();
            while store.condition() != StoreCondition::Good {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(freed.elapsed() < Duration::from_secs(10), "nobody writes, so only the watch can find it");
            }
            stop.cancel();
        };
        tokio::join!(run(store.clone(), pace, 7, stop.clone()), looking);
    }
}
