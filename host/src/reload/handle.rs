use crate::config::{Config, ManagedNode, NodeConfig, PluginsConfig, Snapshot};
use crate::model::{NodeId, Secret};
pub use crate::plugin::Author;
use crate::plugin::{BoxFuture, SwapError};
use crate::reload::{ReloadError, ReloadFigures};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// Changes that may wait for the one under way. Beyond it one is refused.
pub const ORDERS_WAITING_MAX: usize = 16;

/// What applies the parts of a configuration.
pub trait Parts: Send + Sync + 'static {
    /// Has the plugins serve so, all or nothing. Answers those that changed.
    fn plugins(
        &self,
        config: PluginsConfig,
        adapters: BTreeSet<String>,
        author: Author,
    ) -> BoxFuture<'_, Result<Vec<String>, SwapError>>;

    /// Has the settings count that the other parts keep: how nodes are called, sessions, the feed, batches, the log. They
    /// were checked, so it cannot fail, and it does not wait.
    fn settings(&self, config: &Config);

    /// Whoever has files of his own that the configuration names reads them again. Does not wait.
    fn read_again(&self) {}

    /// Has exactly these nodes watched, and returns once each owner has acknowledged. They were checked, so it cannot fail.
    fn nodes(&self, nodes: Vec<NodeConfig>) -> BoxFuture<'_, ()>;
}

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// It changed.
    File,
    /// Somebody asked over the API.
    Api,
}

/// What came of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The generation in force.
    pub generation: u64,
    /// False when nothing differed; then it is the generation that was in force before.
    pub is_changed: bool,
    /// Settings that count from now on.
    pub settings: Vec<&'static str>,
    /// Plugins that serve another way.
    pub plugins: Vec<String>,
    /// Nodes that are new.
    pub nodes_added: Vec<NodeId>,
    /// Nodes that are another way.
    pub nodes_changed: Vec<NodeId>,
    /// Nodes that are gone.
    pub nodes_removed: Vec<NodeId>,
    /// Managed nodes in force whose password was given and cannot be had now; they are asked without one.
    pub passwords_missing: Vec<String>,
    /// All settings that differ in the file and wait for a restart.
    pub restart: Vec<&'static str>,
}

/// What is to become of the password that the store keeps for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PasswordWish {
    /// It stays, if there is one: for a node with a user, at the address that it was given for.
    #[default]
    Keep,
    /// None is kept.
    Remove,
    /// This one.
    Set(Secret),
}

/// A node that is to be managed, with what is to become of its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeWish {
    /// The node. Whether its password is kept is not read: that is what the wish says.
    pub node: ManagedNode,
    /// Its password.
    pub password: PasswordWish,
}

impl From<ManagedNode> for NodeWish {
    fn from(node: ManagedNode) -> Self {
        Self { node, password: PasswordWish::Keep }
    }
}

pub(super) type Reply = oneshot::Sender<Result<Applied, ReloadError>>;

/// One change that is asked for.
pub(super) enum Order {
    Reload { trigger: Trigger, author: Author },
    RollBack { generation: u64, author: Author },
    AddNode { wish: NodeWish, author: Author },
    ReplaceNode { wish: NodeWish, author: Author },
    RemoveNode { name: String, author: Author },
}

/// Where changes of the configuration are asked for, and where it is seen. Cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    pub(super) orders: mpsc::Sender<(Order, Reply)>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) fault: watch::Receiver<Option<Arc<str>>>,
    pub(super) figures: Arc<ReloadFigures>,
}

impl Reloader {
    /// The configuration in force. Who does several things by it keeps this one.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// The configuration in force, as it changes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Why the file as it is now is not in force, if it was tried: every fault on a line of its own.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<str>> {
        self.fault.borrow().clone()
    }

    /// How many changes ended in which way since the start.
    #[must_use]
    pub fn figures(&self) -> &ReloadFigures {
        &self.figures
    }

    /// Reads the file again and applies it.
    ///
    /// # Errors
    /// [`ReloadError`]; then all is as it was.
    ///
    /// # Cancel safety
    /// Once polled, it goes on when the future is dropped.
    pub async fn reload(&self, author: Author) -> Result<Applied, ReloadError> {
        self.order(Order::Reload { trigger: Trigger::Api, author }).await
    }

    /// Goes back to an earlier generation, which becomes a new one: the file is replaced by its text, and the nodes of the
    /// API are those that it had. No generation holds a password: a node that comes back has the one that is kept for it,
    /// or none.
    ///
    /// # Errors
    /// [`ReloadError`]; then all is as it was.
    ///
    /// # Cancel safety
    /// As for [`Reloader::reload`].
    pub async fn roll_back(&self, generation: u64, author: Author) -> Result<Applied, ReloadError> {
        self.order(Order::RollBack { generation, author }).await
    }

    /// Adds a node that the API owns.
    ///
    /// # Errors
    /// [`ReloadError::Declared`], [`ReloadError::NodeExists`] and the others; then all is as it was.
    ///
    /// # Cancel safety
    /// As for [`Reloader::reload`].
    pub async fn add_node(&self, node: impl Into<NodeWish>, author: Author) -> Result<Applied, ReloadError> {
        self.order(Order::AddNode { wish: node.into(), author }).await
    }

    /// Replaces a node that the API owns.
    ///
    /// # Errors
    /// [`ReloadError::Declared`], [`ReloadError::UnknownNode`] and the others; then all is as it was.
    ///
    /// # Cancel safety
    /// As for [`Reloader::reload`].
    pub async fn replace_node(&self, node: impl Into<NodeWish>, author: Author) -> Result<Applied, ReloadError> {
        self.order(Order::ReplaceNode { wish: node.into(), author }).await
    }

    /// Removes a node that the API owns.
    ///
    /// # Errors
    /// As for [`Reloader::replace_node`].
    ///
    /// # Cancel safety
    /// As for [`Reloader::reload`].
    pub async fn remove_node(&self, name: &str, author: Author) -> Result<Applied, ReloadError> {
        self.order(Order::RemoveNode { name: name.to_owned(), author }).await
    }

    async fn order(&self, order: Order) -> Result<Applied, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send((order, reply)).map_err(|error| match error {
            TrySendError::Full(_) => ReloadError::Busy { limit: ORDERS_WAITING_MAX },
            TrySendError::Closed(_) => ReloadError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ReloadError::Stopped))
    }
}
