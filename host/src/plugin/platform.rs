use crate::config::PluginsConfig;
use crate::plugin::keeper::{Keeper, Order};
use crate::plugin::kept::Kept;
use crate::plugin::load::{Loader, wanted};
use crate::plugin::slot::{Slot, SwapResult};
use crate::plugin::start::{self, Started};
use crate::plugin::{Author, GenerationLog, LoadError, PluginEvent, PluginReport, PluginSet, Services, SwapError};
use crate::task::TaskGroup;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Swaps that may wait for the one under way. Beyond it one is refused.
pub const SWAPS_WAITING_MAX: usize = 8;

/// What a platform is made of.
pub struct PlatformParts {
    /// `[plugins]` and `[plugin.NAME]`.
    pub config: PluginsConfig,
    /// The adapters that nodes name.
    pub adapters: BTreeSet<String>,
    /// What the host lends to its plugins.
    pub services: Services,
    /// Where generations are remembered.
    pub log: Arc<dyn GenerationLog>,
    /// Where components are kept for the way back; made if it is missing.
    pub kept: PathBuf,
    /// Where the set of plugins is published, anew with each swap.
    pub publish: watch::Sender<Arc<PluginSet>>,
    /// Where events go. A full channel makes swaps wait, never calls.
    pub events: mpsc::Sender<PluginEvent>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// All plugins of a host, which are swapped while they serve. Cheap to clone.
///
/// One task owns what happens to them, one swap at a time; calls go past it.
#[derive(Clone)]
pub struct Platform {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    component_bytes_max: usize,
}

/// What calls and reports see of the plugins.
pub(super) struct Shared {
    /// In the order of the configuration.
    pub slots: ArcSwap<Vec<Arc<Slot>>>,
}

impl Shared {
    pub(super) fn slot(&self, plugin: &str) -> Option<Arc<Slot>> {
        self.slots.load().iter().find(|slot| *slot.name == *plugin).cloned()
    }
}

/// How a swap went.
#[derive(Debug, Clone)]
pub struct Swapped {
    /// What was done.
    pub result: SwapResult,
    /// The plugin now.
    pub report: PluginReport,
}

impl Platform {
    /// Loads every plugin that the configuration and the nodes name, publishes the set, and looks after it on a task of
    /// `tasks` until the parts' `stop` is cancelled.
    ///
    /// Where a plugin's file does not load or was rolled back before, the component that served last does instead, with
    /// a warning.
    ///
    /// # Errors
    /// One [`LoadError`] for each plugin that cannot serve at all. Nothing is left running then.
    pub async fn start(parts: PlatformParts, tasks: &TaskGroup) -> Result<Self, Vec<LoadError>> {
        let PlatformParts { config, adapters, services, log, kept, publish, events, stop } = parts;
        let loader = Arc::new(Loader::new(services).map_err(|error| vec![error])?);
        let (kept, wake) = (Kept::new(kept), Arc::new(Notify::new()));
        let records = log.read().map_err(|reason| vec![LoadError::Record { plugin: "*".to_owned(), reason }])?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let results: Vec<Result<Started, LoadError>> = futures_util::stream::iter(wanted(&config, &adapters))
            .map(|(class, name)| {
                let record = records.get(&name).cloned().unwrap_or_default();
                start::one(&loader, &config, &kept, class, name, record)
            })
            .buffered(cores)
            .collect()
            .await;
        let (started, errors) = start::sorted(results);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut slots = Vec::with_capacity(started.len());
        for started in started {
            slots.push(started.into_slot(&config, &*log, &wake).await.map_err(|error| vec![error])?);
        }
        let component_bytes_max = loader.component_bytes_max();
        let shared = Arc::new(Shared { slots: ArcSwap::from_pointee(slots) });
        let (orders, inbox) = mpsc::channel(SWAPS_WAITING_MAX);
        let keeper =
            Keeper::new(Arc::clone(&shared), loader, config, adapters, log, kept, publish, events, inbox, wake, stop);
        tasks.spawn(keeper.run());
        Ok(Self { shared, orders, component_bytes_max })
    }

    /// Every plugin, in the order of the configuration.
    #[must_use]
    pub fn reports(&self) -> Vec<PluginReport> {
        self.shared.slots.load().iter().map(|slot| slot.report()).collect()
    }

    /// One plugin.
    ///
    /// # Errors
    /// [`SwapError::Unknown`].
    pub fn report(&self, plugin: &str) -> Result<PluginReport, SwapError> {
        let unknown = || SwapError::Unknown { plugin: plugin.to_owned() };
        Ok(self.shared.slot(plugin).ok_or_else(unknown)?.report())
    }

    /// Bytes that a component may have.
    #[must_use]
    pub fn component_bytes_max(&self) -> usize {
        self.component_bytes_max
    }

    /// Swaps that wait for the one under way.
    #[must_use]
    pub fn swaps_waiting(&self) -> usize {
        self.orders.max_capacity().saturating_sub(self.orders.capacity())
    }

    /// Verifies a component and swaps it in, then writes it into the plugins' directory.
    ///
    /// # Errors
    /// [`SwapError`]; the plugin serves on as it did.
    ///
    /// # Cancel safety
    /// Once polled, the swap goes on when the future is dropped.
    pub async fn install(&self, plugin: &str, bytes: Bytes, author: Author) -> Result<Swapped, SwapError> {
        self.order(|reply| Order::Install { plugin: plugin.to_owned(), bytes, author, reply }).await
    }

    /// Goes back to the generation before, and remembers the one that served as refused. A canary is dropped instead.
    ///
    /// # Errors
    /// [`SwapError::NoPrevious`] and the others.
    ///
    /// # Cancel safety
    /// As for [`Platform::install`].
    pub async fn roll_back(&self, plugin: &str, author: Author) -> Result<Swapped, SwapError> {
        self.order(|reply| Order::RollBack { plugin: plugin.to_owned(), author, reply }).await
    }

    /// Applies another configuration, for nodes that name these adapters: plugins that it adds are loaded, those whose limits or grants it changes become a
    /// new generation of the same component, and those that it does not name any more go. Answers the plugins that
    /// changed. The directory and whether it is watched stay as they were.
    ///
    /// # Errors
    /// [`SwapError::Several`] with all that cannot serve so; then nothing was applied.
    ///
    /// # Cancel safety
    /// As for [`Platform::install`].
    pub async fn configure(
        &self,
        config: PluginsConfig,
        adapters: BTreeSet<String>,
        author: Author,
    ) -> Result<Vec<String>, SwapError> {
        self.order(|reply| Order::Configure { config: Box::new(config), adapters, author, reply }).await
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, SwapError>>) -> Order,
    ) -> Result<T, SwapError> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(order(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SwapError::QueueFull { limit: SWAPS_WAITING_MAX },
            mpsc::error::TrySendError::Closed(_) => SwapError::Stopped,
        })?;
        answer.await.unwrap_or(Err(SwapError::Stopped))
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("plugins", &self.shared.slots.load().len()).finish_non_exhaustive()
    }
}
