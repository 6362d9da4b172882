//! Pure machines that say whether and when to call: breaker, backoff, deadline.
//!
//! Knows nothing of sockets, tasks or clocks: every moment is handed in as a value, so a test decides what time it is.
//! Entry point: [`Breaker::admit`].

mod backoff;
mod breaker;
mod deadline;

pub use backoff::Backoff;
pub use breaker::{Admit, Breaker, BreakerSettings, CallOutcome};
pub use deadline::Deadline;
