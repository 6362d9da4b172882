//! Pure machines that say whether to call: the breaker, the quarantine of a plugin, the probation of a new one.
//!
//! Knows nothing of sockets, tasks or clocks: every moment is handed in as a value, so a test decides what time it is.
//! Entry points: [`Breaker::admit`], [`Quarantine::admit`], [`Probation::record`],
//! [`Backoff::pause`].

mod backoff;
mod breaker;
mod jitter;
mod probation;
mod quarantine;

pub use backoff::Backoff;
pub use breaker::{Admit, Breaker, BreakerSettings, CallOutcome};
pub use jitter::Jitter;
pub use probation::{Budget, Probation, Standing};
pub use quarantine::{Quarantine, Reach};
