//! Outgoing HTTP for plugins that were granted origins.
//!
//! One connection a request, HTTP/1.1, certificates checked against the machine's own list. Redirects are not followed
//! and there are no cookies. Knows nothing of plugins, grants or caches: whoever asks has checked that this origin may be
//! asked. What stands behind an origin is the operator's word: private addresses are not refused, for an identity
//! provider is often there. Entry point: [`Fetch`].

mod client;
mod error;
#[cfg(test)]
mod tests;

pub use client::Fetch;
