//! Turns text into one checked, immutable snapshot.
//!
//! Knows nothing of files being watched, of tasks or of clocks; reading a secret's file or variable goes through a
//! function that the caller hands in. Entry point: [`check`].

mod schema;

pub use schema::{
    CallLimits, Config, Endpoint, LogConfig, LogFormat, NodeConfig, NodeLogin, PluginsConfig, PoolConfig, ServerConfig,
    StorageConfig,
};
