//! The WebSocket end of the feed: handshake, and one task per client that reads.
//!
//! All writing is the hub's, in [`crate::hub::Slot::join`]'s hands. Knows nothing of accounts: who may open a connection
//! was decided before, and [`FeedContext::grant`] tells when that no longer holds. Entry point: [`upgrade`].

mod adapter;
mod allowance;
mod client;
mod door;
mod handshake;
mod renewal;
mod secure;
#[cfg(test)]
mod tests;

pub(in crate::api) use client::wishes;
pub use door::{Door, Guest, Pass};
pub use handshake::{FeedRefusal, upgrade};
pub use renewal::{NotRenewed, Renewal, Renewed};

use crate::api::origin::Ours;
use crate::hub::{Access, Hub};
use crate::model::Grant;
use crate::task::TaskGroup;
use std::any::Any;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What one connection of the feed is given.
#[derive(Debug, Clone)]
pub struct FeedContext {
    /// The log that it reads.
    pub hub: Hub,
    /// Where its task is started.
    pub tasks: TaskGroup,
    /// The server is going away.
    pub stop: CancellationToken,
    /// Ends when whoever opened the connection may no longer have it.
    pub grant: Grant,
    /// Judges what it brings later.
    pub renewal: Arc<dyn Renewal>,
    /// What the grant has to allow, and for which topics.
    pub access: Access,
    /// Where it comes in.
    pub door: Arc<Door>,
    /// Who comes in.
    pub guest: Guest,
    /// Kept as long as the connection: a session with an open feed is in use.
    pub hold: Arc<dyn Any + Send + Sync>,
    /// Which web pages may open a connection.
    pub ours: Ours,
}
