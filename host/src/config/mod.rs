//! Turns text into one checked, immutable snapshot.
//!
//! Knows nothing of files being watched, of tasks or of clocks. [`check`] is pure: a secret's file or variable is read
//! through the [`SecretSource`] that the caller hands in. Entry points: [`load`], [`check`].

mod check;
mod diff;
mod fault;
mod grant;
mod listen;
mod load;
mod log_filter;
mod managed;
mod node;
mod schema;
mod secret;
mod section;
mod snapshot;
mod storage_key;
#[cfg(test)]
mod tests;

pub use check::{Defaults, LIMIT_KEYS, check};
pub use diff::{Diff, Effect, diff, in_force};
pub use fault::ConfigFault;
pub use grant::{origin_of, parse_origin};
pub use listen::{ListenConfig, ListenPlace, ProxyHeader, TlsFiles, TrustedProxies};
pub use load::{CONFIG_BYTES_MAX, LoadError, check_file_text, load, read};
pub use log_filter::{LogFilter, NotALevel};
pub use managed::{
    KEPT_PASSWORD_BYTES_MAX, MANAGED_NODES_MAX, ManagedNode, PASSWORD_DIRECTORY, PASSWORD_ENV_BEGINNING, taken,
    with_managed,
};
pub use schema::{
    AuditConfig, CallLimits, Config, Endpoint, LimitOverrides, LogConfig, LogFormat, MetricsConfig, NodeConfig,
    NodeLogin, OnFailure, OrdersConfig, PluginConfig, PluginsConfig, PoolConfig, ServerConfig, StorageConfig,
    TelemetryConfig,
};
pub use secret::{MachineSecrets, SECRET_BYTES_MAX, SecretError, SecretSource};
pub use snapshot::Snapshot;
pub use storage_key::{KeySource, STORAGE_KEY_BYTES, StorageKey, read_storage_key};
