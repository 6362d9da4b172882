use crate::client::Client;
use crate::places::{self, free_address};
use crate::signal::{self, Signal};
use crate::until;
use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often another port is tried when somebody else took the one that was free.
const PORTS_TRIED_MAX: usize = 3;
const READY_WITHIN: Duration = Duration::from_secs(15);

/// A process that a monit watches.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    lines: String,
    start: &'static str,
    stop: &'static str,
}

/// Scripts, with `$1` as the beginning of the service's files. What runs has them in its command line.
const RUN: &str = "sh \"$1.run\" </dev/null >/dev/null 2>&1 &\necho $! > \"$1.pid\"\n";
const KILL: &str = "kill \"$(cat \"$1.pid\")\"\n";

impl Service {
    /// A process that does nothing and starts with its node.
    #[must_use]
    pub fn quiet(name: &str) -> Self {
        Self { name: name.to_owned(), lines: String::new(), start: RUN, stop: KILL }
    }

    /// Does not start with its node.
    #[must_use]
    pub fn waiting(self) -> Self {
        self.with("onreboot nostart")
    }

    /// With any other line of its section.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        let _ = writeln!(self.lines, "  {line}");
        self
    }

    /// Started by another script.
    #[must_use]
    pub fn start(self, start: &'static str) -> Self {
        Self { start, ..self }
    }

    /// Stopped by another script.
    #[must_use]
    pub fn stop(self, stop: &'static str) -> Self {
        Self { stop, ..self }
    }
}

/// A real monit on loopback. When it is dropped, it ends with all that it started, and its folder goes.
#[derive(Debug)]
pub struct Monit {
    name: String,
    password: String,
    address: SocketAddr,
    services: Vec<Service>,
    // Before the folder: it is to be gone when its files go.
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Monit {
    /// The user that every node asks for.
    pub const USERNAME: &str = "fleet";

    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// monit is not installed, refuses the configuration, or does not answer in time.
    pub async fn start(name: &str, services: Vec<Service>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("omnivisor-monit-").tempdir()?;
        // Its own: whoever else answers on its port is never taken for it.
        let password = format!("canary-node-{name}-{}", places::random());
        let mut why = None;
        for _ in 0..PORTS_TRIED_MAX {
            let address = free_address()?;
            match Daemon::start(folder.path(), address, &password, &services).await {
                Ok(daemon) => return Ok(Self { name: name.to_owned(), password, address, services, daemon, folder }),
                Err(error) => why = Some(error),
            }
        }
        bail!("node `{name}` did not start in {PORTS_TRIED_MAX} tries: {why:?}")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password that it asks for.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The number of a service's process, as its own file has it.
    ///
    /// # Errors
    /// There is no such service, or it was never started.
    pub fn pid(&self, name: &str) -> anyhow::Result<u32> {
        let at = self.services.iter().position(|service| service.name == name).context("no such service")?;
        let path = self.folder.path().join(format!("s{at}.pid"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("`{name}` was never started"))?;
        text.trim().parse().context("a pid that is no number")
    }

    /// Whether a service's last process is alive.
    ///
    /// # Errors
    /// As [`Self::pid`].
    pub fn is_alive(&self, name: &str) -> anyhow::Result<bool> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid(name)?)).unwrap_or_default();
        Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
    }

    /// Ends one process without its supervisor being asked.
    ///
    /// # Errors
    /// It is not alive.
    pub fn kill_process(&self, name: &str) -> anyhow::Result<u32> {
        let pid = self.pid(name)?;
        signal::send(Signal::Kill, pid)?;
        Ok(pid)
    }

    /// Ends monit at once. What it started runs on, as it would anywhere.
    pub fn kill(&mut self) {
        self.daemon.end();
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// As [`Self::start`]; also when somebody took its port.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.daemon.end();
        self.daemon = Daemon::start(self.folder.path(), self.address, &self.password, &self.services).await?;
        Ok(())
    }
}

impl Drop for Monit {
    fn drop(&mut self) {
        // First, so that it starts nothing again.
        self.daemon.end();
        loop {
            let family = family(self.folder.path());
            if family.is_empty() {
                return;
            }
            for pid in family {
                let _ = signal::send(Signal::Kill, pid);
            }
            std::thread::yield_now();
        }
    }
}

/// Everything alive that was started from a folder. monit gives its programs an environment of its own and leaves them
/// to the system, so nothing but their command lines binds them together.
fn family(folder: &Path) -> Vec<u32> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(folder.len()).any(|part| part == folder)
    })
    .collect()
}

/// The running monit.
#[derive(Debug)]
struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it and waits until it answers.
    async fn start(folder: &Path, address: SocketAddr, password: &str, services: &[Service]) -> anyhow::Result<Self> {
        let control = folder.join("control");
        let text = render(folder, address.port(), password, services)?;
        // monit refuses a control file that others may read.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&control)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        drop(file);
        let output = std::fs::File::create(folder.join("monit.out"))?;
        let binary = places::monit();
        let child = Command::new(&binary)
            .arg("-I")
            .arg("-c")
            .arg(&control)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} cannot be run: run `scripts/setup.sh monit`", binary.display()))?;
        let mut this = Self { child };
        let client = Client::new(address).basic(Monit::USERNAME, password);
        until("monit answers", READY_WITHIN, async || {
            if this.child.try_wait()?.is_some() {
                let said = std::fs::read_to_string(folder.join("monit.out")).unwrap_or_default();
                bail!("monit ended: {}", said.trim());
            }
            Ok(client.get("/_ping").await.ok().filter(|reply| reply.status == 200).map(drop))
        })
        .await?;
        Ok(this)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// The control file's text. The scripts that it names are written.
fn render(folder: &Path, port: u16, password: &str, services: &[Service]) -> anyhow::Result<String> {
    let dir = folder.display();
    let mut text = format!(
        "set daemon 1\nset pidfile {dir}/monit.pid\nset idfile {dir}/monit.id\nset statefile {dir}/monit.state\n\
         set httpd port {port} and use address 127.0.0.1 allow {}:\"{password}\"\n",
        Monit::USERNAME
    );
    for (at, service) in services.iter().enumerate() {
        let base = format!("{dir}/s{at}");
        std::fs::write(format!("{base}.run"), "while :; do sleep 1; done\n")?;
        std::fs::write(format!("{base}.start"), service.start)?;
        std::fs::write(format!("{base}.stop"), service.stop)?;
        let _ = write!(
            text,
            "check process \"{}\" with pidfile {base}.pid\n  \
             start program = \"/bin/sh {base}.start {base}\" with timeout 2 seconds\n  \
             stop program = \"/bin/sh {base}.stop {base}\" with timeout 10 seconds\n{}",
            service.name, service.lines
        );
    }
    Ok(text)
}
