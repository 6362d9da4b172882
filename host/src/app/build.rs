use crate::api::{self, Documents, Edge, Metrics};
use crate::app::exit::RunError;
use crate::app::generations::StoredGenerations;
use crate::app::shutdown::{Ended, Shutdown};
use crate::app::{relay, reload};
use crate::auth::{Auth, AuthParts, Keys, Passwords};
use crate::config::Config;
use crate::fetch::Fetch;
use crate::hub::{Hub, HubLimits};
use crate::node::Pool;
use crate::plugin::{Compiler, Platform, PlatformParts, PluginSet, Services, Strategy, Toolchain, WebCache};
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events on their way from the nodes to the feed. A full channel makes owners wait, never clients.
const RELAY_EVENTS_MAX: usize = 4_096;

/// Events about plugins on their way to the feed. A full channel makes swaps wait.
const PLUGIN_EVENTS_MAX: usize = 64;

/// Those who wait until connections whose credential ended are closed. Further ones wait for them.
const REVOCATIONS_MAX: usize = 64;

/// Runs a host on `listener` until `stop` is cancelled, then shuts it down within `server.shutdown_timeout_ms`.
///
/// Plugins are compiled by `compiler`. Requests are taken before the first node is connected. A host without accounts prints a setup token to standard
/// error, once.
///
/// # Errors
/// [`RunError`] when it cannot start. Nothing is left running then.
pub async fn run(
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
    compiler: Compiler,
) -> Result<Ended, RunError> {
    let (_, reloads) = mpsc::channel(1);
    run_with_reloads(config, listener, stop, compiler, reloads).await
}

/// The same, and applies what can be applied of each configuration that comes through `reloads`.
///
/// # Errors
/// As [`run`].
pub async fn run_with_reloads(
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
    compiler: Compiler,
    reloads: mpsc::Receiver<Config>,
) -> Result<Ended, RunError> {
    let store = Store::open(&config.storage)?;
    let running = match Running::start(&config, listener, store.clone(), stop.clone(), compiler, reloads).await {
        Ok(running) => running,
        Err(error) => {
            store.close().await?;
            return Err(error);
        }
    };
    stop.cancelled().await;
    tracing::info!("shutting down");
    Ok(running.shut_down(&config, &store).await)
}

/// The tasks of a host, by stage of its end.
struct Running {
    connections: TaskTracker,
    owners: TaskTracker,
    stop_owners: CancellationToken,
}

impl Running {
    async fn start(
        config: &Config,
        listener: TcpListener,
        store: Store,
        stop: CancellationToken,
        compiler: Compiler,
        reloads: mpsc::Receiver<Config>,
    ) -> Result<Self, RunError> {
        let (connections, owners, stop_owners) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        let (publish, plugins) = watch::channel(Arc::default());
        let passwords = Arc::new(Passwords::new(store.clone(), connections.clone()));
        let keys = Arc::new(Keys::new(store.clone()));
        let (roles_granted, roles_max) = watch::channel(Arc::new(config.plugins.roles_max()));
        let log = Arc::new(StoredGenerations(store.clone()));
        let toolchain = toolchain(config, compiler, &store).await?;
        let (revoked, revocations) = mpsc::channel(REVOCATIONS_MAX);
        let auth = Auth::new(AuthParts {
            revoked,
            store,
            passwords: Arc::clone(&passwords),
            keys: Arc::<Keys>::clone(&keys),
            plugins: plugins.clone(),
            roles_max,
            external_url: config.server.external_url.clone(),
            tracker: connections.clone(),
            idle_timeout: config.server.session_idle_timeout,
            timeout: config.server.session_timeout,
        });
        let adapters: BTreeSet<String> = config.nodes.iter().map(|node| node.adapter.clone()).collect();
        let services = Services {
            accounts: passwords,
            api_keys: Some(keys),
            http: Some(Arc::new(Fetch::new())),
            web_cache: WebCache::default(),
            toolchain: toolchain.clone(),
        };
        let (swaps, swapped) = mpsc::channel(PLUGIN_EVENTS_MAX);
        let parts = PlatformParts {
            config: config.plugins.clone(),
            adapters,
            services,
            log,
            kept: config.storage.path.with_file_name("plugin-generations"),
            publish,
            events: swaps,
            stop: stop_owners.clone(),
        };
        let platform = Platform::start(parts, &owners).await.map_err(RunError::Plugins)?;
        warn_of_logins_that_cannot_come_back(config, &plugins.borrow());
        let hub = feed(config);
        let (events, relayed) = mpsc::channel(RELAY_EVENTS_MAX);
        let calls_max = config.plugins.adapter_limits.calls_max;
        let pool =
            Pool::start(&config.nodes, &config.pool, calls_max, plugins.clone(), events, &owners, stop_owners.clone())?;
        owners.spawn(relay::run(relayed, swapped, hub.clone()));
        owners.spawn(relay::revoke(revocations, hub.clone(), stop_owners.clone()));
        owners.spawn(reload::run(reloads, config.clone(), platform.clone(), roles_granted, stop_owners.clone()));
        let edge = Arc::new(Edge {
            pool,
            auth,
            hub,
            plugins,
            platform,
            config: config.server.clone(),
            metrics: Metrics::new(toolchain),
            stop: stop.clone(),
            tracker: connections.clone(),
            documents: Documents::default(),
            openapi: api::openapi()?.into(),
        });
        if let Some(token) = edge.auth.begin_setup()? {
            offer_setup(&listener, &token);
        }
        tracing::info!(nodes = config.nodes.len(), "serving");
        serve(&edge, listener, stop);
        Ok(Self { connections, owners, stop_owners })
    }

    /// Requests first, then what they might have been waiting for, then what must be durable.
    async fn shut_down(self, config: &Config, store: &Store) -> Ended {
        let mut shutdown = Shutdown::begin(config.server.shutdown_timeout);
        shutdown.tasks("connections", &self.connections).await;
        self.stop_owners.cancel();
        shutdown.tasks("nodes", &self.owners).await;
        let close = async {
            if let Err(error) = store.close().await {
                tracing::error!(%error, "the database did not close in order");
            }
        };
        shutdown.stage("store", close).await;
        shutdown.ended()
    }
}

async fn toolchain(config: &Config, compiler: Compiler, store: &Store) -> Result<Toolchain, RunError> {
    // Without the key a start is slow, and not wrong.
    let unsealed = |error| tracing::warn!(%error, "compiled plugins cannot be sealed and are not kept");
    let key = store.artefact_key().await.map_err(unsealed).ok();
    Toolchain::new(&config.plugins, compiler, key.as_ref()).map_err(|error| RunError::Plugins(vec![error]))
}

/// Closing the feed's clients may take half of a shutdown's time, less their last second.
fn feed(config: &Config) -> Hub {
    let farewell = HubLimits::default().farewell;
    let drain_max = (config.server.shutdown_timeout / 2).saturating_sub(farewell);
    Hub::new(HubLimits { clients_max: config.server.feed_clients_max, drain_max, ..HubLimits::default() })
}

/// Starts what serves clients until `stop`: the feed's shards, one a core, the looks at who may stay, and the door.
fn serve(edge: &Arc<Edge>, listener: TcpListener, stop: CancellationToken) {
    let tracker = &edge.tracker;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    edge.hub.serve(cores, tracker, &stop);
    let (upkeep, ended) = (edge.auth.clone(), stop.clone());
    tracker.spawn(async move { upkeep.run_upkeep(ended).await });
    let (watch, ended) = (edge.auth.clone(), stop.clone());
    tracker.spawn(async move { watch.run_watch(ended).await });
    let (router, server) = (api::router(Arc::clone(edge)), edge.config.clone());
    let connections = tracker.clone();
    tracker.spawn(async move { api::serve(listener, router, &server, &connections, stop).await });
}

/// Such a login is refused when somebody tries it; the operator should know before.
fn warn_of_logins_that_cannot_come_back(config: &Config, set: &PluginSet) {
    let redirects = |strategy: &&Arc<dyn Strategy>| strategy.info().credentials.iter().any(|kind| kind == "redirect");
    if config.server.external_url.is_none() {
        for strategy in set.strategies.iter().filter(redirects) {
            tracing::warn!(
                strategy = strategy.name(),
                "logins at another server need `external_url` in [server]: until then this strategy's are refused"
            );
        }
    }
}

/// The token goes to whoever started the process, and to nobody who merely reads its log.
#[expect(clippy::print_stderr, reason = "the log must not hold it")]
fn offer_setup(listener: &TcpListener, token: &crate::model::Secret) {
    let url = listener.local_addr().map_or_else(|_| "URL".to_owned(), |address| format!("http://{address}"));
    eprintln!(
        "\nThere is no account yet. Create the first administrator with\n\n  omnivisor setup --server {url}\n\n\
         Setup token, valid once and until this server ends: {}\n",
        token.reveal()
    );
}
