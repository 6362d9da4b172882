use crate::config::{Config, ManagedNode};
use crate::model::NodeId;
use std::sync::Arc;

/// The configuration in force: one value, replaced as a whole. Who does several things by it keeps the one that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number, which rises by one with each that is applied and is never used again.
    pub generation: u64,
    /// What is in force. Settings that only a restart changes are as they were at the start.
    pub config: Config,
    /// The text of the file that it was made of; empty without a file.
    pub text: Arc<str>,
    /// The nodes among `config.nodes` that the API owns, sorted by name; the file owns the others.
    pub managed: Vec<ManagedNode>,
    /// Settings that differ in the file and wait for a restart.
    pub restart: Vec<&'static str>,
}

impl Snapshot {
    /// The first one, before anything is known of earlier ones.
    #[must_use]
    pub fn first(config: Config) -> Self {
        Self { generation: 1, config, text: Arc::from(""), managed: Vec::new(), restart: Vec::new() }
    }

    /// The managed node of this name.
    #[must_use]
    pub fn find_managed(&self, name: &str) -> Option<&ManagedNode> {
        self.managed.iter().find(|node| node.name == name)
    }

    /// Whether the file declares a node of this name.
    #[must_use]
    pub fn is_declared(&self, name: &str) -> bool {
        let is_known = NodeId::parse(name).is_ok_and(|id| self.config.nodes.iter().any(|node| node.name == id));
        is_known && self.find_managed(name).is_none()
    }
}
