//! Bytes to typed requests and typed results to bytes: the HTTP and WebSocket edge.
//!
//! Holds no state of its own beyond what it was handed, and documents that it made before. Status codes stand in `api::error` alone, JSON forms in
//! [`wire`] alone. Entry points: [`router`], [`serve`].

mod batch;
mod documents;
mod edge;
mod error;
mod feed;
mod feed_metrics;
mod handlers;
mod input;
mod judge;
mod metrics;
mod request;
mod route;
mod server;
mod settings;
pub mod socket;
mod strangers;
pub mod view;
pub mod wire;

pub use documents::Documents;

pub use edge::{Caller, Edge, Facts, RequestId, Seen};
pub use error::ApiError;
pub use handlers::backup::BACKUPS_MAX;
pub use input::Asked;
pub use metrics::Metrics;
pub use route::{openapi, router};
pub use server::serve;
pub use strangers::Strangers;
