use crate::client::{Client, Reply};
use crate::places::{self, free_address};
use crate::program::Node;
use crate::signal::{self, Signal};
use crate::until;
use anyhow::{Context as _, bail, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The variable by which all that a node starts can be told from everything else on the machine.
const MARK: &str = "OMNIVISOR_TEST_NODE";
/// How often another port is tried when somebody else took the one that was free.
const PORTS_TRIED_MAX: usize = 5;
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A real supervisord on loopback. When it is dropped, it ends with all that it started, and its folder goes.
#[derive(Debug)]
pub struct Supervisord {
    node: Node,
    address: SocketAddr,
    // Before the folder: it is to be gone when its files go.
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Supervisord {
    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// supervisord is not installed, refuses the configuration, or does not answer in time.
    pub async fn start(mut node: Node) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("omnivisor-node-").tempdir()?;
        // Its own: whoever else answers on its port is never taken for it.
        node.password = format!("{}-{}", node.password, places::random());
        for _ in 0..PORTS_TRIED_MAX {
            let address = free_address()?;
            if let Some(daemon) = Daemon::start(&node, folder.path(), address).await? {
                return Ok(Self { node, address, daemon, folder });
            }
        }
        bail!("no port stayed free for node `{}` in {PORTS_TRIED_MAX} tries", node.name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password that it asks for.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.node.password
    }

    /// Its configuration, logs and scripts.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that may enter.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address).basic(Node::USERNAME, &self.node.password)
    }

    /// Calls a method of its XML-RPC interface; `parameters` are values in XML, as [`text`] and [`int`] make them.
    ///
    /// # Errors
    /// There was no HTTP reply. A fault is a reply.
    pub async fn call(&self, method: &str, parameters: &[String]) -> anyhow::Result<Reply> {
        call(&self.client(), method, parameters).await
    }

    /// What it says about one process, as the text of one member of `getProcessInfo`.
    ///
    /// # Errors
    /// It did not answer, or has no such process.
    pub async fn process(&self, id: &str, member: &str) -> anyhow::Result<String> {
        let reply = self.call("supervisor.getProcessInfo", &[text(id)]).await?;
        let body = reply.text();
        let (_, after) = body
            .split_once(&format!("<name>{member}</name>"))
            .with_context(|| format!("no `{member}` of `{id}`: {body}"))?;
        let value = after.split_once("</value>").map_or("", |(value, _)| value);
        let value = value.trim().trim_start_matches("<value>");
        Ok(value.rsplit_once("</").map_or(value, |(value, _)| value).split_once('>').map_or("", |(_, v)| v).to_owned())
    }

    /// Waits until a process has a state, `RUNNING` and the like.
    ///
    /// # Errors
    /// It did not within `limit`.
    pub async fn until_state(&self, id: &str, state: &str, limit: Duration) -> anyhow::Result<()> {
        until(&format!("`{id}` on `{}` is {state}", self.name()), limit, async || {
            Ok((self.process(id, "statename").await? == state).then_some(()))
        })
        .await
    }

    /// The number of a process that is alive.
    ///
    /// # Errors
    /// It is not alive.
    pub async fn pid(&self, id: &str) -> anyhow::Result<u32> {
        let pid = self.process(id, "pid").await?.parse().context("a pid that is no number")?;
        ensure!(pid != 0, "`{id}` on `{}` is not alive", self.name());
        Ok(pid)
    }

    /// Ends one process without its supervisor being asked.
    ///
    /// # Errors
    /// It is not alive.
    pub async fn kill_process(&self, id: &str) -> anyhow::Result<u32> {
        let pid = self.pid(id).await?;
        signal::send(Signal::Kill, pid)?;
        Ok(pid)
    }

    /// Freezes the supervisor: it takes connections and never answers.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> anyhow::Result<()> {
        signal::send(Signal::Stop, self.daemon.child.id())
    }

    /// Thaws it.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> anyhow::Result<()> {
        signal::send(Signal::Continue, self.daemon.child.id())
    }

    /// Ends it at once, with all that it started. Its port and files stay for [`Self::start_again`].
    pub fn kill(&mut self) {
        self.daemon.end();
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// As [`Self::start`]; also when somebody took its port.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.daemon.end();
        let daemon = Daemon::start(&self.node, self.folder.path(), self.address).await?;
        self.daemon = daemon.with_context(|| format!("{} was taken meanwhile", self.address))?;
        Ok(())
    }

    /// Everything alive that it started, itself included.
    #[must_use]
    pub fn family(&self) -> Vec<u32> {
        self.daemon.family()
    }
}

/// A text parameter.
#[must_use]
pub fn text(value: &str) -> String {
    let escaped = value.replace('&', "&amp;").replace('<', "&lt;");
    format!("<string>{escaped}</string>")
}

/// A number parameter.
#[must_use]
pub fn int(value: i64) -> String {
    format!("<int>{value}</int>")
}

async fn call(client: &Client, method: &str, parameters: &[String]) -> anyhow::Result<Reply> {
    let mut body = format!("<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>");
    for parameter in parameters {
        let _ = write!(body, "<param><value>{parameter}</value></param>");
    }
    body.push_str("</params></methodCall>");
    client.send("POST", "/RPC2", &[("content-type", "text/xml")], body.into_bytes()).await
}

/// The running supervisord.
#[derive(Debug)]
struct Daemon {
    child: Child,
    mark: String,
}

impl Daemon {
    /// Starts it and waits until it answers; `None` when its port is taken.
    async fn start(node: &Node, folder: &Path, address: SocketAddr) -> anyhow::Result<Option<Self>> {
        let (config, scripts) = node.render(folder, address.port());
        let path = folder.join("supervisord.conf");
        std::fs::write(&path, config)?;
        for (path, script) in scripts {
            std::fs::write(path, script)?;
        }
        let output = folder.join("supervisord.out");
        let mut this = Self::spawn(&path, &output, folder)?;
        let client = Client::new(address).basic(Node::USERNAME, &node.password);
        let what = format!("node `{}` answers", node.name);
        let is_up = until(&what, READY_WITHIN, async || {
            if this.child.try_wait()?.is_some() {
                return Ok(Some(false));
            }
            let reply = call(&client, "supervisor.getState", &[]).await;
            Ok(reply.ok().filter(|reply| reply.text().contains("RUNNING")).map(|_| true))
        })
        .await?;
        if is_up {
            return Ok(Some(this));
        }
        let said = std::fs::read_to_string(&output).unwrap_or_default();
        ensure!(said.contains("already listening"), "supervisord of node `{}` ended: {}", node.name, said.trim());
        Ok(None)
    }

    fn spawn(config: &PathBuf, output: &Path, folder: &Path) -> anyhow::Result<Self> {
        let binary = places::supervisord()?;
        let output = std::fs::File::create(output)?;
        // Of this run alone: the one before it may be dropped while this one is up.
        let mark = format!("{}#{}", folder.display(), places::random());
        let child = Command::new(&binary)
            .arg("-c")
            .arg(config)
            .current_dir(folder)
            .env(MARK, &mark)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} cannot be run", binary.display()))?;
        Ok(Self { child, mark })
    }

    /// Everything alive that carries our mark. Programs leave their supervisor's process group, so nothing else binds
    /// them together once it is gone.
    fn family(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        pids()
            .into_iter()
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
            })
            .collect()
    }

    /// Ends the supervisor and its programs until none is left.
    ///
    /// A process in the middle of `exec` shows no environment, so the mark alone would miss it. The supervisor is frozen
    /// first: it starts nothing more, and its children keep their numbers and their parent while they are counted.
    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let supervisor = self.child.id();
            let _ = signal::send(Signal::Stop, supervisor);
            while state_and_parent(supervisor).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z')) {
                std::thread::yield_now();
            }
            for pid in descendants(supervisor) {
                let _ = signal::send(Signal::Kill, pid);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        loop {
            let family = self.family();
            if family.is_empty() {
                return;
            }
            for pid in family {
                let _ = signal::send(Signal::Kill, pid);
            }
        }
    }
}

/// Everything below a process, parents before children.
fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<_> = pids().into_iter().filter_map(|pid| Some((pid, state_and_parent(pid)?.1))).collect();
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

fn pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's state letter and its parent, `None` once it is gone.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last bracket may hold anything.
    let mut members = line.rsplit_once(") ")?.1.split(' ');
    Some((members.next()?.chars().next()?, members.next()?.parse().ok()?))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}
