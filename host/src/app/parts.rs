//! What a configuration is applied to: the plugins and the nodes of this host.

use crate::app::build::feed_limits;
use crate::app::logging::LogLevel;
use crate::config::{Config, NodeConfig, PluginsConfig, ServerConfig};
use crate::hub::Hub;
use crate::model::{Environments, Role};
use crate::node::Pool;
use crate::plugin::{BoxFuture, Platform, SwapError};
use crate::reload::{Author, Parts};
use crate::task::Places;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Which nodes are in which environment.
pub(super) fn environments(nodes: &[NodeConfig]) -> Environments {
    nodes.iter().map(|node| (node.name.clone(), node.environment.clone())).collect()
}

/// The plugins and nodes of a host.
pub(super) struct HostParts {
    pub(super) platform: Platform,
    pub(super) pool: Pool,
    /// The most that people known elsewhere may be.
    pub(super) roles_max: watch::Sender<Arc<BTreeMap<String, Role>>>,
    /// The nodes with their environments.
    pub(super) environments: watch::Sender<Arc<Environments>>,
    pub(super) hub: Hub,
    pub(super) server: watch::Sender<Arc<ServerConfig>>,
    pub(super) batches: Places,
    /// Tells those who have files of their own to read them again.
    pub(super) again: watch::Sender<u64>,
    /// Where the log's level is changed; without it the process's log is somebody else's.
    pub(super) log_level: Option<LogLevel>,
}

impl Parts for HostParts {
    fn plugins(
        &self,
        config: PluginsConfig,
        adapters: BTreeSet<String>,
        author: Author,
    ) -> BoxFuture<'_, Result<Vec<String>, SwapError>> {
        Box::pin(async move {
            let roles = config.roles_max();
            let changed = self.platform.configure(config, adapters, author).await?;
            self.roles_max.send_replace(Arc::new(roles));
            Ok(changed)
        })
    }

    fn settings(&self, config: &Config) {
        self.pool.set(config.pool.clone(), config.plugins.adapter_limits.calls_max);
        let (clients_max, drain_max) = feed_limits(&config.server);
        self.hub.set(clients_max, drain_max);
        self.server.send_replace(Arc::new(config.server.clone()));
        self.batches.resize(config.orders.batches_max);
        if let Some(level) = &self.log_level {
            level.configure(&config.log.level);
        }
    }

    fn read_again(&self) {
        self.again.send_modify(|times| *times += 1);
    }

    fn nodes(&self, nodes: Vec<NodeConfig>) -> BoxFuture<'_, ()> {
        // First: connections of those whose rights are over an environment follow while the nodes do.
        self.environments.send_replace(Arc::new(environments(&nodes)));
        Box::pin(async move { drop(self.pool.apply(nodes).await) })
    }
}
