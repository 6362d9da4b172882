//! The WebSocket end of the feed: handshake, one task per client, close codes.
//!
//! Knows nothing of accounts: who may open a connection was decided before, and [`FeedContext::ended`] tells when that
//! no longer holds. Entry points: [`upgrade`], [`bearer_from`].

mod allowance;
mod client;
mod handshake;
mod origin;
#[cfg(test)]
mod tests;

pub use handshake::{FeedRefusal, bearer_from, upgrade};

use crate::hub::Hub;
use std::any::Any;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one connection of the feed is given.
#[derive(Debug, Clone)]
pub struct FeedContext {
    /// The log that it reads.
    pub hub: Hub,
    /// Where its task is started.
    pub tracker: TaskTracker,
    /// The server is going away: close 4001.
    pub stop: CancellationToken,
    /// The session that opened the connection ended: close 4501.
    pub ended: CancellationToken,
    /// Kept as long as the connection: a session with an open feed is in use.
    pub hold: Arc<dyn Any + Send + Sync>,
    /// Origins of web pages that may open a connection, besides the server's own, e.g. `https://console.example`.
    pub allowed_origins: Arc<[String]>,
}
