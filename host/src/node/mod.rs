//! One owner per supervised node: commands in, observed state out.
//!
//! An owner task alone holds a node's connection, breaker, last snapshot and orders under way; everybody else has a
//! [`NodeHandle`]. Knows nothing of who is asking, of the feed or of the wire form. Entry point: [`Pool::start`].

mod call;
mod error;
mod figures;
mod follow;
mod group;
mod health;
mod inbox;
mod keeper;
mod lane;
mod leash;
mod link;
#[cfg(test)]
mod link_tests;
mod observe;
mod order;
mod owner;
mod patience;
mod pool;
mod progress;
mod redaction;
mod snapshot;
mod socket;
#[cfg(test)]
mod tests;
mod update;
mod wake;

pub use error::NodeError;
pub use figures::{CallKind, PoolMetrics};
pub use keeper::PoolChange;
pub use patience::Patience;
pub use pool::{NodeHandle, Pool, PoolParts, PoolPlaces};
