use crate::api::{self, Edge, Metrics};
use crate::app::exit::RunError;
use crate::app::relay;
use crate::app::shutdown::{Ended, Shutdown};
use crate::auth::{Auth, AuthParts, Passwords};
use crate::config::Config;
use crate::hub::{Hub, HubLimits};
use crate::node::Pool;
use crate::plugin::{self, Compiler, Services, Toolchain};
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events on their way from the nodes to the feed. A full channel makes owners wait, never clients.
const RELAY_EVENTS_MAX: usize = 4_096;

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
    let store = Store::open(&config.storage)?;
    let running = match Running::start(&config, listener, store.clone(), stop.clone(), compiler).await {
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
    ) -> Result<Self, RunError> {
        let (connections, owners) = (TaskTracker::new(), TaskTracker::new());
        let stop_owners = CancellationToken::new();
        let (publish, plugins) = watch::channel(Arc::default());
        let passwords = Arc::new(Passwords::new(store.clone(), connections.clone()));
        // Without the key a start is slow, and not wrong.
        let unsealed = |error| tracing::warn!(%error, "compiled plugins cannot be sealed and are not kept");
        let key = store.artefact_key().await.map_err(unsealed).ok();
        let toolchain =
            Toolchain::new(&config.plugins, compiler, key.as_ref()).map_err(|e| RunError::Plugins(vec![e]))?;
        let auth = Auth::new(AuthParts {
            store,
            passwords: Arc::clone(&passwords),
            plugins: plugins.clone(),
            tracker: connections.clone(),
            idle_timeout: config.server.session_idle_timeout,
            timeout: config.server.session_timeout,
        });
        let adapters: BTreeSet<String> = config.nodes.iter().map(|node| node.adapter.clone()).collect();
        let services = Services { accounts: passwords, toolchain: toolchain.clone() };
        let loaded = plugin::load(&config.plugins, &adapters, services).await.map_err(RunError::Plugins)?;
        publish.send_replace(Arc::clone(&loaded.set));
        let hub = Hub::new(HubLimits { clients_max: config.server.feed_clients_max, ..HubLimits::default() });
        let (events, relayed) = mpsc::channel(RELAY_EVENTS_MAX);
        let calls_max = config.plugins.adapter_limits.calls_max;
        let pool =
            Pool::start(&config.nodes, &config.pool, calls_max, plugins.clone(), events, &owners, stop_owners.clone())?;
        owners.spawn(relay::run(relayed, hub.clone()));
        let edge = Arc::new(Edge {
            pool,
            auth,
            hub,
            plugins,
            config: config.server.clone(),
            metrics: Metrics::new(loaded.plugins, toolchain),
            stop: stop.clone(),
            tracker: connections.clone(),
            openapi: api::openapi()?.into(),
        });
        if let Some(token) = edge.auth.begin_setup()? {
            offer_setup(&listener, &token);
        }
        let (upkeep, ended) = (edge.auth.clone(), stop.clone());
        connections.spawn(async move { upkeep.run_upkeep(ended).await });
        let router = api::router(Arc::clone(&edge));
        let (server, tracker) = (config.server.clone(), connections.clone());
        tracing::info!(nodes = config.nodes.len(), "serving");
        connections.spawn(async move { api::serve(listener, router, &server, &tracker, stop).await });
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
