use tokio::time::{Instant, sleep_until};

/// Waits until then. Without an instant it never ends: for an arm of a `select!` that counts only now and then.
///
/// # Cancel safety
/// Dropped and called again, it ends at the same instant.
pub async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
