//! Loads components and runs one call inside its limits; holds the current set.
//!
//! The only room that names wasmtime. Knows nothing of sockets, of the store or of who is asking: bytes to a node and
//! password checks go through the seams [`Exchange`] and [`Accounts`]. Entry point: [`PluginSet::load`].

mod seam;

pub use seam::{
    Accounts, Adapter, AdapterError, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest, ExchangeResponse,
    HintsRead, JudgeError, PasswordCheck, PluginFailure, PluginSet, Strategy, StreamRequest, Validator,
};
