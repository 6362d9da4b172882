//! What the black-box suites stand on: real supervisors on loopback, the real host, and plain clients of its API.
//!
//! Knows the product only by its documents: names of files, routes and JSON members are written out here, so that a
//! change that would break a user breaks a test. Entry points: [`Supervisord::start`] and `Host::start`.
#![cfg_attr(
    feature = "harness",
    expect(clippy::indexing_slicing, reason = "a member that a JSON document lacks reads as null and never panics")
)]

#[cfg(feature = "harness")]
mod client;
#[cfg(feature = "harness")]
mod feed;
#[cfg(feature = "e2e")]
mod host;
#[cfg(feature = "harness")]
mod monit;
#[cfg(feature = "harness")]
mod places;
#[cfg(feature = "harness")]
mod program;
#[cfg(feature = "harness")]
mod schema;
#[cfg(feature = "harness")]
mod server;
#[cfg(feature = "harness")]
mod settings;
#[cfg(feature = "harness")]
mod signal;
#[cfg(feature = "harness")]
mod supervisord;
#[cfg(feature = "harness")]
mod wait;

#[cfg(feature = "harness")]
pub use client::{Client, Reply};
#[cfg(feature = "harness")]
pub use feed::Feed;
#[cfg(feature = "e2e")]
pub use host::Host;
#[cfg(feature = "harness")]
pub use monit::{Monit, Service};
#[cfg(feature = "harness")]
pub use places::{free_address, node_modules, omnivisor, plugins};
#[cfg(feature = "harness")]
pub use program::{Node, Program};
#[cfg(feature = "harness")]
pub use schema::check_schema;
#[cfg(feature = "harness")]
pub use server::{CommandLine, Run, Server};
#[cfg(feature = "harness")]
pub use settings::{ADMIN, ADMIN_PASSWORD, Settings};
#[cfg(feature = "harness")]
pub use signal::{Signal, send as send_signal};
#[cfg(feature = "harness")]
pub use supervisord::{Supervisord, int, text};
#[cfg(feature = "harness")]
pub use wait::until;
