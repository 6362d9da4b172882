//! What differs between two configurations, and what of it can be applied while the host runs. Pure.

use crate::config::schema::{
    AuditConfig, Config, LogConfig, NodeConfig, OrdersConfig, PluginsConfig, PoolConfig, ServerConfig, StorageConfig,
    TelemetryConfig,
};
use crate::model::NodeId;
use std::collections::BTreeMap;

/// What applying a change of a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It counts from the next request, call or connection on.
    Live,
    /// It is settled when the host starts.
    Restart,
}

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Keys of settings with other values, e.g. `server.listen`.
    pub settings: Vec<(&'static str, Effect)>,
    /// Plugins with other grants, limits or settings of their own, sorted.
    pub plugins: Vec<String>,
    /// The nodes that are new, sorted by name.
    pub nodes_added: Vec<NodeConfig>,
    /// The nodes that are another way, as they are to be, sorted by name.
    pub nodes_changed: Vec<NodeConfig>,
    /// The nodes that are gone, sorted.
    pub nodes_removed: Vec<NodeId>,
}

impl Diff {
    /// True when nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The keys that wait for a restart.
    #[must_use]
    pub fn restart(&self) -> Vec<&'static str> {
        self.settings.iter().filter(|(_, effect)| *effect == Effect::Restart).map(|(key, _)| *key).collect()
    }

    /// The keys that are applied at once.
    #[must_use]
    pub fn live(&self) -> Vec<&'static str> {
        self.settings.iter().filter(|(_, effect)| *effect == Effect::Live).map(|(key, _)| *key).collect()
    }

    /// The nodes of the second configuration, made of those of the first.
    #[must_use]
    pub fn apply_nodes(&self, nodes: &[NodeConfig]) -> Vec<NodeConfig> {
        let mut made: BTreeMap<NodeId, NodeConfig> =
            nodes.iter().map(|node| (node.name.clone(), node.clone())).collect();
        made.retain(|name, _| !self.nodes_removed.contains(name));
        for node in self.nodes_added.iter().chain(&self.nodes_changed) {
            made.insert(node.name.clone(), node.clone());
        }
        made.into_values().collect()
    }
}

/// What differs.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut settings = Vec::new();
    settings.extend(server(&old.server, &new.server));
    settings.extend(differing([("listen", old.listen != new.listen, Effect::Restart)]));
    settings.extend(storage(&old.storage, &new.storage));
    settings.extend(audit(&old.audit, &new.audit));
    settings.extend(plugins(&old.plugins, &new.plugins));
    settings.extend(pool(&old.pool, &new.pool));
    settings.extend(orders(&old.orders, &new.orders));
    settings.extend(log(&old.log, &new.log));
    settings.extend(differing([("metrics.open", old.metrics != new.metrics, Effect::Live)]));
    settings.extend(telemetry(&old.telemetry, &new.telemetry));
    let (before, after) = (&old.plugins.grants, &new.plugins.grants);
    let mut granted: Vec<String> =
        before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    granted.sort();
    granted.dedup();
    let by_name = |config: &Config| -> BTreeMap<NodeId, NodeConfig> {
        config.nodes.iter().map(|node| (node.name.clone(), node.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let (known, nodes_added): (Vec<_>, Vec<_>) =
        after.values().cloned().partition(|node| before.contains_key(&node.name));
    Diff {
        settings,
        plugins: granted,
        nodes_added,
        nodes_changed: known.into_iter().filter(|node| before.get(&node.name) != Some(node)).collect(),
        nodes_removed: before.into_keys().filter(|name| !after.contains_key(name)).collect(),
    }
}

/// The configuration that is in force once `new` was applied over `old` without a restart: each setting that needs one is
/// as it was.
#[must_use]
pub fn in_force(old: &Config, new: &Config) -> Config {
    let server =
        ServerConfig { listen: old.server.listen, base_path: old.server.base_path.clone(), ..new.server.clone() };
    let plugins = PluginsConfig {
        directory: old.plugins.directory.clone(),
        cache_directory: old.plugins.cache_directory.clone(),
        component_bytes_max: old.plugins.component_bytes_max,
        compile_timeout: old.plugins.compile_timeout,
        compile_memory_bytes: old.plugins.compile_memory_bytes,
        watch: old.plugins.watch,
        ..new.plugins.clone()
    };
    Config {
        server,
        listen: old.listen.clone(),
        storage: old.storage.clone(),
        audit: new.audit.clone(),
        plugins,
        pool: new.pool.clone(),
        orders: new.orders.clone(),
        log: LogConfig { format: old.log.format, ..new.log.clone() },
        metrics: new.metrics,
        telemetry: new.telemetry.clone(),
        nodes: new.nodes.clone(),
    }
}

type Settings = Vec<(&'static str, Effect)>;

fn differing<const N: usize>(table: [(&'static str, bool, Effect); N]) -> Settings {
    table.into_iter().filter(|(_, differs, _)| *differs).map(|(key, _, effect)| (key, effect)).collect()
}

// Each section is taken apart whole, so that a new key does not compile before someone decides what a change of it takes.

fn server(old: &ServerConfig, new: &ServerConfig) -> Settings {
    let ServerConfig {
        listen,
        external_url,
        base_path,
        trusted_proxies,
        proxy_header,
        connections_max,
        connections_per_address_max,
        body_bytes_max,
        request_timeout,
        answer_timeout,
        handshake_timeout,
        shutdown_timeout,
        drain,
        session_idle_timeout,
        session_timeout,
        feed_clients_max,
        feed_clients_per_principal_max,
        feed_clients_per_address_max,
        config_watch,
    } = old;
    differing([
        ("server.listen", *listen != new.listen, Effect::Restart),
        ("server.external_url", *external_url != new.external_url, Effect::Live),
        ("server.base_path", *base_path != new.base_path, Effect::Restart),
        ("server.trusted_proxies", *trusted_proxies != new.trusted_proxies, Effect::Live),
        ("server.proxy_header", *proxy_header != new.proxy_header, Effect::Live),
        ("server.connections_max", *connections_max != new.connections_max, Effect::Live),
        (
            "server.connections_per_address_max",
            *connections_per_address_max != new.connections_per_address_max,
            Effect::Live,
        ),
        ("server.body_bytes_max", *body_bytes_max != new.body_bytes_max, Effect::Live),
        ("server.request_timeout_ms", *request_timeout != new.request_timeout, Effect::Live),
        ("server.answer_timeout_ms", *answer_timeout != new.answer_timeout, Effect::Live),
        ("server.handshake_timeout_ms", *handshake_timeout != new.handshake_timeout, Effect::Live),
        ("server.shutdown_timeout_ms", *shutdown_timeout != new.shutdown_timeout, Effect::Live),
        ("server.drain_ms", *drain != new.drain, Effect::Live),
        ("server.session_idle_timeout_ms", *session_idle_timeout != new.session_idle_timeout, Effect::Live),
        ("server.session_timeout_ms", *session_timeout != new.session_timeout, Effect::Live),
        ("server.feed_clients_max", *feed_clients_max != new.feed_clients_max, Effect::Live),
        (
            "server.feed_clients_per_principal_max",
            *feed_clients_per_principal_max != new.feed_clients_per_principal_max,
            Effect::Live,
        ),
        (
            "server.feed_clients_per_address_max",
            *feed_clients_per_address_max != new.feed_clients_per_address_max,
            Effect::Live,
        ),
        ("server.config_watch", *config_watch != new.config_watch, Effect::Live),
    ])
}

fn storage(old: &StorageConfig, new: &StorageConfig) -> Settings {
    let StorageConfig { path, key } = old;
    differing([
        ("storage.path", *path != new.path, Effect::Restart),
        ("storage.key_file", *key != new.key, Effect::Restart),
    ])
}

fn telemetry(old: &TelemetryConfig, new: &TelemetryConfig) -> Settings {
    let TelemetryConfig { otlp_endpoint, sample_percent } = old;
    differing([
        ("telemetry.otlp_endpoint", *otlp_endpoint != new.otlp_endpoint, Effect::Live),
        ("telemetry.sample_percent", *sample_percent != new.sample_percent, Effect::Live),
    ])
}

fn audit(old: &AuditConfig, new: &AuditConfig) -> Settings {
    let AuditConfig { retention } = old;
    differing([("audit.retention_days", *retention != new.retention, Effect::Live)])
}

fn plugins(old: &PluginsConfig, new: &PluginsConfig) -> Settings {
    let PluginsConfig {
        directory,
        cache_directory,
        component_bytes_max,
        compile_timeout,
        compile_memory_bytes,
        auth,
        validate,
        watch,
        probation,
        auth_limits,
        validate_limits,
        adapter_limits,
        grants: _, // told by plugin
    } = old;
    differing([
        ("plugins.directory", *directory != new.directory, Effect::Restart),
        ("plugins.cache_directory", *cache_directory != new.cache_directory, Effect::Restart),
        ("plugins.component_bytes_max", *component_bytes_max != new.component_bytes_max, Effect::Restart),
        ("plugins.compile_timeout_ms", *compile_timeout != new.compile_timeout, Effect::Restart),
        ("plugins.compile_memory_bytes", *compile_memory_bytes != new.compile_memory_bytes, Effect::Restart),
        ("plugins.auth", *auth != new.auth, Effect::Live),
        ("plugins.validate", *validate != new.validate, Effect::Live),
        ("plugins.watch", *watch != new.watch, Effect::Restart),
        ("plugins.probation_ms", *probation != new.probation, Effect::Live),
        ("plugins.auth_limits", *auth_limits != new.auth_limits, Effect::Live),
        ("plugins.validate_limits", *validate_limits != new.validate_limits, Effect::Live),
        ("plugins.adapter_limits", *adapter_limits != new.adapter_limits, Effect::Live),
    ])
}

fn pool(old: &PoolConfig, new: &PoolConfig) -> Settings {
    let PoolConfig {
        poll_interval,
        nudge_interval,
        connect_timeout,
        call_timeout,
        order_timeout,
        log_timeout,
        response_bytes_max,
        failures_max,
        breaker_failures_max,
        breaker_cooldown,
        commands_max,
    } = old;
    differing([
        ("pool.poll_interval_ms", *poll_interval != new.poll_interval, Effect::Live),
        ("pool.nudge_interval_ms", *nudge_interval != new.nudge_interval, Effect::Live),
        ("pool.connect_timeout_ms", *connect_timeout != new.connect_timeout, Effect::Live),
        ("pool.call_timeout_ms", *call_timeout != new.call_timeout, Effect::Live),
        ("pool.order_timeout_ms", *order_timeout != new.order_timeout, Effect::Live),
        ("pool.log_timeout_ms", *log_timeout != new.log_timeout, Effect::Live),
        ("pool.response_bytes_max", *response_bytes_max != new.response_bytes_max, Effect::Live),
        ("pool.failures_max", *failures_max != new.failures_max, Effect::Live),
        ("pool.breaker_failures_max", *breaker_failures_max != new.breaker_failures_max, Effect::Live),
        ("pool.breaker_cooldown_ms", *breaker_cooldown != new.breaker_cooldown, Effect::Live),
        ("pool.commands_max", *commands_max != new.commands_max, Effect::Live),
    ])
}

fn orders(old: &OrdersConfig, new: &OrdersConfig) -> Settings {
    let OrdersConfig { wait_max, batches_max, batch_items_max, batch_at_once_max, batch_timeout_max } = old;
    differing([
        ("orders.wait_max_ms", *wait_max != new.wait_max, Effect::Live),
        ("orders.batches_max", *batches_max != new.batches_max, Effect::Live),
        ("orders.batch_items_max", *batch_items_max != new.batch_items_max, Effect::Live),
        ("orders.batch_at_once_max", *batch_at_once_max != new.batch_at_once_max, Effect::Live),
        ("orders.batch_timeout_max_ms", *batch_timeout_max != new.batch_timeout_max, Effect::Live),
    ])
}

fn log(old: &LogConfig, new: &LogConfig) -> Settings {
    let LogConfig { level, format } = old;
    differing([
        ("log.level", *level != new.level, Effect::Live),
        ("log.format", *format != new.format, Effect::Restart),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, MachineSecrets, check};
    use proptest::prelude::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let defaults = Defaults {
            storage_path: "/x.redb".into(),
            plugins_directory: "/plugins".into(),
            cache_directory: "/cache".into(),
        };
        check(text, &MachineSecrets, Path::new("/"), &defaults).expect("legal")
    }

    fn any_config() -> impl Strategy<Value = Config> {
        let setting = prop::sample::select(vec![
            "server.listen = \"127.0.0.1:1\"",
            "server.external_url = \"https://x\"",
            "server.base_path = \"/x\"",
            "server.trusted_proxies = [\"10.0.0.0/8\"]",
            "server.answer_timeout_ms = 700",
            "server.handshake_timeout_ms = 700",
            "server.connections_per_address_max = 7",
            "server.body_bytes_max = 2048",
            "server.request_timeout_ms = 700",
            "server.drain_ms = 3",
            "server.session_timeout_ms = 90000",
            "server.config_watch = false",
            "storage.path = \"/y.redb\"",
            "plugins.directory = \"/other\"",
            "plugins.watch = false",
            "plugins.compile_timeout_ms = 2000",
            "plugins.auth = [\"auth-token\"]",
            "plugins.probation_ms = 500",
            "plugins.auth_limits.fuel = 5",
            "plugins.adapter_limits.calls_max = 7",
            "plugin.a.canary_permille = 5",
            "plugin.b.limits.fuel = 9",
            "pool.failures_max = 9",
            "pool.order_timeout_ms = 700",
            "orders.wait_max_ms = 7000",
            "log.level = \"warn\"",
            "log.format = \"json\"",
            "metrics.open = true",
            "telemetry.otlp_endpoint = \"http://x:4318\"",
            "telemetry.sample_percent = 7",
            "server.proxy_header = \"forwarded\"",
        ]);
        let settings = prop::collection::btree_set(setting, 0..8);
        let nodes = prop::collection::btree_map(0..12_u8, (1..4_u16, 0..3_u8), 0..12);
        (settings, nodes).prop_map(|(settings, nodes)| {
            let mut text = String::from("# \n");
            for line in settings {
                text.push_str(line);
                text.push('\n');
            }
            for (name, (port, environment)) in nodes {
                text.push_str(&format!("[[node]]\nname = \"n{name}\"\nurl = \"http://x:{port}\"\n"));
                if environment > 0 {
                    text.push_str(&format!("environment = \"e{environment}\"\n"));
                }
            }
            config(&text)
        })
    }

    proptest! {
        #[test]
        fn applying_the_difference_to_the_first_gives_the_second(old in any_config(), new in any_config()) {
            let differs = diff(&old, &new);
            prop_assert_eq!(differs.apply_nodes(&old.nodes), new.nodes.clone());
            prop_assert_eq!(differs.is_empty(), old == new);
            prop_assert!(diff(&new, &new).is_empty());
            // What is in force differs from the old by what is live, and from the new by what waits for a restart.
            let force = in_force(&old, &new);
            let (applied, left) = (diff(&old, &force), diff(&force, &new));
            prop_assert_eq!(applied.live(), differs.live());
            prop_assert_eq!(left.restart(), differs.restart());
            prop_assert_eq!((left.live(), left.plugins, left.nodes_added.len() + left.nodes_changed.len() + left.nodes_removed.len()),
                (vec![], vec![], 0));
            prop_assert_eq!(in_force(&force, &new), force, "applied twice is applied once");
        }
    }

    #[test]
    fn what_needs_a_restart_is_told_by_its_key() {
        let old = config("[server]\n");
        let new = config(
            "[server]\nlisten = \"127.0.0.1:1\"\nbody_bytes_max = 2048\n[plugins]\nwatch = false\nprobation_ms = 500\n\
             [plugin.auth-local]\ncanary_permille = 5\n[[node]]\nname = \"a\"\nurl = \"http://x:1\"\n",
        );
        let differs = diff(&old, &new);
        assert_eq!(differs.restart(), ["server.listen", "plugins.watch"]);
        assert_eq!(differs.live(), ["server.body_bytes_max", "plugins.probation_ms"]);
        assert_eq!((differs.plugins.as_slice(), differs.nodes_added.len()), (["auth-local".to_owned()].as_slice(), 1));
    }
}
