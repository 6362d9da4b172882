//! What the adapter relies on, against a real monit: the facts of `docs/monit.md`.
//!
//! `OMNIVISOR_MONIT` names the executable (5.33.0), `monit` unless it is set. Every test starts a monit of its own that
//! listens on a unix socket in a temporary folder, and ends it with all that it started.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's own tools fail the test")]

mod node;
mod orders;
mod protocol;
mod states;
