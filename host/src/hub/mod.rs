//! The shared event log behind the feed, and the shards that read it to their clients.
//!
//! One task publishes, which never waits. Each shard has a copy of the log's handles and many clients, each with a cursor of
//! its own: there is no queue per client, and one that does not read holds nobody up. `logs` is a second lane beside it, for
//! the lines of logs, which may be skipped and are told to be. `core` is the pure half, which is
//! told what happens and says which bytes go where; `shard` is the half that has connections. Knows nothing of HTTP, of
//! nodes or of accounts: it is handed encoded members, connections, and grants that may end. Entry points:
//! [`Hub::inherit`], [`Hub::leave`], [`Hub::publish`], [`Hub::publish_log`], [`Hub::log_demand`], [`Hub::reserve`], [`Hub::shard`], [`Hub::revoke`].

mod acks;
mod batch;
mod client;
mod close;
mod core;
mod figures;
mod filter;
mod follow;
mod frame;
mod frames;
mod handle;
mod heritage;
mod inbox;
mod log;
mod logs;
mod position;
mod ring;
mod shard;
mod slots;
mod snapshot;
#[cfg(test)]
mod tests;
mod times;
mod topics;

pub use close::Close;
pub use figures::HubFigures;
pub use filter::{Access, Reach};
pub use follow::LogWish;
pub use handle::{Framing, Hub, HubLimits, Slot};
pub use heritage::{Inherited, Unfit};
pub use inbox::{Hello, Link, OutboxFull};
pub use log::{Change, Publication};
pub use logs::{LOGS_MAX, LogLimits, LogPublication};
pub use position::{Position, PositionError};
pub use shard::Wire;
pub use topics::{PATTERN_BYTES_MAX, PATTERNS_MAX, PatternError, Patterns, WILDCARDS_MAX};
