//! Bytes to typed requests and typed results to bytes: the HTTP and WebSocket edge.
//!
//! Holds no state of its own beyond what it was handed. Status codes stand in `api::error` alone, JSON forms in
//! [`wire`] alone. Entry point: `api::server`.

pub mod socket;
pub mod wire;
