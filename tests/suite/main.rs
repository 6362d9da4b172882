//! The black-box suites. Each starts its own nodes on free ports of loopback and leaves nothing behind.

#[cfg(feature = "e2e")]
mod e2e;
mod nodes;
mod supervisord;
