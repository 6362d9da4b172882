use crate::client::Client;
use crate::settings::Settings;
use crate::signal::{self, Signal};
use crate::{places, until};
use anyhow::Context as _;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

const READY_WITHIN: Duration = Duration::from_secs(60);
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// The host as users run it: a process of its own, whose log can be read.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    child: Child,
    settings: Settings,
}

impl Server {
    /// Creates the administrator, runs `omnivisor serve`, and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or is not ready in time; the text shows its log.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let address = places::free_address()?;
        let settings = settings.with("server", "listen", &format!("\"{address}\""));
        settings.init().await?;
        Self::run(settings, address).await
    }

    /// Runs `omnivisor serve` on a database without an account, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_without_accounts(settings: Settings) -> anyhow::Result<Self> {
        let address = places::free_address()?;
        Self::run(settings.with("server", "listen", &format!("\"{address}\"")), address).await
    }

    /// Runs it again, after it ended, with the same database and at the same address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_again(self) -> anyhow::Result<Self> {
        Self::run(self.settings, self.address).await
    }

    async fn run(settings: Settings, address: SocketAddr) -> anyhow::Result<Self> {
        let config = settings.write()?;
        let log = std::fs::File::create(settings.path("server.log"))?;
        let child = Command::new(places::omnivisor()?)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .envs(settings.variables().iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("`omnivisor serve` cannot be run")?;
        let mut this = Self { address, child, settings };
        let client = this.client();
        let ready = until("the server is ready", READY_WITHIN, async || {
            anyhow::ensure!(this.child.try_wait()?.is_none(), "`omnivisor serve` ended");
            Ok(client.get("/readyz").await.ok().filter(|reply| reply.status == 200).map(drop))
        })
        .await;
        ready.with_context(|| this.log())?;
        Ok(this)
    }

    /// A client that nobody knows.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Its process number, as long as nobody has waited for its end.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All that it wrote since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.settings.path("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// It did not within `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        signal::send(Signal::Terminate, self.child.id().context("the server has ended")?)?;
        Ok(tokio::time::timeout(limit, self.child.wait()).await.context("the server did not end")??)
    }
}

/// The command line of a user who has a home of its own.
#[derive(Debug)]
pub struct CommandLine {
    home: tempfile::TempDir,
    server: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandLine {
    /// A user of the server at `address`.
    ///
    /// # Errors
    /// No folder can be made.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("omnivisor-home-").tempdir()?;
        Ok(Self { home, server: format!("http://{address}") })
    }

    /// A command, not started yet.
    ///
    /// # Errors
    /// `omnivisor` is not built.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(places::omnivisor()?);
        let home = self.home.path();
        command
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("OMNIVISOR_SERVER", &self.server)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be run, or does not end in time.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        let child = self.command(arguments)?.spawn()?;
        let ended = tokio::time::timeout(COMMAND_WITHIN, child.wait_with_output()).await;
        let ended = ended.with_context(|| format!("`omnivisor {}` did not end", arguments.join(" ")))??;
        Ok(Run {
            code: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        })
    }

    /// Its files.
    #[must_use]
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }
}
