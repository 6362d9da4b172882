//! Omnivisor: one control plane over many process supervisors.
//!
//! Rooms, and the one direction between them, are described in `ARCHITECTURE.md`; a test keeps both true.

pub mod api;
pub mod app;
pub mod auth;
pub mod author;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod hub;
pub mod model;
pub mod node;
pub mod plugin;
pub mod reload;
pub mod resilience;
pub mod store;
pub mod task;
pub mod watch;
