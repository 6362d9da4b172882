//! Where requests come in: listeners, connections with their deadlines, TLS, and who stands behind a proxy.
//!
//! Knows nothing of what is asked: a request goes to the router as it came, with what is known of its `Peer`. Entry
//! points: [`Listener::open`], [`Acceptor::serve`].

mod accept;
mod certificates;
mod connection;
mod figures;
mod guarded;
mod guests;
mod listen;
mod outside;
mod streams;

pub use accept::Acceptor;
pub use certificates::CertificateError;
pub use figures::ServeFigures;
pub use listen::{ListenError, Listener};

pub(in crate::api) use certificates::CertificateState;
pub(in crate::api) use connection::{Taken, Tls, take_apart};
pub(in crate::api) use guarded::Guarded;
pub(in crate::api) use outside::{Outside, Peer};
