//! Loads components and runs one call inside its limits.
//!
//! The only room that names wasmtime. Knows nothing of sockets, of the store or of who is asking: bytes to a node and
//! password checks go through the seams [`Exchange`] and [`Accounts`]. Entry point: [`load`].

mod artefact;
mod auth;
mod bindings;
mod cache;
mod call;
mod class;
mod compile;
mod compiler;
mod counters;
mod ending;
mod engine;
mod error;
mod exchange;
mod fault;
mod imports;
mod inspect;
mod load;
mod node;
mod observed;
mod seam;
mod state;
mod storm;
mod structure;
mod text;
mod ticker;
mod toolchain;
mod validate;
mod wasi;

pub use class::PluginClass;
pub use compile::Compiler;
pub use compiler::{CompilerError, CompilerLimits, REFUSED, compile_stream};
pub use counters::{CountersSnapshot, PluginCounters};
pub use error::LoadError;
pub use load::{LoadedPlugin, LoadedPlugins, load};
pub use seam::{
    Accounts, Adapter, AdapterError, ApiKey, ApiKeys, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest,
    ExchangeResponse, HintsRead, HttpClient, JudgeError, PasswordCheck, PluginFailure, PluginSet, Returned, Services,
    Strategy, StreamRequest, Validator, WebRequest,
};
pub use toolchain::{Toolchain, ToolchainCounts};
