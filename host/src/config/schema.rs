use crate::model::{NodeId, Secret};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the operator decides, checked. Never changed, only replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[plugins]`
    pub plugins: PluginsConfig,
    /// `[pool]`
    pub pool: PoolConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[[node]]`, sorted by name.
    pub nodes: Vec<NodeConfig>,
}

/// `[server]`: the HTTP edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// `listen`, default `127.0.0.1:8642`.
    pub listen: SocketAddr,
    /// `connections_max`, default 4,096, 1 to 1,000,000. Beyond it connections wait to be accepted.
    pub connections_max: usize,
    /// `body_bytes_max`, default 65,536, 1,024 to 16 MiB. A larger request body is answered 413.
    pub body_bytes_max: usize,
    /// `request_timeout_ms`, default 10,000, 100 to 600,000: head and body of a request have to arrive within it.
    pub request_timeout: Duration,
    /// `shutdown_timeout_ms`, default 10,000, 100 to 600,000: the whole budget of a graceful shutdown.
    pub shutdown_timeout: Duration,
    /// `session_idle_timeout_ms`, default 12 h, 1 min to 365 d: a session not used for so long ends.
    pub session_idle_timeout: Duration,
    /// `session_timeout_ms`, default 7 d, 1 min to 365 d: a session ends after so long in any case.
    pub session_timeout: Duration,
    /// `feed_clients_max`, default 10,000, 1 to 1,000,000: beyond it the feed answers 503 before the upgrade.
    pub feed_clients_max: usize,
}

/// `[storage]`: the embedded database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// `path`, default `omnivisor/omnivisor.redb` below the XDG state directory.
    pub path: PathBuf,
}

/// `[plugins]`: which components serve, and how far each call may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// `directory`, default `plugins` beside the binary: where `NAME.wasm` is looked for.
    pub directory: PathBuf,
    /// `auth`, default `["auth-local"]`: 1 to 16 strategies in the order in which they are asked.
    pub auth: Vec<String>,
    /// `validate`, default `["validate-strict"]`: 1 to 16 validators, all of which see every request.
    pub validate: Vec<String>,
    /// `[plugins.auth_limits]`
    pub auth_limits: CallLimits,
    /// `[plugins.validate_limits]`
    pub validate_limits: CallLimits,
    /// `[plugins.adapter_limits]`
    pub adapter_limits: CallLimits,
}

/// How far one call of a plugin may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// `fuel`, 1 to 10^12: work, about one unit an instruction.
    pub fuel: u64,
    /// `time_ms`, 1 to 600,000: wall-clock time, waits in the host included.
    pub time: Duration,
    /// `memory_bytes`, 64 KiB to 64 MiB: linear memory.
    pub memory_bytes: usize,
    /// `hostcall_bytes`, 1 KiB to 64 MiB: bytes that one call may move across the border.
    pub hostcall_bytes: usize,
    /// `calls_max`, 1 to 1,024: calls at once; beyond it callers are told "busy" at once.
    pub calls_max: usize,
}

/// `[pool]`: how nodes are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// `poll_interval_ms`, default 1,000, 100 to 3,600,000: the shortest time between two full observations;
    /// five times as long while a hint stream tells of changes.
    pub poll_interval: Duration,
    /// `nudge_interval_ms`, default 250, 0 (off) to 60,000: a cheap request that wakes a supervisor with up to 50
    /// programs, so that its hint stream speaks at once.
    pub nudge_interval: Duration,
    /// `connect_timeout_ms`, default 1,000, 10 to 60,000.
    pub connect_timeout: Duration,
    /// `call_timeout_ms`, default 2,000, 10 to 60,000: one observation or one order.
    pub call_timeout: Duration,
    /// `response_bytes_max`, default 4 MiB, 64 KiB to 64 MiB: a longer reply of a node is refused.
    pub response_bytes_max: usize,
    /// `failures_max`, default 2, 1 to 100: so many failed observations in a row make a node stale.
    pub failures_max: u32,
    /// `breaker_failures_max`, default 5, 1 to 100: so many transport failures in a row open its breaker.
    pub breaker_failures_max: u32,
    /// `breaker_cooldown_ms`, default 2,000, 100 to 3,600,000: how long an open breaker refuses before its first trial.
    /// The same after every failed trial, so that a node that is back is seen within this time.
    pub breaker_cooldown: Duration,
    /// `commands_max`, default 32, 1 to 1,024: commands waiting at one node; beyond it 503.
    pub commands_max: usize,
}

/// `[log]`: the host's own log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `level`, default `info`: `error`, `warn`, `info`, `debug`, `trace` or `off`, or such for parts of the
    /// program, as `TARGET=LEVEL`, separated by commas.
    pub level: String,
    /// `format`, default `text`.
    pub format: LogFormat,
}

/// The form of the host's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[node]]`: one supervised node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// `name`.
    pub name: NodeId,
    /// `environment`: a word to group nodes by; same rules as a name.
    pub environment: Option<String>,
    /// `adapter`, default `node-supervisord`: the plugin that speaks to it.
    pub adapter: String,
    /// `url`: `http://HOST:PORT` or `unix:///PATH`.
    pub endpoint: Endpoint,
    /// `username` with `password_env` or `password_file`.
    pub login: Option<NodeLogin>,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT`
    Tcp {
        /// Name or address, brackets around IPv6 removed.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:///PATH`
    Unix {
        /// The socket's path.
        path: PathBuf,
    },
}

/// How a node is entered: HTTP basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLogin {
    /// The user's name.
    pub username: String,
    /// Its password, read from the variable or file that the configuration names.
    pub password: Secret,
}
