//! Where requests come in: listeners, connections with their deadlines, TLS, and who stands behind a proxy.
//!
//! Knows nothing of what is asked: a request goes to the router as it came, with what is known of its other end. Entry
//! points: [`Listener::open`], [`Door::serve`].

mod accept;
mod certificates;
mod connection;
mod guarded;
mod guests;
mod listen;
mod outside;
mod streams;

pub use accept::Door;
pub use certificates::CertificateError;
pub use listen::{ListenError, Listener};

pub(in crate::api) use connection::{Taken, Tls, take_apart};
pub(in crate::api) use guarded::Guarded;
pub(in crate::api) use outside::{Peer, Seen};
