//! Loads components and runs one call inside its limits.
//!
//! The only room that names wasmtime. Knows nothing of sockets, of the store or of who is asking: bytes to a node or to
//! an origin, password checks and API keys go through the seams [`Exchange`], [`HttpClient`], [`Accounts`] and
//! [`ApiKeys`]. Entry points: [`load`], and [`survey`]
//! for what a file says of itself.

mod auth;
mod bindings;
mod call;
mod class;
mod counters;
mod ending;
mod engine;
mod error;
mod exchange;
mod fault;
#[cfg(test)]
mod frozen;
mod grant;
mod imports;
mod inspect;
mod load;
mod manifest;
mod node;
mod observed;
mod seam;
mod state;
mod storm;
mod structure;
mod survey;
mod text;
mod ticker;
mod validate;
mod web;
mod web_cache;

pub use class::PluginClass;
pub use counters::{CountersSnapshot, PluginCounters};
pub use error::LoadError;
pub use load::{LoadedPlugin, LoadedPlugins, load};
pub use manifest::{Manifest, Wishes};
pub use seam::{
    Accounts, Adapter, AdapterError, ApiKey, ApiKeys, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest,
    ExchangeResponse, HintsRead, HttpClient, JudgeError, PasswordCheck, PluginFailure, PluginSet, Returned, Services,
    Strategy, StreamRequest, Validator, WebRequest,
};
pub use storm::Storm;
pub use web_cache::WebCache;
pub use survey::{CoreFacts, ImportFact, Survey, survey};
