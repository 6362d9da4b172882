//! The black-box suites. Each starts its own nodes on free ports of loopback and leaves nothing behind.
#![cfg_attr(
    feature = "e2e",
    expect(clippy::indexing_slicing, reason = "a test that reads past the end has failed, which is what it is for")
)]

#[cfg(feature = "e2e")]
mod e2e;
mod nodes;
mod supervisord;
