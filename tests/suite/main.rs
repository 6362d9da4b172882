//! The black-box suites. Each starts its own nodes on free ports of loopback and leaves nothing behind.
#![cfg_attr(
    feature = "e2e",
    expect(clippy::indexing_slicing, reason = "a test that reads past the end has failed, which is what it is for")
)]

#[cfg(all(feature = "e2e", feature = "hostile"))]
#[path = "../hostile/component.rs"]
#[expect(dead_code, reason = "shared with the hostile tests, which use all of it")]
mod component;
#[cfg(feature = "e2e")]
mod e2e;
mod nodes;
mod supervisord;
