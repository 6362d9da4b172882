use crate::config::listen::{ListenConfig, ProxyHeader, TrustedProxies};
use crate::config::storage_key::StorageKey;
use crate::model::{NodeId, Role, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the operator decides, checked. Never changed, only replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[[listen]]`, besides `server.listen`.
    pub listen: Vec<ListenConfig>,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[plugins]`
    pub plugins: PluginsConfig,
    /// `[pool]`
    pub pool: PoolConfig,
    /// `[orders]`
    pub orders: OrdersConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// `[[node]]`, sorted by name.
    pub nodes: Vec<NodeConfig>,
}

impl Config {
    /// The adapters that the nodes name.
    #[must_use]
    pub fn adapters(&self) -> BTreeSet<String> {
        self.nodes.iter().map(|node| node.adapter.clone()).collect()
    }
}

/// `[server]`: the HTTP edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// `listen`, default `127.0.0.1:8642`, or none where there is a `[[listen]]`.
    pub listen: Option<SocketAddr>,
    /// `external_url`, default none: where users reach this server, `http://HOST[:PORT]` or `https://HOST[:PORT]`. Logins
    /// at other servers come back there.
    pub external_url: Option<String>,
    /// `base_path`, default none: the path below which a proxy shows this server, as `/omnivisor`. Empty for none.
    pub base_path: String,
    /// `trusted_proxies`, default none: whose word about where a request came from is believed.
    pub trusted_proxies: TrustedProxies,
    /// `proxy_header`, default `x-forwarded`: where they say it.
    pub proxy_header: ProxyHeader,
    /// `connections_max`, default 4,096, 1 to 1,000,000. Beyond it connections wait to be accepted.
    pub connections_max: usize,
    /// `connections_per_address_max`, default 1,024, 1 to 1,000,000: beyond it the oldest connection from that address that
    /// has asked for nothing yet goes, or else the new one. Proxies that are trusted, and unix sockets, have no such bound.
    pub connections_per_address_max: usize,
    /// `body_bytes_max`, default 65,536, 1,024 to 16 MiB. A larger request body is answered 413.
    pub body_bytes_max: usize,
    /// `request_timeout_ms`, default 10,000, 100 to 600,000: head and body of a request have to arrive within it.
    pub request_timeout: Duration,
    /// `answer_timeout_ms`, default 30,000, 100 to 600,000: a client that does not take the rest of an answer, or 64 KiB of
    /// it, within that time loses its connection.
    pub answer_timeout: Duration,
    /// `handshake_timeout_ms`, default 5,000, 100 to 60,000: TLS has to be agreed on within it.
    pub handshake_timeout: Duration,
    /// `shutdown_timeout_ms`, default 10,000, 100 to 600,000: the whole budget of a graceful shutdown.
    pub shutdown_timeout: Duration,
    /// `drain_ms`, default 200, 0 to 60,000: so long connections are still accepted when a
    /// shutdown has begun, so that whoever asks `/readyz` hears of it. At most half of the whole budget.
    pub drain: Duration,
    /// `session_idle_timeout_ms`, default 12 h, 1 min to 365 d: a session not used for so long ends.
    pub session_idle_timeout: Duration,
    /// `session_timeout_ms`, default 7 d, 1 min to 365 d: a session ends after so long in any case.
    pub session_timeout: Duration,
    /// `feed_clients_max`, default 10,000, 1 to 1,000,000: beyond it the feed answers 503 before the upgrade.
    pub feed_clients_max: usize,
    /// `feed_clients_per_principal_max`, default 256, 1 to 1,000,000: beyond it the feed answers 429 to that principal.
    pub feed_clients_per_principal_max: usize,
    /// `feed_clients_per_address_max`, default 1,024, 1 to 1,000,000: beyond it the feed answers 429 to that address.
    pub feed_clients_per_address_max: usize,
    /// `config_watch`, default `true`: this file is read again when it changes.
    pub config_watch: bool,
}

/// `[storage]`: the embedded database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// `path`, default `omnivisor/omnivisor.redb` below the XDG state directory.
    pub path: PathBuf,
    /// `key_file` or `key_env`, default none: what secrets in it are sealed with. Without it none is taken.
    pub key: Option<StorageKey>,
}

impl StorageConfig {
    /// The database at this path, without a key.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path, key: None }
    }
}

/// `[audit]`: the record of who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// `retention_days`, default 365, 1 to 36,500: records go after so many days, and that they went is a record.
    pub retention: Duration,
}

/// `[plugins]`: which components serve, and how far each call may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// `directory`, default `plugins` beside the binary: where `NAME.wasm` is looked for.
    pub directory: PathBuf,
    /// `cache_directory`, default `omnivisor/plugins` below the XDG cache directory: where compiled code is kept. Never
    /// inside `directory`.
    pub cache_directory: PathBuf,
    /// `component_bytes_max`, default 8 MiB, 64 KiB to 64 MiB: a larger component is not loaded.
    pub component_bytes_max: usize,
    /// `compile_timeout_ms`, default 30,000, 1,000 to 600,000: compiling one component ends within it, or is ended.
    pub compile_timeout: Duration,
    /// `compile_memory_bytes`, default 2 GiB, 512 MiB to 64 GiB: address space of the process that compiles.
    pub compile_memory_bytes: usize,
    /// `auth`, default `["auth-local"]`: 1 to 16 strategies in the order in which they are asked.
    pub auth: Vec<String>,
    /// `validate`, default `["validate-strict"]`: 1 to 16 validators, all of which see every request.
    pub validate: Vec<String>,
    /// `watch`, default `true`: a file in `directory` that changes is loaded at once.
    pub watch: bool,
    /// `probation_ms`, default 60,000, 100 to 3,600,000: a new generation that fails too often within it is given up.
    pub probation: Duration,
    /// `[plugins.auth_limits]`
    pub auth_limits: CallLimits,
    /// `[plugins.validate_limits]`
    pub validate_limits: CallLimits,
    /// `[plugins.adapter_limits]`
    pub adapter_limits: CallLimits,
    /// `[plugin.NAME]`: what is granted to single plugins. One that has no table is granted nothing.
    pub grants: BTreeMap<String, PluginConfig>,
}

impl PluginsConfig {
    /// The most that people without an account may be, by the strategy that vouches for them.
    #[must_use]
    pub fn roles_max(&self) -> BTreeMap<String, Role> {
        self.grants.iter().map(|(name, grant)| (name.clone(), grant.role_max)).collect()
    }

    /// What a plugin is granted, the defaults if it has no table of its own.
    #[must_use]
    pub fn grant(&self, plugin: &str) -> PluginConfig {
        self.grants.get(plugin).cloned().unwrap_or_default()
    }
}

/// `[plugin.NAME]`: what the operator grants to one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// `allow_http`, default none: origins it may call, `https://HOST[:PORT]` or `http://HOST[:PORT]`.
    pub allow_http: Vec<String>,
    /// `[plugin.NAME.secrets]`, default none: values it may ask for by name, from `{ env = "..." }` or `{ file = "..." }`.
    pub secrets: BTreeMap<String, Secret>,
    /// `role_max`, default `viewer`: the most that people whom this strategy vouches for, and who have no account here,
    /// may be.
    pub role_max: Role,
    /// `on_failure`, default `refuse`: what becomes of a request when this validator fails.
    pub on_failure: OnFailure,
    /// `canary_permille`, default 0, 0 to 500: the share of calls that a new generation gets at first.
    pub canary_permille: u32,
    /// `[plugin.NAME.limits]`: instead of those of its kind.
    pub limits: LimitOverrides,
    /// `[plugin.NAME.settings]`: what the plugin itself is told, as a JSON object.
    pub settings: String,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            allow_http: Vec::new(),
            secrets: BTreeMap::new(),
            role_max: Role::Viewer,
            on_failure: OnFailure::Refuse,
            canary_permille: 0,
            limits: LimitOverrides::default(),
            settings: "{}".to_owned(),
        }
    }
}

/// What becomes of a request when a validator fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is refused.
    Refuse,
    /// It goes on, as if the validator had found nothing.
    Allow,
}

/// Limits of one plugin that differ from those of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// `fuel`
    pub fuel: Option<u64>,
    /// `time_ms`
    pub time: Option<Duration>,
    /// `memory_bytes`
    pub memory_bytes: Option<usize>,
    /// `hostcall_bytes`
    pub hostcall_bytes: Option<usize>,
    /// `calls_max`
    pub calls_max: Option<usize>,
}

impl LimitOverrides {
    /// The limits of a kind with these in their place.
    #[must_use]
    pub fn over(&self, limits: &CallLimits) -> CallLimits {
        CallLimits {
            fuel: self.fuel.unwrap_or(limits.fuel),
            time: self.time.unwrap_or(limits.time),
            memory_bytes: self.memory_bytes.unwrap_or(limits.memory_bytes),
            hostcall_bytes: self.hostcall_bytes.unwrap_or(limits.hostcall_bytes),
            calls_max: self.calls_max.unwrap_or(limits.calls_max),
        }
    }

    /// These, and `others` where these say nothing.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            fuel: self.fuel.or(others.fuel),
            time: self.time.or(others.time),
            memory_bytes: self.memory_bytes.or(others.memory_bytes),
            hostcall_bytes: self.hostcall_bytes.or(others.hostcall_bytes),
            calls_max: self.calls_max.or(others.calls_max),
        }
    }

    /// The numbers as they are written, in the order of [`LIMIT_KEYS`](crate::config::LIMIT_KEYS).
    #[must_use]
    pub fn numbers(&self) -> [Option<u64>; 5] {
        let size = |bytes: usize| bytes as u64;
        let (memory, hostcall) = (self.memory_bytes.map(size), self.hostcall_bytes.map(size));
        [self.fuel, self.time.map(millis), memory, hostcall, self.calls_max.map(size)]
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

impl CallLimits {
    /// The numbers as they are written, in the order of [`LIMIT_KEYS`](crate::config::LIMIT_KEYS).
    #[must_use]
    pub fn numbers(&self) -> [u64; 5] {
        let (memory, hostcall) = (self.memory_bytes as u64, self.hostcall_bytes as u64);
        [self.fuel, millis(self.time), memory, hostcall, self.calls_max as u64]
    }
}

/// `[pool]`: how nodes are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// `poll_interval_ms`, default 1,000, 100 to 3,600,000: the shortest time between two full observations;
    /// five times as long while a hint stream tells of changes.
    pub poll_interval: Duration,
    /// `nudge_interval_ms`, default 110, 0 (off) to 60,000: a byte or a cheap request that wakes a supervisor with up to 50
    /// programs, so that its hint stream speaks at once.
    pub nudge_interval: Duration,
    /// `connect_timeout_ms`, default 1,000, 10 to 60,000.
    pub connect_timeout: Duration,
    /// `call_timeout_ms`, default 2,000, 10 to 60,000: one observation, the look before an order among them.
    pub call_timeout: Duration,
    /// `order_timeout_ms`, default 2,000, 10 to 60,000: a node takes one order within it.
    pub order_timeout: Duration,
    /// `log_timeout_ms`, default 2,000, 10 to 60,000: one read of a log.
    pub log_timeout: Duration,
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

/// `[orders]`: how far requests that give orders may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersConfig {
    /// `wait_max_ms`, default 60,000, 1,000 to 3,600,000: the longest that a request may have its answer wait for its
    /// process to settle.
    pub wait_max: Duration,
    /// `batches_max`, default 16, 1 to 1,024: batches under way at once.
    pub batches_max: usize,
    /// `batch_items_max`, default 1,000, 1 to 100,000: processes that one batch may be about.
    pub batch_items_max: usize,
    /// `batch_at_once_max`, default 32, 1 to 1,024: the most orders of one batch at once that may be asked for.
    pub batch_at_once_max: usize,
    /// `batch_timeout_max_ms`, default 3,600,000, 1,000 to 86,400,000: the longest time for all of a batch that may be
    /// asked for.
    pub batch_timeout_max: Duration,
}

/// `[telemetry]`: where requests are told as spans of distributed traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `otlp_endpoint`, default none: the collector, `http://HOST:4318` or with a path; spans go to `/v1/traces` below it.
    pub otlp_endpoint: Option<String>,
    /// `sample_percent`, default 100: of the traces that begin here so many of a hundred are recorded.
    pub sample_percent: u64,
}

/// `[metrics]`: the page for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// `open`, default `false`: `/metrics` is answered to everybody, without a credential.
    pub is_open: bool,
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
    /// `enabled`, default `true`. A node that is not is shown, and nothing is sent to it.
    pub is_enabled: bool,
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
