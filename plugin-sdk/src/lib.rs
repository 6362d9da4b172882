//! What a plugin author depends on: one trait per world, one export macro each, the contract's types, and a log.
//!
//! A plugin is a type that implements [`NodeAdapter`], [`AuthStrategy`] or [`InputValidator`] and is named to the
//! matching macro once:
//!
//! ```
//! use plugin_sdk::validator::{Operation, ValidatorInfo, Violation};
//! use plugin_sdk::{Fault, InputValidator, log};
//!
//! struct NoFridays;
//!
//! impl InputValidator for NoFridays {
//!     fn describe() -> Result<ValidatorInfo, Fault> {
//!         Ok(ValidatorInfo { operations: vec!["process.*".to_owned()], extra: Vec::new() })
//!     }
//!
//!     fn validate(operation: Operation) -> Result<Vec<Violation>, Fault> {
//!         log::debug!("looked at it", operation = operation.name);
//!         Ok(Vec::new())
//!     }
//! }
//!
//! plugin_sdk::export_input_validator!(NoFridays);
//! ```
//!
//! Every call runs in a fresh instance: what a plugin keeps in memory is gone when the call ends. It reaches the outside
//! only through what its trait is handed and the host's interfaces that it uses here ([`settings`], [`clock`], [`random`],
//! [`secrets`], [`HostHttp`], [`HostAccounts`], [`HostApiKeys`]); a component imports just those. Off wasm the same crate compiles as an ordinary library, so a plugin is tested
//! with `cargo test` and a scripted [`Exchange`] or [`Accounts`]; log lines then go to standard error.
//!
//! A panic is not lost: its message and place reach the host as the last log line before the trap.

mod accounts;
mod api_keys;
#[expect(missing_docs, reason = "generated; the documentation stands in the WIT files")]
mod bindings;
mod exchange;
mod fault;
mod http;
mod panic;

pub mod adapter;
pub mod clock;
pub mod log;
#[cfg(feature = "pack")]
pub mod pack;
pub mod random;
pub mod secrets;
pub mod settings;
pub mod strategy;
pub mod validator;

pub use accounts::{Accounts, HostAccounts, PasswordCheck};
pub use adapter::NodeAdapter;
pub use api_keys::{ApiKey, ApiKeys, HostApiKeys};
pub use bindings::common::omnivisor::types::types::{Fault, FaultKind};
pub use exchange::{Exchange, Failure, Request, Response};
pub use http::{CacheMode, HostHttp, Http, HttpFailure, HttpRequest, HttpResponse};
pub use strategy::{AuthStrategy, RedirectStrategy};
pub use validator::InputValidator;

/// What the export macros expand to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::adapter::Component as AdapterComponent;
    pub use crate::bindings::{adapter, auth, redirect, validate};
    pub use crate::strategy::Component as StrategyComponent;
    pub use crate::validator::Component as ValidatorComponent;
}
