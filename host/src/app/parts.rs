//! What a configuration is applied to: the plugins and the nodes of this host.

use crate::config::{NodeConfig, PluginsConfig};
use crate::model::Role;
use crate::node::Pool;
use crate::plugin::{BoxFuture, Platform, SwapError};
use crate::reload::{Author, Parts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// The plugins and nodes of a host.
pub(super) struct HostParts {
    pub(super) platform: Platform,
    pub(super) pool: Pool,
    /// The most that people known elsewhere may be.
    pub(super) roles_max: watch::Sender<Arc<BTreeMap<String, Role>>>,
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

    fn nodes(&self, nodes: Vec<NodeConfig>) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.pool.apply(nodes).await) })
    }
}
