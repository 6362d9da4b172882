use crate::client::Client;
use crate::feed::Feed;
use crate::places;
use crate::settings::{ADMIN, ADMIN_PASSWORD, Settings};
use crate::until;
use anyhow::Context as _;
use omnivisor::app::Ended;
use omnivisor::config::{Defaults, MachineSecrets};
use omnivisor::plugin::Compiler;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The real host in this process, behind a listener on loopback.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    /// A client that is logged in as the administrator.
    pub admin: Client,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<Ended>>,
    settings: Settings,
}

impl Host {
    /// Creates the administrator, starts the host, waits until it is ready, and logs in.
    ///
    /// # Errors
    /// It refuses the configuration or is not ready in time.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let path = settings.init().await?;
        let defaults = Defaults {
            storage_path: settings.path("unused.redb"),
            plugins_directory: settings.path("unused"),
            cache_directory: settings.path("cache"),
        };
        let config = omnivisor::config::load(&path, &MachineSecrets, &defaults)?;
        let listener = tokio::net::TcpListener::bind(config.server.listen.context("no address to listen at")?).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let compiler = Compiler::Child { program: places::omnivisor()? };
        let run = omnivisor::app::run(config, listener, stop.clone(), compiler);
        let task = tracker.spawn(async move { run.await.map_err(anyhow::Error::from) });
        let client = Client::new(address);
        until("the host is ready", READY_WITHIN, async || {
            anyhow::ensure!(!task.is_finished(), "the host ended before it was ready");
            Ok(client.get("/readyz").await.ok().filter(|reply| reply.status == 200).map(drop))
        })
        .await?;
        let admin = client.login(ADMIN, ADMIN_PASSWORD).await?;
        Ok(Self { address, admin, stop, task, settings })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that nobody knows.
    #[must_use]
    pub fn stranger(&self) -> Client {
        Client::new(self.address)
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A feed of everything, opened as the administrator.
    ///
    /// # Errors
    /// As [`Feed::open`].
    pub async fn feed(&self) -> anyhow::Result<Feed> {
        Feed::open(&self.admin, &["node/*/state", "proc/*/state"], None).await
    }

    /// What the API says of a node, without its processes.
    ///
    /// # Errors
    /// There is no such node.
    pub async fn node(&self, name: &str) -> anyhow::Result<Value> {
        self.admin.get(&format!("/api/v1/nodes/{name}")).await?.expect_status(200)?.json()
    }

    /// What the API says of a process. `id` is percent-encoded as it stands in a path.
    ///
    /// # Errors
    /// There is no such process.
    pub async fn process(&self, node: &str, id: &str) -> anyhow::Result<Value> {
        self.admin.get(&format!("/api/v1/nodes/{node}/processes/{id}")).await?.expect_status(200)?.json()
    }

    /// Waits until a node has one of these states.
    ///
    /// # Errors
    /// It did not within `limit`.
    pub async fn until_node(&self, name: &str, states: &[&str], limit: Duration) -> anyhow::Result<Value> {
        until(&format!("node `{name}` is one of {states:?}"), limit, async || {
            let node = self.node(name).await?;
            Ok(states.iter().any(|state| node["state"] == *state).then_some(node))
        })
        .await
    }

    /// Waits until a process has a state.
    ///
    /// # Errors
    /// It did not within `limit`.
    pub async fn until_process(&self, node: &str, id: &str, state: &str, limit: Duration) -> anyhow::Result<Value> {
        until(&format!("`{id}` on `{node}` is {state}"), limit, async || {
            let reply = self.admin.get(&format!("/api/v1/nodes/{node}/processes/{id}")).await?;
            let process = if reply.status == 200 { reply.json()? } else { Value::Null };
            Ok((process["state"] == state).then_some(process))
        })
        .await
    }

    /// Gives an order and waits for its result with the default time.
    ///
    /// # Errors
    /// There was no reply.
    pub async fn order(&self, node: &str, id: &str, operation: &str) -> anyhow::Result<crate::Reply> {
        let path = format!("/api/v1/nodes/{node}/processes/{id}/{operation}");
        self.admin.send("POST", &path, &[], Vec::new()).await
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// It did not end in time, cut something off, or ended with an error.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.end().await.map(drop)
    }

    /// Stops it and gives back its folder, with the database in it.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn end(self) -> anyhow::Result<Settings> {
        self.stop.cancel();
        let ended = tokio::time::timeout(STOPPED_WITHIN, self.task).await.context("the host did not stop")???;
        match ended {
            Ended::Clean => Ok(self.settings),
            Ended::Forced => anyhow::bail!("the host had to cut something off"),
        }
    }
}
