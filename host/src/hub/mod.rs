//! The shared event log behind the feed, and the subscriptions that read it.
//!
//! One task publishes; every client reads the same entries through a cursor of its own, so there is no queue per client
//! and a client that does not read holds nobody up. Knows nothing of sockets, of nodes or of JSON forms: it is handed
//! encoded members and hands out whole text frames. Entry points: [`Hub::publish`], [`Hub::reserve`].

mod close;
mod figures;
mod filter;
mod frames;
mod handle;
mod log;
mod position;
mod snapshot;
mod subscription;
#[cfg(test)]
mod tests;
mod topics;

pub use close::Close;
pub use figures::HubFigures;
pub use handle::{Hub, HubLimits, Slot};
pub use log::{Change, Publication};
pub use position::{Position, PositionError};
pub use subscription::{Delivery, Subscription};
pub use topics::{PATTERN_BYTES_MAX, PATTERNS_MAX, PatternError, Patterns, WILDCARDS_MAX};
