//! The configuration as the API shows it: what is in force, and never a secret.

use crate::api::wire::config::{ConfigView, NodeSettingsView};
use crate::config::{
    CallLimits, Endpoint, KeySource, LIMIT_KEYS, LogConfig, LogFormat, NodeConfig, OrdersConfig, PluginsConfig,
    PoolConfig, ServerConfig, Snapshot, StorageConfig, StorageKey,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// All of it.
pub(super) fn config(snapshot: &Snapshot) -> ConfigView {
    let config = &snapshot.config;
    let mut settings = BTreeMap::new();
    let sections = [
        ("server", server(&config.server)),
        ("storage", storage(&config.storage)),
        ("audit", vec![("retention_days", json!(config.audit.retention.as_secs() / 86_400))]),
        ("plugins", plugins(&config.plugins)),
        ("pool", pool(&config.pool)),
        ("orders", orders(&config.orders)),
        ("log", log(&config.log)),
        ("metrics", vec![("open", json!(config.metrics.is_open))]),
        (
            "telemetry",
            vec![
                ("otlp_endpoint", json!(config.telemetry.otlp_endpoint)),
                ("sample_percent", json!(config.telemetry.sample_percent)),
            ],
        ),
    ];
    for (section, keys) in sections {
        settings.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
    }
    let places: Vec<String> = config.listen.iter().map(|listener| listener.place.to_string()).collect();
    settings.insert("listen".to_owned(), json!(places));
    let limits = [
        ("auth_limits", &config.plugins.auth_limits),
        ("validate_limits", &config.plugins.validate_limits),
        ("adapter_limits", &config.plugins.adapter_limits),
    ];
    for (kind, limits) in limits {
        settings.extend(numbers(limits).map(|(key, value)| (format!("plugins.{kind}.{key}"), value)));
    }
    for (name, grant) in &config.plugins.grants {
        // Its own settings may hold what only the plugin is to know; secrets are told by their names alone.
        let secrets: Vec<&String> = grant.secrets.keys().collect();
        settings.insert(format!("plugin.{name}.allow_http"), json!(grant.allow_http));
        settings.insert(format!("plugin.{name}.role_max"), json!(grant.role_max.as_str()));
        settings.insert(format!("plugin.{name}.canary_permille"), json!(grant.canary_permille));
        settings.insert(format!("plugin.{name}.secrets"), json!(secrets));
    }
    ConfigView {
        generation: snapshot.generation,
        settings,
        nodes: config.nodes.iter().map(|settings| node(snapshot, settings)).collect(),
        restart: snapshot.restart.iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn node(snapshot: &Snapshot, node: &NodeConfig) -> NodeSettingsView {
    let managed = snapshot.find_managed(node.name.as_str());
    NodeSettingsView {
        name: node.name.to_string(),
        owner: if managed.is_some() { "api" } else { "file" }.to_owned(),
        environment: node.environment.clone(),
        adapter: node.adapter.clone(),
        url: match &node.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => format!("http://[{host}]:{port}"),
            Endpoint::Tcp { host, port } => format!("http://{host}:{port}"),
            Endpoint::Unix { path } => format!("unix://{}", path.display()),
        },
        username: node.login.as_ref().map(|login| login.username.clone()).or_else(|| managed?.username.clone()),
        password: match (managed.is_some_and(|managed| managed.has_kept_password), &node.login) {
            (true, Some(_)) => "kept",
            (true, None) => "missing",
            (false, Some(_)) => "configured",
            (false, None) => "none",
        }
        .to_owned(),
        enabled: node.is_enabled,
    }
}

/// The key is told by its place alone.
fn storage(storage: &StorageConfig) -> Keys {
    let mut keys = vec![("path", json!(storage.path.display().to_string()))];
    match storage.key.as_ref().map(StorageKey::source) {
        Some(KeySource::File(path)) => keys.push(("key_file", json!(path.display().to_string()))),
        Some(KeySource::Variable(name)) => keys.push(("key_env", json!(name))),
        None => {}
    }
    keys
}

type Keys = Vec<(&'static str, Value)>;

fn millis(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn server(server: &ServerConfig) -> Keys {
    vec![
        ("listen", json!(server.listen.map(|address| address.to_string()))),
        ("external_url", json!(server.external_url)),
        ("base_path", json!(server.base_path)),
        ("trusted_proxies", json!(server.trusted_proxies.words())),
        ("proxy_header", json!(server.proxy_header.as_str())),
        ("connections_max", json!(server.connections_max)),
        ("connections_per_address_max", json!(server.connections_per_address_max)),
        ("body_bytes_max", json!(server.body_bytes_max)),
        ("request_timeout_ms", millis(server.request_timeout)),
        ("answer_timeout_ms", millis(server.answer_timeout)),
        ("handshake_timeout_ms", millis(server.handshake_timeout)),
        ("shutdown_timeout_ms", millis(server.shutdown_timeout)),
        ("drain_ms", millis(server.drain)),
        ("session_idle_timeout_ms", millis(server.session_idle_timeout)),
        ("session_timeout_ms", millis(server.session_timeout)),
        ("feed_clients_max", json!(server.feed_clients_max)),
        ("feed_clients_per_principal_max", json!(server.feed_clients_per_principal_max)),
        ("feed_clients_per_address_max", json!(server.feed_clients_per_address_max)),
        ("config_watch", json!(server.config_watch)),
    ]
}

fn plugins(plugins: &PluginsConfig) -> Keys {
    vec![
        ("directory", json!(plugins.directory.display().to_string())),
        ("cache_directory", json!(plugins.cache_directory.display().to_string())),
        ("component_bytes_max", json!(plugins.component_bytes_max)),
        ("compile_timeout_ms", millis(plugins.compile_timeout)),
        ("compile_memory_bytes", json!(plugins.compile_memory_bytes)),
        ("auth", json!(plugins.auth)),
        ("validate", json!(plugins.validate)),
        ("watch", json!(plugins.watch)),
        ("probation_ms", millis(plugins.probation)),
    ]
}

fn numbers(limits: &CallLimits) -> impl Iterator<Item = (&'static str, Value)> {
    LIMIT_KEYS.into_iter().map(|(key, ..)| key).zip(limits.numbers().map(|number| json!(number)))
}

fn pool(pool: &PoolConfig) -> Keys {
    vec![
        ("poll_interval_ms", millis(pool.poll_interval)),
        ("nudge_interval_ms", millis(pool.nudge_interval)),
        ("connect_timeout_ms", millis(pool.connect_timeout)),
        ("call_timeout_ms", millis(pool.call_timeout)),
        ("order_timeout_ms", millis(pool.order_timeout)),
        ("log_timeout_ms", millis(pool.log_timeout)),
        ("response_bytes_max", json!(pool.response_bytes_max)),
        ("failures_max", json!(pool.failures_max)),
        ("breaker_failures_max", json!(pool.breaker_failures_max)),
        ("breaker_cooldown_ms", millis(pool.breaker_cooldown)),
        ("commands_max", json!(pool.commands_max)),
    ]
}

fn orders(orders: &OrdersConfig) -> Keys {
    vec![
        ("wait_max_ms", millis(orders.wait_max)),
        ("batches_max", json!(orders.batches_max)),
        ("batch_items_max", json!(orders.batch_items_max)),
        ("batch_at_once_max", json!(orders.batch_at_once_max)),
        ("batch_timeout_max_ms", millis(orders.batch_timeout_max)),
    ]
}

fn log(log: &LogConfig) -> Keys {
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    vec![("level", json!(log.level)), ("format", json!(format))]
}
