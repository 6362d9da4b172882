use anyhow::bail;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a state is left alone before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Asks again and again until `look` finds what it looks for.
///
/// # Errors
/// Nothing was found within `limit`, named by `what`; or `look` failed, which ends the wait at once.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: F) -> anyhow::Result<T>
where
    F: AsyncFnMut() -> anyhow::Result<Option<T>>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
        sleep(LOOK_AGAIN).await;
    }
}
