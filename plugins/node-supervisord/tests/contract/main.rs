//! What the adapter relies on, against a real supervisord: a row of the notes on supervisord 4.3 each (S1 to S26).
//!
//! `OMNIVISOR_SUPERVISORD` names the executable (supervisor 4.3.0). Every test starts a supervisord of its own that
//! listens on a unix socket in a temporary folder, and shuts it down.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's own tools fail the test")]

mod logs;
mod node;
mod orders;
mod protocol;
mod states;
