//! A pure machine that says whether to call: the breaker.
//!
//! Knows nothing of sockets, tasks or clocks: every moment is handed in as a value, so a test decides what time it is.
//! Entry point: [`Breaker::admit`].

mod breaker;

pub use breaker::{Admit, Breaker, BreakerSettings, CallOutcome};
