//! Loads components and runs one call inside its limits.
//!
//! The only room that names wasmtime. Knows nothing of sockets, of the store or of who is asking: bytes to a node or to
//! an origin, password checks and API keys go through the seams [`Exchange`], [`HttpClient`], [`Accounts`] and
//! [`ApiKeys`], what was swapped is remembered through [`GenerationLog`]. Entry points: [`Platform::start`] for plugins
//! that are swapped while they serve, [`load`] for plugins as they are, and [`survey`] for what a file says of itself.

mod artefact;
mod auth;
mod bindings;
mod cache;
mod call;
mod class;
mod compile;
mod compiler;
mod configure;
mod counters;
mod ending;
mod engine;
mod error;
mod exchange;
mod fault;
#[cfg(test)]
mod frozen;
mod generation;
mod grant;
mod imports;
mod inspect;
mod keeper;
mod kept;
mod load;
mod manifest;
mod node;
mod platform;
mod record;
mod report;
mod seam;
mod serving;
mod slot;
mod start;
mod state;
mod storm;
mod structure;
mod survey;
mod swap;
mod text;
mod ticker;
mod toolchain;
mod validate;
mod wasi;
mod watch;
mod web;
mod web_cache;

pub use class::PluginClass;
pub use compile::Compiler;
pub use compiler::{CompilerError, CompilerLimits, REFUSED, compile_stream};
pub use counters::{CountersSnapshot, PluginCounters};
pub use error::{LoadError, SwapError};
pub use generation::GenerationState;
pub use load::{LoadedPlugin, LoadedPlugins, load};
pub use manifest::{Manifest, Wishes};
pub use platform::{Platform, PlatformParts, SWAPS_WAITING_MAX, Swapped};
pub use record::{Author, GenerationLog, GenerationRecord, REFUSED_MAX, SwapEntry};
pub use report::{GenerationReport, PluginEvent, PluginEventKind, PluginReport, QuarantineReach};
pub use seam::{
    Accounts, Adapter, AdapterError, ApiKey, ApiKeys, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest,
    ExchangeResponse, HintsRead, HttpClient, JudgeError, PasswordCheck, PluginFailure, PluginSet, Returned, Services,
    Strategy, StreamRequest, Validator, WebRequest,
};
pub use slot::{FailureNote, SwapResult};
pub use storm::Storm;
pub use survey::{CoreFacts, ImportFact, Survey, survey};
pub use toolchain::{Toolchain, ToolchainCounts};
pub use web_cache::WebCache;
