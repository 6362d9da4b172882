use crate::api::serve::{Acceptor, Listener};
use crate::api::socket::Door;
use crate::api::{self, Documents, Edge, LogControl, LogLoss, Metrics, Spans, Strangers};
use crate::app::disk_watch::{self, Pace};
use crate::app::exit::RunError;
use crate::app::generations::StoredGenerations;
use crate::app::heritage::Succession;
use crate::app::logging::LogLevel;
use crate::app::otlp::Exporter;
use crate::app::parts::{HostParts, environments};
use crate::app::restored::Restored;
use crate::app::shutdown::{Ended, Shutdown};
use crate::app::{heritage, listeners, logs, relay, retention};
use crate::auth::{Auth, AuthParts, AuthRefusal, Keys, Passwords};
use crate::config::{Config, ServerConfig};
use crate::fetch::Fetch;
use crate::hub::{Hub, HubLimits, Inherited};
use crate::model::{Environments, Event, Role};
use crate::node::{NodeHandle, Pool, PoolParts};
use crate::plugin::{
    Compiler, Platform, PlatformParts, PluginEvent, PluginSet, Services, Strategy, Toolchain, WebCache,
};
use crate::reload::{ConfigFile, Reloader, Worker, WorkerParts};
use crate::store::Store;
use crate::task::{Broken, Places, Stage, TaskGroup, TaskKind, Tasks};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Events on their way from the nodes to the feed. A full channel makes owners wait, never clients.
const RELAY_EVENTS_MAX: usize = 4_096;

/// Events about plugins on their way to the feed. A full channel makes swaps wait.
const PLUGIN_EVENTS_MAX: usize = 64;

/// What a host is started with.
pub struct Launch {
    /// The configuration, as it was read.
    pub config: Config,
    /// The text that it was read from; empty without a file.
    pub text: Arc<str>,
    /// Where later ones come from. Without a file there are none.
    pub file: Option<ConfigFile>,
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// Ends it.
    pub stop: CancellationToken,
    /// Compiles plugins.
    pub compiler: Compiler,
    /// Notified when the file is to be read again. One that comes before the host is ready is not lost.
    pub hangups: Arc<Notify>,
    /// Log lines that were lost since the start, as whoever writes the log counts them.
    pub log_loss: Arc<LogLoss>,
    /// Where the level of the process's log is changed, if this host may.
    pub log_level: Option<LogLevel>,
}

/// Those who wait until connections whose credential ended are closed. Further ones wait for them.
const REVOCATIONS_MAX: usize = 64;

/// Runs a host on `listener`, and on what `[[listen]]` names, until `stop` is cancelled, then shuts it down within `server.shutdown_timeout_ms`.
///
/// Plugins are compiled by `compiler`. Requests are taken before the first node is connected. A host without accounts
/// prints a setup token to standard error, once.
///
/// # Errors
/// [`RunError`] when it cannot start, and when a part of it broke that it cannot be without. Nothing is left running then.
pub async fn run(
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
    compiler: Compiler,
) -> Result<Ended, RunError> {
    let mut listeners = vec![Listener::from(listener)];
    // The given one stands for this one.
    let server = ServerConfig { listen: None, ..config.server.clone() };
    listeners.extend(listeners::open(&Config { server, ..config.clone() }).await?);
    launch(Launch {
        config,
        text: Arc::from(""),
        file: None,
        listeners,
        stop,
        compiler,
        hangups: Arc::default(),
        log_loss: Arc::default(),
        log_level: None,
    })
    .await
}

/// The same with all that can be handed in.
///
/// # Errors
/// As [`run`].
pub async fn launch(launch: Launch) -> Result<Ended, RunError> {
    let (tasks, stop, stop_owners) = (Tasks::new(), launch.stop.clone(), CancellationToken::new());
    let server = launch.config.server.clone();
    let storage = launch.config.storage.clone();
    // Blocks while it repairs a file, so a signal has to be heard meanwhile.
    let opening = tasks.group(TaskKind::Upkeep).spawn_blocking(move || Store::open(&storage));
    let store = tokio::select! {
        biased;
        opened = opening => opened.map_err(|error| RunError::Machine(format!("the database was not opened: {error}")))??,
        () = overrun(&stop, server.shutdown_timeout) => {
            tracing::error!("shutdown: the database was still being opened");
            return Ok(Ended::Forced);
        }
    };
    let starting = Running::start(launch, store.clone(), tasks.clone(), stop_owners.clone());
    let started = tokio::select! {
        biased;
        started = starting => Some(started),
        // What was under way is dropped; it had served nobody.
        () = stop.cancelled() => None,
    };
    let (running, failed) = match started {
        Some(Ok(running)) => (Some(running), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let broken = match &running {
        Some(_) => tokio::select! {
            biased;
            () = stop.cancelled() => None,
            broken = tasks.broken() => Some(broken),
        },
        None => None,
    };
    stop.cancel();
    tracing::info!("shutting down");
    let end = End { tasks: tasks.clone(), stop_owners, running, store };
    let ended = end.come(&server).await;
    match (failed, broken.or_else(|| tasks.find_broken())) {
        (Some(error), _) => Err(error),
        (None, Some(Broken { kind, name })) => Err(RunError::Broken { kind, name: name.to_string() }),
        (None, None) => Ok(ended),
    }
}

/// Ends when a stop was asked for and the whole budget has passed since.
async fn overrun(stop: &CancellationToken, budget: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(budget).await;
}

/// What has to end, by stage.
pub(super) struct End {
    pub(super) tasks: Tasks,
    pub(super) stop_owners: CancellationToken,
    pub(super) running: Option<Running>,
    pub(super) store: Store,
}

impl End {
    /// Requests first, then what they might have been waiting for, then what must be durable. Last, what is left is counted.
    pub(super) async fn come(self, server: &ServerConfig) -> Ended {
        let Self { tasks, stop_owners, running, store } = self;
        let server = running
            .as_ref()
            .map_or_else(|| server.clone(), |running| running.reloader.snapshot().config.server.clone());
        let mut shutdown = Shutdown::begin(server.shutdown_timeout);
        if let Some(running) = &running {
            // The listener stays open for a while, so that whoever asks hears that it is going.
            shutdown.stage("drain", tokio::time::sleep(server.drain.min(server.shutdown_timeout / 2))).await;
            running.close.cancel();
        }
        shutdown.tasks("requests", &tasks, Stage::Edge).await;
        stop_owners.cancel();
        shutdown.tasks("nodes", &tasks, Stage::Core).await;
        let close = async {
            if let Err(error) = store.close().await {
                tracing::error!(%error, "the database did not close in order");
            }
        };
        // Only a feed that nobody reads or writes any more is one to go on from.
        if let Some(running) = &running
            && shutdown.is_clean()
        {
            shutdown.stage("feed", running.leave_feed(&tasks, &store)).await;
        }
        shutdown.stage("store", close).await;
        let (left, names) = tasks.left();
        shutdown.count("tasks", left, &names);
        if let Some(running) = &running {
            shutdown.count("clients of the feed", running.hub.figures().clients, &[]);
            let taken = running.taken();
            let names: Vec<String> =
                taken.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}")).collect();
            shutdown.count("places", taken.iter().map(|(_, count)| count).sum(), &names);
        }
        shutdown.ended()
    }
}

/// What a host that serves is ended by, and counted with.
pub(super) struct Running {
    /// Closes the listener, and each connection after the request under way.
    close: CancellationToken,
    hub: Hub,
    /// How long the end may take is as it is configured then.
    reloader: Reloader,
    edge: Arc<Edge>,
}

impl Running {
    async fn start(
        launch: Launch,
        store: Store,
        tasks: Tasks,
        stop_owners: CancellationToken,
    ) -> Result<Self, RunError> {
        let Launch { config, text, file, listeners, stop, compiler, hangups, log_loss, log_level } = launch;
        let first = Worker::begin(config, text, file.as_ref(), &store).await.map_err(RunError::Configuration)?;
        let config = first.config.clone();
        let toolchain = toolchain(&config, compiler, &store).await?;
        let Entrance { auth, services, publish, plugins, roles_max, environments, server, revocations } =
            Entrance::new(&config, &store, &toolchain, &tasks);
        let (swaps, swapped) = mpsc::channel(PLUGIN_EVENTS_MAX);
        let parts = platform_parts(&config, services, store.clone(), publish, swaps, stop_owners.clone());
        let platform = Platform::start(parts, &tasks.group(TaskKind::Keeper)).await.map_err(RunError::Plugins)?;
        warn_of_logins_that_cannot_come_back(&config, &plugins.borrow());
        let (hub, inherited, succession) = feed(&config, &store, &tasks).await?;
        let (events, relayed) = mpsc::channel(RELAY_EVENTS_MAX);
        let pool = start_pool(&config, plugins.clone(), events, &tasks.group(TaskKind::Owner), stop_owners.clone());
        let relay = tasks.group(TaskKind::Relay);
        let restored = restore(&hub, inherited, &pool, &platform);
        relay.named("events", relay::run(relayed, swapped, restored, hub.clone()));
        relay.named("logs", follow_logs(&pool, &hub, &tasks, &stop_owners));
        relay.named("revocations", relay::revoke(revocations, hub.clone(), stop_owners.clone()));
        let (batches, connections) = places(&config);
        let (again, told) = watch::channel(0);
        let parts = HostParts {
            platform: platform.clone(),
            pool: pool.clone(),
            roles_max,
            environments,
            hub: hub.clone(),
            server,
            batches: batches.clone(),
            again,
            log_level: log_level.clone(),
        };
        let (worker, reloader) = Worker::new(WorkerParts {
            first,
            file,
            store: store.clone(),
            parts: Arc::new(parts),
            hints: hangups,
            stop: stop_owners.clone(),
        });
        tasks.group(TaskKind::Configuration).spawn(worker.run());
        let edge = Arc::new(Edge {
            pool,
            auth,
            hub: hub.clone(),
            door: Arc::new(Door::new(cores())),
            feed_succession: succession.as_str(),
            plugins,
            platform,
            store,
            reloader: reloader.clone(),
            metrics: Metrics::new(toolchain),
            stop: stop.clone(),
            tasks: tasks.clone(),
            log_loss,
            log_control: log_level.clone().map(|level| Arc::new(level) as Arc<dyn LogControl>),
            serving: Arc::default(),
            spans: Spans::default(),
            connections: connections.clone(),
            documents: Documents::default(),
            batches,
            backups: Places::new(api::BACKUPS_MAX),
            strangers: Strangers::default(),
            openapi: api::openapi(&config.server.base_path)?.into(),
            asyncapi: api::asyncapi()?.into(),
        });
        announce(&edge, &config, &listeners)?;
        look_after(&edge, &stop, log_level);
        Ok(Self { close: open(Arc::clone(&edge), listeners, connections, &told), hub, reloader, edge })
    }

    /// Leaves the feed's log to the next host. Without it that one begins anew, and clients are given snapshots.
    async fn leave_feed(&self, tasks: &Tasks, store: &Store) {
        let path = heritage::path_of(&self.reloader.snapshot().config.storage.path);
        let (hub, stamp) = (self.hub.clone(), heritage::stamp(store.instance_id()));
        let leaving = move || heritage::leave(&hub, &path, &stamp, SystemTime::now());
        match tasks.group(TaskKind::Upkeep).spawn_blocking(leaving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the feed's log was not kept; its clients will begin anew"),
            Err(error) => tracing::error!(%error, "the feed's log was not kept; its clients will begin anew"),
        }
    }

    /// What is taken of everything that bounds how many do something at once.
    fn taken(&self) -> [(&'static str, usize); 9] {
        let nodes = self.edge.pool.taken();
        [
            ("connections", self.edge.connections.taken()),
            ("batches", self.edge.batches.taken()),
            ("copies", self.edge.backups.taken()),
            ("logins and requests judged", self.edge.auth.attempts_under_way()),
            ("calls of nodes", nodes.calls),
            ("calls of silent nodes", nodes.suspects),
            ("reading hints", nodes.hint_reads),
            ("hint streams", nodes.hint_streams),
            ("streams of logs", nodes.follow_streams),
        ]
    }
}

fn platform_parts(
    config: &Config,
    services: Services,
    store: Store,
    publish: watch::Sender<Arc<PluginSet>>,
    events: mpsc::Sender<PluginEvent>,
    stop: CancellationToken,
) -> PlatformParts {
    PlatformParts {
        config: config.plugins.clone(),
        adapters: config.adapters(),
        services,
        log: Arc::new(StoredGenerations(store)),
        kept: config.storage.path.with_file_name("plugin-generations"),
        publish,
        events,
        stop,
    }
}

/// Has requests taken until what this gives is cancelled.
fn open(edge: Arc<Edge>, listeners: Vec<Listener>, places: Places, again: &watch::Receiver<u64>) -> CancellationToken {
    let (close, tasks) = (CancellationToken::new(), edge.tasks.clone());
    let (snapshots, figures) = (edge.reloader.snapshots(), Arc::clone(&edge.serving));
    let acceptor = Acceptor::new(api::router(edge), snapshots, places, tasks.group(TaskKind::Connection), figures);
    for listener in listeners {
        let (name, acceptor) = (listener.url(), acceptor.clone());
        tasks.group(TaskKind::Listener).named(&name, acceptor.serve(listener, again.clone(), close.clone()));
    }
    close
}

/// Places of batches of orders, and of connections.
fn places(config: &Config) -> (Places, Places) {
    (Places::new(config.orders.batches_max), Places::new(config.server.connections_max))
}

fn follow_logs(pool: &Pool, hub: &Hub, tasks: &Tasks, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    logs::run(pool.clone(), hub.clone(), tasks.group(TaskKind::Follower), stop.clone())
}

/// Who decides who comes in, and what it lends to the plugins that it asks.
struct Entrance {
    auth: Auth,
    services: Services,
    publish: watch::Sender<Arc<PluginSet>>,
    plugins: watch::Receiver<Arc<PluginSet>>,
    roles_max: watch::Sender<Arc<BTreeMap<String, Role>>>,
    environments: watch::Sender<Arc<Environments>>,
    server: watch::Sender<Arc<ServerConfig>>,
    revocations: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Entrance {
    fn new(config: &Config, store: &Store, toolchain: &Toolchain, tasks: &Tasks) -> Self {
        let requests = tasks.group(TaskKind::Request);
        let (publish, plugins) = watch::channel(Arc::default());
        let passwords = Arc::new(Passwords::new(store.clone(), requests.clone()));
        let keys = Arc::new(Keys::new(store.clone()));
        let (roles_granted, roles_max) = watch::channel(Arc::new(config.plugins.roles_max()));
        let (placed, nodes) = watch::channel(Arc::new(environments(&config.nodes)));
        let (server, seen) = watch::channel(Arc::new(config.server.clone()));
        let (revoked, revocations) = mpsc::channel(REVOCATIONS_MAX);
        let auth = Auth::new(AuthParts {
            revoked,
            store: store.clone(),
            passwords: Arc::clone(&passwords),
            keys: Arc::<Keys>::clone(&keys),
            plugins: plugins.clone(),
            roles_max,
            environments: nodes,
            server: seen,
            tracker: requests,
        });
        let services = Services {
            accounts: passwords,
            api_keys: Some(keys),
            http: Some(Arc::new(Fetch::new())),
            web_cache: WebCache::default(),
            toolchain: toolchain.clone(),
        };
        Self { auth, services, publish, plugins, roles_max: roles_granted, environments: placed, server, revocations }
    }
}

/// What compiles plugins, with the key that seals what is kept.
async fn toolchain(config: &Config, compiler: Compiler, store: &Store) -> Result<Toolchain, RunError> {
    // Without the key a start is slow, and not wrong.
    let unsealed = |error| tracing::warn!(%error, "compiled plugins cannot be sealed and are not kept");
    let key = store.artefact_key().await.map_err(unsealed).ok();
    Toolchain::new(&config.plugins, compiler, key.as_ref()).map_err(|error| RunError::Plugins(vec![error]))
}

fn start_pool(
    config: &Config,
    plugins: watch::Receiver<Arc<PluginSet>>,
    events: mpsc::Sender<Event>,
    owners: &TaskGroup,
    stop: CancellationToken,
) -> Pool {
    let parts = PoolParts {
        nodes: config.nodes.clone(),
        config: config.pool.clone(),
        calls_max: config.plugins.adapter_limits.calls_max,
        plugins,
        events,
        // The standard library seeds this from the system.
        seed: RandomState::new().hash_one(0_u8),
        stop,
    };
    Pool::start(parts, owners)
}

/// The feed, which goes on from where the host before ended, if that was in order.
async fn feed(config: &Config, store: &Store, tasks: &Tasks) -> Result<(Hub, Vec<Inherited>, Succession), RunError> {
    let (clients_max, drain_max) = feed_limits(&config.server);
    let limits = HubLimits { clients_max, drain_max, ..HubLimits::default() };
    let (path, stamp) = (heritage::path_of(&config.storage.path), heritage::stamp(store.instance_id()));
    let taking = move || heritage::succeed(limits, &path, &stamp, SystemTime::now());
    let taken = tasks.group(TaskKind::Upkeep).spawn_blocking(taking).await;
    let (hub, inherited, succession) =
        taken.map_err(|error| RunError::Machine(format!("what the feed held was not read: {error}")))?;
    tracing::info!(feed = succession.as_str(), events = hub.figures().ring_events, "the feed begins");
    Ok((hub, inherited, succession))
}

/// Tells what is not as it was in the state that was inherited, as far as that is known already; gives the rest.
fn restore(hub: &Hub, inherited: Vec<Inherited>, pool: &Pool, platform: &Platform) -> Restored {
    let mut restored = Restored::of(inherited);
    let nodes: Vec<_> = pool.nodes().iter().map(NodeHandle::status).collect();
    let plugins = platform.reports().into_iter().map(|report| report.name).collect();
    let told = restored.begin(&nodes, &plugins, SystemTime::now());
    for publication in told {
        hub.publish(publication);
    }
    restored
}

/// The feed's clients, and how long closing them may take: half of a shutdown's time, less their last second.
pub(super) fn feed_limits(server: &ServerConfig) -> (usize, Duration) {
    let farewell = HubLimits::default().farewell;
    (server.feed_clients_max, (server.shutdown_timeout / 2).saturating_sub(farewell))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Starts what looks after the rest until `stop`: the feed's shards, one a core; the end of sessions, and who may stay on the
/// feed; the disk, the audit's age and the file's size; the spans' way out; the end of wishes about the log.
fn look_after(edge: &Edge, stop: &CancellationToken, log_level: Option<LogLevel>) {
    let shards = edge.tasks.group(TaskKind::Shard);
    for number in 0..cores() {
        shards.named(&format!("shard-{number}"), edge.hub.shard(stop.clone()));
    }
    let upkeep = edge.tasks.group(TaskKind::Upkeep);
    let (auth, ended) = (edge.auth.clone(), stop.clone());
    upkeep.named("sessions", async move { auth.run_upkeep(ended).await });
    let (auth, ended) = (edge.auth.clone(), stop.clone());
    upkeep.named("grants", async move { auth.run_watch(ended).await });
    let seed = RandomState::new().hash_one(1_u8);
    upkeep.named("disk", disk_watch::run(edge.store.clone(), Pace::USUAL, seed, stop.clone()));
    upkeep.named("audit", retention::run(edge.store.clone(), edge.reloader.snapshots(), stop.clone()));
    if let Some(spans) = edge.spans.take() {
        let (figures, instance) = (Arc::clone(edge.spans.figures()), edge.store.instance_id().to_owned());
        let seed = RandomState::new().hash_one(2_u8);
        let exporter = Exporter::new((spans, figures), edge.reloader.snapshots(), instance, seed);
        upkeep.named("spans", exporter.run(stop.clone()));
    }
    if let Some(level) = log_level {
        upkeep.named("log-level", level.run(stop.clone()));
    }
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

/// Says that it serves, and what whoever started it should know first.
fn announce(edge: &Edge, config: &Config, listeners: &[Listener]) -> Result<(), AuthRefusal> {
    if let Some(token) = edge.auth.begin_setup()? {
        offer_setup(&listeners::url(listeners), &token);
    }
    listeners::warn_of_the_clear(config, listeners);
    tracing::info!(nodes = config.nodes.len(), "serving");
    Ok(())
}

/// The token goes to whoever started the process, and to nobody who merely reads its log.
#[expect(clippy::print_stderr, reason = "the log must not hold it")]
fn offer_setup(url: &str, token: &crate::model::Secret) {
    eprintln!(
        "\nThere is no account yet. Create the first administrator with\n\n  omnivisor setup --server {url}\n\n\
         Setup token, valid once and until this server ends: {}\n",
        token.reveal()
    );
}
