use crate::config::schema::{
    CallLimits, Config, LogConfig, NodeConfig, PluginsConfig, PoolConfig, ServerConfig, StorageConfig,
};
use crate::model::NodeId;
use std::collections::BTreeMap;

/// What is different between two snapshots. Nodes change while we run; every other key needs a restart until the owner
/// of what it sets learns to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDiff {
    /// Nodes that only the new one has, sorted by name.
    pub nodes_added: Vec<NodeConfig>,
    /// Nodes that both have with different settings, as the new one has them, sorted by name. A password that was
    /// replaced is such a difference.
    pub nodes_changed: Vec<NodeConfig>,
    /// Nodes that only the old one has, sorted by name.
    pub nodes_removed: Vec<NodeId>,
    /// Keys with another value that take effect with the next start, e.g. `server.listen`.
    pub restart: Vec<&'static str>,
    settings: Settings,
}

/// All sections but the nodes, as the new snapshot has them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    server: ServerConfig,
    storage: StorageConfig,
    plugins: PluginsConfig,
    pool: PoolConfig,
    log: LogConfig,
}

/// Compares two snapshots.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> ConfigDiff {
    let before = by_name(&old.nodes);
    let after = by_name(&new.nodes);
    let added = after.iter().filter(|(name, _)| !before.contains_key(*name));
    let changed = after.iter().filter(|(name, node)| before.get(*name).is_some_and(|earlier| earlier != *node));
    ConfigDiff {
        nodes_added: added.map(|(_, node)| (*node).clone()).collect(),
        nodes_changed: changed.map(|(_, node)| (*node).clone()).collect(),
        nodes_removed: before.keys().filter(|name| !after.contains_key(*name)).map(|name| (*name).clone()).collect(),
        restart: restart_keys(old, new),
        settings: Settings {
            server: new.server.clone(),
            storage: new.storage.clone(),
            plugins: new.plugins.clone(),
            pool: new.pool.clone(),
            log: new.log.clone(),
        },
    }
}

impl ConfigDiff {
    /// True when the two snapshots are equal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes_added.is_empty()
            && self.nodes_changed.is_empty()
            && self.nodes_removed.is_empty()
            && self.restart.is_empty()
    }

    /// Makes the new snapshot from the old one.
    #[must_use]
    pub fn apply(&self, old: &Config) -> Config {
        let mut nodes = by_name(&old.nodes);
        for name in &self.nodes_removed {
            nodes.remove(name);
        }
        for node in self.nodes_added.iter().chain(&self.nodes_changed) {
            nodes.insert(&node.name, node);
        }
        let Settings { server, storage, plugins, pool, log } = self.settings.clone();
        Config { server, storage, plugins, pool, log, nodes: nodes.into_values().cloned().collect() }
    }
}

fn by_name(nodes: &[NodeConfig]) -> BTreeMap<&NodeId, &NodeConfig> {
    nodes.iter().map(|node| (&node.name, node)).collect()
}

/// Notes a key when its two values differ.
struct Keys(Vec<&'static str>);

impl Keys {
    fn note<T: PartialEq>(&mut self, key: &'static str, old: &T, new: &T) {
        if old != new {
            self.0.push(key);
        }
    }
}

fn restart_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Keys(Vec::new());
    server_keys(&mut keys, &old.server, &new.server);
    let StorageConfig { path } = &old.storage;
    keys.note("storage.path", path, &new.storage.path);
    plugins_keys(&mut keys, &old.plugins, &new.plugins);
    pool_keys(&mut keys, &old.pool, &new.pool);
    let LogConfig { level, format } = &old.log;
    keys.note("log.level", level, &new.log.level);
    keys.note("log.format", format, &new.log.format);
    keys.0
}

// The old values are taken apart by name, so a new key stops the build until it has its line here.

fn server_keys(keys: &mut Keys, old: &ServerConfig, new: &ServerConfig) {
    let ServerConfig {
        listen,
        connections_max,
        body_bytes_max,
        request_timeout,
        shutdown_timeout,
        session_idle_timeout,
        session_timeout,
        feed_clients_max,
    } = old;
    keys.note("server.listen", listen, &new.listen);
    keys.note("server.connections_max", connections_max, &new.connections_max);
    keys.note("server.body_bytes_max", body_bytes_max, &new.body_bytes_max);
    keys.note("server.request_timeout_ms", request_timeout, &new.request_timeout);
    keys.note("server.shutdown_timeout_ms", shutdown_timeout, &new.shutdown_timeout);
    keys.note("server.session_idle_timeout_ms", session_idle_timeout, &new.session_idle_timeout);
    keys.note("server.session_timeout_ms", session_timeout, &new.session_timeout);
    keys.note("server.feed_clients_max", feed_clients_max, &new.feed_clients_max);
}

fn plugins_keys(keys: &mut Keys, old: &PluginsConfig, new: &PluginsConfig) {
    let PluginsConfig { directory, auth, validate, auth_limits, validate_limits, adapter_limits } = old;
    keys.note("plugins.directory", directory, &new.directory);
    keys.note("plugins.auth", auth, &new.auth);
    keys.note("plugins.validate", validate, &new.validate);
    limits_keys(
        keys,
        [
            "plugins.auth_limits.fuel",
            "plugins.auth_limits.time_ms",
            "plugins.auth_limits.memory_bytes",
            "plugins.auth_limits.hostcall_bytes",
            "plugins.auth_limits.calls_max",
        ],
        auth_limits,
        &new.auth_limits,
    );
    limits_keys(
        keys,
        [
            "plugins.validate_limits.fuel",
            "plugins.validate_limits.time_ms",
            "plugins.validate_limits.memory_bytes",
            "plugins.validate_limits.hostcall_bytes",
            "plugins.validate_limits.calls_max",
        ],
        validate_limits,
        &new.validate_limits,
    );
    limits_keys(
        keys,
        [
            "plugins.adapter_limits.fuel",
            "plugins.adapter_limits.time_ms",
            "plugins.adapter_limits.memory_bytes",
            "plugins.adapter_limits.hostcall_bytes",
            "plugins.adapter_limits.calls_max",
        ],
        adapter_limits,
        &new.adapter_limits,
    );
}

fn limits_keys(keys: &mut Keys, names: [&'static str; 5], old: &CallLimits, new: &CallLimits) {
    let CallLimits { fuel, time, memory_bytes, hostcall_bytes, calls_max } = old;
    let [fuel_key, time_key, memory_key, hostcall_key, calls_key] = names;
    keys.note(fuel_key, fuel, &new.fuel);
    keys.note(time_key, time, &new.time);
    keys.note(memory_key, memory_bytes, &new.memory_bytes);
    keys.note(hostcall_key, hostcall_bytes, &new.hostcall_bytes);
    keys.note(calls_key, calls_max, &new.calls_max);
}

fn pool_keys(keys: &mut Keys, old: &PoolConfig, new: &PoolConfig) {
    let PoolConfig {
        poll_interval,
        nudge_interval,
        connect_timeout,
        call_timeout,
        response_bytes_max,
        failures_max,
        breaker_failures_max,
        breaker_cooldown,
        commands_max,
    } = old;
    keys.note("pool.poll_interval_ms", poll_interval, &new.poll_interval);
    keys.note("pool.nudge_interval_ms", nudge_interval, &new.nudge_interval);
    keys.note("pool.connect_timeout_ms", connect_timeout, &new.connect_timeout);
    keys.note("pool.call_timeout_ms", call_timeout, &new.call_timeout);
    keys.note("pool.response_bytes_max", response_bytes_max, &new.response_bytes_max);
    keys.note("pool.failures_max", failures_max, &new.failures_max);
    keys.note("pool.breaker_failures_max", breaker_failures_max, &new.breaker_failures_max);
    keys.note("pool.breaker_cooldown_ms", breaker_cooldown, &new.breaker_cooldown);
    keys.note("pool.commands_max", commands_max, &new.commands_max);
}
