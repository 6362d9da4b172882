use crate::config::fault::{ConfigFault, line_at};
use crate::config::grant::{check_grants, origin_of, parse_origin};
use crate::config::listen::{check_base_path, check_listeners, check_proxies, check_proxy_header};
use crate::config::log_filter::LogFilter;
use crate::config::node::check_nodes;
use crate::config::schema::{
    AuditConfig, CallLimits, Config, LogConfig, LogFormat, MetricsConfig, OrdersConfig, PluginsConfig, PoolConfig,
    ServerConfig, StorageConfig, TelemetryConfig,
};
use crate::config::secret::SecretSource;
use crate::config::section::{Report, Section};
use crate::config::storage_key::check_storage_key;
use crate::model::NodeId;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const PLUGINS_MAX: usize = 16;

/// Defaults that depend on the machine, so that this room need not look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// For `storage.path`.
    pub storage_path: PathBuf,
    /// For `plugins.directory`.
    pub plugins_directory: PathBuf,
    /// For `plugins.cache_directory`.
    pub cache_directory: PathBuf,
}

/// Checks a configuration and makes it a snapshot, with the secrets that it names.
///
/// Relative paths in it start at `base`, the directory of the configuration's file.
///
/// # Errors
/// Every fault of the text, in the order of their lines. When the text is no TOML, only the faults of its syntax: what
/// the rest means is not known then.
pub fn check(
    text: &str,
    secrets: &dyn SecretSource,
    base: &Path,
    defaults: &Defaults,
) -> Result<Config, Vec<ConfigFault>> {
    if text.trim().is_empty() {
        return Err(vec![ConfigFault {
            line: None,
            key: String::new(),
            problem: "the file is empty".to_owned(),
            advice: "expected at least a comment; a file that is cut short must not pass for the defaults".to_owned(),
        }]);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut faults: Vec<ConfigFault> = errors.iter().map(|error| syntax_fault(text, error)).collect();
        faults.sort_by_key(|fault| fault.line);
        return Err(faults);
    }
    let mut report = Report::new(text);
    let mut root = Section::new(String::new(), document.span(), document.get_ref());
    let listen = check_listeners(root.sections(&mut report, "listen"), &mut report, base);
    let config = Config {
        server: check_server(root.section(&mut report, "server"), &mut report, !listen.is_empty()),
        listen,
        storage: check_storage(root.section(&mut report, "storage"), &mut report, (secrets, base), defaults),
        audit: check_audit(root.section(&mut report, "audit"), &mut report),
        plugins: PluginsConfig {
            grants: check_grants(root.table(&mut report, "plugin"), &mut report, secrets, base),
            ..check_plugins(root.section(&mut report, "plugins"), &mut report, base, defaults)
        },
        pool: check_pool(root.section(&mut report, "pool"), &mut report),
        orders: check_orders(root.section(&mut report, "orders"), &mut report),
        log: check_log(root.section(&mut report, "log"), &mut report),
        metrics: check_metrics(root.section(&mut report, "metrics"), &mut report),
        telemetry: check_telemetry(root.section(&mut report, "telemetry"), &mut report),
        nodes: check_nodes(root.sections(&mut report, "node"), &mut report, secrets, base),
    };
    root.finish(&mut report, &[]);
    if report.faults.is_empty() {
        return Ok(config);
    }
    report.faults.sort_by_key(|fault| fault.line);
    Err(report.faults)
}

fn syntax_fault(text: &str, error: &toml::de::Error) -> ConfigFault {
    let (problem, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let is_duplicate = problem == "duplicate key";
    let key = error.span().filter(|_| is_duplicate).and_then(|span| text.get(span)).unwrap_or_default();
    let advice = match expected {
        "" if is_duplicate => "expected each key and table once".to_owned(),
        "" => "expected TOML".to_owned(),
        expected => format!("expected {expected}"),
    };
    ConfigFault {
        line: error.span().map(|span| line_at(text, span.start)),
        key: key.to_owned(),
        problem: problem.to_owned(),
        advice,
    }
}

fn check_server(mut section: Section<'_>, report: &mut Report<'_>, listens_elsewhere: bool) -> ServerConfig {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8642));
    let listen = section.text(report, "listen").map_or((!listens_elsewhere).then_some(default), |(text, span)| {
        let parsed = text.parse().unwrap_or_else(|_| {
            let problem = format!("{text:?} is not an address to listen at");
            report.fault(&span, section.path_of("listen"), problem, "expected IP:PORT, e.g. \"127.0.0.1:8642\"");
            default
        });
        Some(parsed)
    });
    let external_url = section.text(report, "external_url").and_then(|(text, span)| {
        let origin = parse_origin(text);
        if origin.is_none() {
            let advice = "expected \"https://HOST\" or \"https://HOST:PORT\" (or http), without user, path or query";
            report.fault(&span, section.path_of("external_url"), format!("{text:?} is not such an address"), advice);
        }
        origin
    });
    let server = ServerConfig {
        listen,
        external_url,
        base_path: check_base_path(&mut section, report),
        trusted_proxies: check_proxies(&mut section, report),
        proxy_header: check_proxy_header(&mut section, report),
        connections_max: section.size(report, "connections_max", 4096, 1..=1_000_000),
        connections_per_address_max: section.size(report, "connections_per_address_max", 1024, 1..=1_000_000),
        body_bytes_max: section.size(report, "body_bytes_max", 64 * KIB, KIB..=16 * MIB),
        request_timeout: section.millis(report, "request_timeout_ms", 10_000, 100..=600_000),
        answer_timeout: section.millis(report, "answer_timeout_ms", 30_000, 100..=600_000),
        handshake_timeout: section.millis(report, "handshake_timeout_ms", 5_000, 100..=60_000),
        shutdown_timeout: section.millis(report, "shutdown_timeout_ms", 10_000, 100..=600_000),
        drain: section.millis(report, "drain_ms", 200, 0..=60_000),
        session_idle_timeout: section.millis(report, "session_idle_timeout_ms", DAY_MS / 2, MINUTE_MS..=365 * DAY_MS),
        session_timeout: section.millis(report, "session_timeout_ms", 7 * DAY_MS, MINUTE_MS..=365 * DAY_MS),
        feed_clients_max: section.size(report, "feed_clients_max", 10_000, 1..=1_000_000),
        feed_clients_per_principal_max: section.size(report, "feed_clients_per_principal_max", 256, 1..=1_000_000),
        feed_clients_per_address_max: section.size(report, "feed_clients_per_address_max", 1_024, 1..=1_000_000),
        config_watch: section.flag(report, "config_watch", true),
    };
    section.finish(report, &[]);
    server
}

fn check_storage(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    (secrets, base): (&dyn SecretSource, &Path),
    defaults: &Defaults,
) -> StorageConfig {
    let path = check_path(&mut section, report, "path", base).unwrap_or_else(|| defaults.storage_path.clone());
    let key = check_storage_key(&mut section, report, secrets, base);
    section.finish(report, &[]);
    StorageConfig { path, key }
}

fn check_audit(mut section: Section<'_>, report: &mut Report<'_>) -> AuditConfig {
    let days = section.integer(report, "retention_days", 365, 1..=36_500);
    section.finish(report, &[]);
    AuditConfig { retention: Duration::from_millis(days * DAY_MS) }
}

fn check_plugins(mut section: Section<'_>, report: &mut Report<'_>, base: &Path, defaults: &Defaults) -> PluginsConfig {
    let directory =
        check_path(&mut section, report, "directory", base).unwrap_or_else(|| defaults.plugins_directory.clone());
    let cache_directory = check_cache_directory(&mut section, report, base, defaults, &directory);
    let mut limits = |key, default| check_limits(section.section(report, key), report, default);
    let auth_limits = limits("auth_limits", [150_000_000, 2_000, 16 * MIB, 256 * KIB, 32]);
    let validate_limits = limits("validate_limits", [20_000_000, 50, 32 * MIB, MIB, 64]);
    let adapter_limits = limits("adapter_limits", [500_000_000, 5_000, 64 * MIB, 16 * MIB, 256]);
    let plugins = PluginsConfig {
        directory,
        cache_directory,
        component_bytes_max: section.size(report, "component_bytes_max", 8 * MIB, 64 * KIB..=64 * MIB),
        compile_timeout: section.millis(report, "compile_timeout_ms", 30_000, 1_000..=600_000),
        compile_memory_bytes: section.size(report, "compile_memory_bytes", 2 * GIB, 512 * MIB..=64 * GIB),
        auth: check_plugin_names(&mut section, report, "auth", "auth-local"),
        validate: check_plugin_names(&mut section, report, "validate", "validate-strict"),
        watch: section.flag(report, "watch", true),
        probation: section.millis(report, "probation_ms", MINUTE_MS, 100..=60 * MINUTE_MS),
        auth_limits,
        validate_limits,
        adapter_limits,
        grants: BTreeMap::new(),
    };
    section.finish(report, &[]);
    plugins
}

/// Compiled code must never be loaded from where plugins are put: who may replace a plugin could place code there.
fn check_cache_directory(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    base: &Path,
    defaults: &Defaults,
    plugins: &Path,
) -> PathBuf {
    let cache =
        check_path(section, report, "cache_directory", base).unwrap_or_else(|| defaults.cache_directory.clone());
    if cache.starts_with(plugins) {
        let span = section.span_of("cache_directory").unwrap_or_else(|| section.span().clone());
        let problem = "it lies inside the plugins' `directory`";
        let path = section.path_of("cache_directory");
        report.fault(&span, path, problem, "expected a directory that only this server writes to");
    }
    cache
}

/// The limits of a call with their ranges, in the order of [`CallLimits`].
pub const LIMIT_KEYS: [(&str, u64, u64); 5] = [
    ("fuel", 1, 1_000_000_000_000),
    ("time_ms", 1, 600_000),
    ("memory_bytes", 64 * KIB, 64 * MIB),
    ("hostcall_bytes", KIB, 64 * MIB),
    ("calls_max", 1, 1024),
];

fn check_limits(mut section: Section<'_>, report: &mut Report<'_>, default: [u64; 5]) -> CallLimits {
    let mut values = default.into_iter();
    let [fuel, time, memory, hostcall, calls] =
        LIMIT_KEYS.map(|(key, least, most)| section.integer(report, key, values.next().unwrap_or(least), least..=most));
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let limits = CallLimits {
        fuel,
        time: Duration::from_millis(time),
        memory_bytes: size(memory),
        hostcall_bytes: size(hostcall),
        calls_max: size(calls),
    };
    section.finish(report, &[]);
    limits
}

fn check_plugin_names(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    default: &str,
) -> Vec<String> {
    let Some((names, span)) = section.texts(report, key) else { return vec![default.to_owned()] };
    let path = section.path_of(key);
    if names.is_empty() || names.len() > PLUGINS_MAX {
        let problem = format!("{} plugins are named", names.len());
        report.fault(&span, &path, problem, format!("expected 1 to {PLUGINS_MAX}, e.g. [{default:?}]"));
    }
    for (index, name) in names.iter().enumerate() {
        let path = format!("{path}[{index}]");
        check_name(report, &span, &path, name, "a plugin's name, e.g. \"auth-local\"");
        if names.iter().take(index).any(|earlier| earlier == name) {
            report.fault(&span, path, format!("{name:?} is named twice"), "expected each plugin once");
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

fn check_pool(mut section: Section<'_>, report: &mut Report<'_>) -> PoolConfig {
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let pool = PoolConfig {
        poll_interval: section.millis(report, "poll_interval_ms", 1_000, 100..=3_600_000),
        nudge_interval: section.millis(report, "nudge_interval_ms", 110, 0..=60_000),
        connect_timeout: section.millis(report, "connect_timeout_ms", 1_000, 10..=60_000),
        call_timeout: section.millis(report, "call_timeout_ms", 2_000, 10..=60_000),
        order_timeout: section.millis(report, "order_timeout_ms", 2_000, 10..=60_000),
        log_timeout: section.millis(report, "log_timeout_ms", 2_000, 10..=60_000),
        response_bytes_max: section.size(report, "response_bytes_max", 4 * MIB, 64 * KIB..=64 * MIB),
        failures_max: count(section.integer(report, "failures_max", 2, 1..=100)),
        breaker_failures_max: count(section.integer(report, "breaker_failures_max", 5, 1..=100)),
        breaker_cooldown: section.millis(report, "breaker_cooldown_ms", 2_000, 100..=3_600_000),
        commands_max: section.size(report, "commands_max", 32, 1..=1024),
    };
    section.finish(report, &[]);
    pool
}

fn check_orders(mut section: Section<'_>, report: &mut Report<'_>) -> OrdersConfig {
    let orders = OrdersConfig {
        wait_max: section.millis(report, "wait_max_ms", MINUTE_MS, 1_000..=60 * MINUTE_MS),
        batches_max: section.size(report, "batches_max", 16, 1..=1024),
        batch_items_max: section.size(report, "batch_items_max", 1_000, 1..=100_000),
        batch_at_once_max: section.size(report, "batch_at_once_max", 32, 1..=1024),
        batch_timeout_max: section.millis(report, "batch_timeout_max_ms", 60 * MINUTE_MS, 1_000..=DAY_MS),
    };
    section.finish(report, &[]);
    orders
}

fn check_telemetry(mut section: Section<'_>, report: &mut Report<'_>) -> TelemetryConfig {
    let otlp_endpoint = section.text(report, "otlp_endpoint").and_then(|(text, span)| {
        let url = text.parse::<http::Uri>().ok().filter(|url| {
            origin_of(url).is_some() && url.query().is_none() && !text.contains('#') && !url.path().ends_with("/v1/traces")
        });
        if url.is_none() {
            let advice = "expected \"http://HOST:PORT\" (or https), with a path below which `/v1/traces` is, without user or query";
            report.fault(&span, section.path_of("otlp_endpoint"), "it is not the address of a collector".to_owned(), advice);
        }
        url.map(|_| text.trim_end_matches('/').to_owned())
    });
    let sample_percent = section.integer(report, "sample_percent", 100, 0..=100);
    section.finish(report, &[]);
    TelemetryConfig { otlp_endpoint, sample_percent }
}

fn check_metrics(mut section: Section<'_>, report: &mut Report<'_>) -> MetricsConfig {
    let is_open = section.flag(report, "open", false);
    section.finish(report, &[]);
    MetricsConfig { is_open }
}

fn check_log(mut section: Section<'_>, report: &mut Report<'_>) -> LogConfig {
    let level = section.text(report, "level").map_or("info", |(level, span)| {
        if let Err(bad) = LogFilter::parse(level) {
            let advice = format!("expected {}", LogFilter::EXPECTED);
            report.fault(&span, section.path_of("level"), bad.to_string(), advice);
        }
        level
    });
    let format = section.text(report, "format").map_or(LogFormat::Text, |(word, span)| match word {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            let problem = format!("{other:?} is not a format");
            report.fault(&span, section.path_of("format"), problem, "expected \"text\" or \"json\"");
            LogFormat::Text
        }
    });
    section.finish(report, &[]);
    LogConfig { level: level.to_owned(), format }
}

/// Names of nodes, environments and plugins follow one rule.
pub(super) fn check_name(
    report: &mut Report<'_>,
    span: &Range<usize>,
    path: &str,
    name: &str,
    expected: &str,
) -> Option<NodeId> {
    NodeId::parse(name)
        .map_err(|error| {
            let rule = "1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or digit";
            report.fault(span, path, error.to_string(), format!("expected {expected}: {rule}"));
        })
        .ok()
}

/// A path, made absolute against `base`.
pub(super) fn check_path(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    base: &Path,
) -> Option<PathBuf> {
    let (text, span) = section.text(report, key)?;
    if text.is_empty() || text.contains('\0') {
        report.fault(&span, section.path_of(key), "it is not a path", "expected a path, e.g. \"/var/lib/omnivisor/x\"");
        return None;
    }
    Some(base.join(text))
}
