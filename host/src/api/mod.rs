//! Bytes to typed requests and typed results to bytes: the HTTP and WebSocket edge.
//!
//! Holds no state of its own beyond what it was handed, and documents that it made before. Status codes stand in `api::error` alone, JSON forms in
//! [`wire`] alone. Entry points: [`router`], [`serve::Acceptor`].

mod asyncapi;
mod batch;
mod credential;
mod documents;
mod edge;
mod encoding;
mod error;
mod faults;
mod feed;
mod feed_metrics;
mod handlers;
mod headers;
mod histograms;
mod host_metrics;
mod input;
mod judge;
mod log_control;
mod metrics;
mod origin;
mod page;
mod request;
mod route;
pub mod serve;
mod settings;
pub mod socket;
mod spans;
mod strangers;
mod trace;
pub mod view;
pub mod wire;

pub use feed_metrics::FEED_SUCCESSIONS;

pub use documents::Documents;

pub use asyncapi::asyncapi;
pub use edge::{Caller, Edge, Facts, RequestId, Seen};
pub use error::ApiError;
pub use handlers::backup::BACKUPS_MAX;
pub use input::Asked;
pub use log_control::{LogControl, LogLevels, LogLoss};
pub use metrics::Metrics;
pub use origin::Ours;
pub use route::{openapi, router};
pub use spans::{Span, SpanFigures, Spans};
pub use strangers::Strangers;
pub use trace::TraceContext;
