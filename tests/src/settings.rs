use crate::monit::Monit;
use crate::places;
use crate::program::Node;
use crate::supervisord::Supervisord;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The administrator of every host of the suites.
pub const ADMIN: &str = "admin";
/// Its password; nothing may ever show it.
pub const ADMIN_PASSWORD: &str = "canary-admin-password";

/// A configuration file in a folder of its own, with the database and the secrets beside it.
#[derive(Debug)]
pub struct Settings {
    folder: tempfile::TempDir,
    sections: BTreeMap<String, Vec<(String, String)>>,
    nodes: String,
    variables: Vec<(String, String)>,
}

impl Settings {
    /// A configuration without nodes, time for validators on a busy machine, all else as users have it, and a log that
    /// holds nothing back.
    ///
    /// # Errors
    /// No folder can be made, or the plugins are not built.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("omnivisor-host-").tempdir()?;
        let this = Self { folder, sections: BTreeMap::new(), nodes: String::new(), variables: Vec::new() };
        let (database, cache) = (this.path("omnivisor.redb"), this.path("cache"));
        Ok(this
            .with("server", "listen", "\"127.0.0.1:0\"")
            .with("storage", "path", &format!("{database:?}"))
            .with("plugins", "directory", &format!("{:?}", places::plugins()?))
            // A machine that builds beside the suite may keep a call waiting for longer than the usual 50 ms; what
            // becomes of a call that is too slow is what other tests are about.
            .with("plugins.validate_limits", "time_ms", "5000")
            .with("plugins", "cache_directory", &format!("{cache:?}"))
            .with("log", "level", "\"trace\""))
    }

    /// With a line more, or another value, in a section; `value` is TOML.
    #[must_use]
    pub fn with(mut self, section: &str, key: &str, value: &str) -> Self {
        let lines = self.sections.entry(section.to_owned()).or_default();
        lines.retain(|(present, _)| present != key);
        lines.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With one more place to listen at, given by its lines of TOML. Before any node.
    #[must_use]
    pub fn listen(mut self, lines: &str) -> Self {
        let _ = writeln!(self.nodes, "[[listen]]\n{lines}\n");
        self
    }

    /// With a node, which is entered with its own password.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn node(self, node: &Supervisord) -> anyhow::Result<Self> {
        self.node_with_password(node, node.password())
    }

    /// With a node that is reached at another address than its own.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn node_behind(self, node: &Supervisord, address: SocketAddr) -> anyhow::Result<Self> {
        self.entry(node.name(), address, Node::USERNAME, node.password(), "")
    }

    /// With a node at this address that lets everybody in.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn open_node(self, name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        self.entry(name, address, Node::USERNAME, "canary-open-node", "")
    }

    /// The node added last is in this environment.
    #[must_use]
    pub fn environment(mut self, environment: &str) -> Self {
        let _ = writeln!(self.nodes, "environment = {environment:?}");
        self
    }

    /// Lines of TOML behind the node added last, or a table of their own.
    #[must_use]
    pub fn lines(mut self, lines: &str) -> Self {
        let _ = writeln!(self.nodes, "{lines}");
        self
    }

    /// With a variable in the environment of a server that is a process of its own.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The environment's variables.
    #[must_use]
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// The node added last is left alone.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.nodes.push_str("enabled = false\n");
        self
    }

    /// The node added last is spoken to by this adapter.
    #[must_use]
    pub fn adapter(mut self, adapter: &str) -> Self {
        let _ = writeln!(self.nodes, "adapter = {adapter:?}");
        self
    }

    /// With a node, which is entered with this password.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn node_with_password(self, node: &Supervisord, password: &str) -> anyhow::Result<Self> {
        self.entry(node.name(), node.address(), Node::USERNAME, password, "")
    }

    /// With a monit, which is entered with its own password.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn monit(self, node: &Monit) -> anyhow::Result<Self> {
        self.monit_with_password(node, node.password())
    }

    /// With a monit, which is entered with this password.
    ///
    /// # Errors
    /// The secret's file cannot be written.
    pub fn monit_with_password(self, node: &Monit, password: &str) -> anyhow::Result<Self> {
        self.entry(node.name(), node.address(), Monit::USERNAME, password, "adapter = \"node-monit\"\n")
    }

    fn entry(
        mut self,
        name: &str,
        address: SocketAddr,
        username: &str,
        password: &str,
        lines: &str,
    ) -> anyhow::Result<Self> {
        let file = self.secret(&format!("{name}.password"), password)?;
        let _ = write!(
            self.nodes,
            "\n[[node]]\nname = {name:?}\nurl = \"http://{address}\"\nusername = {username:?}\npassword_file = {file:?}\n{lines}"
        );
        Ok(self)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only we may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn secret(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        Ok(path)
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let mut text = String::new();
        for (section, lines) in &self.sections {
            let _ = writeln!(text, "[{section}]");
            for (key, value) in lines {
                let _ = writeln!(text, "{key} = {value}");
            }
            text.push('\n');
        }
        text.push_str(&self.nodes);
        let path = self.path("omnivisor.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Creates the administrator, the way a user does.
    ///
    /// # Errors
    /// `omnivisor init` is not built, or failed.
    pub async fn init(&self) -> anyhow::Result<PathBuf> {
        let config = self.write()?;
        let secret = self.secret("admin.password", ADMIN_PASSWORD)?;
        let ended = tokio::process::Command::new(places::omnivisor()?)
            .arg("init")
            .arg("--config")
            .arg(&config)
            .args(["--username", ADMIN, "--password-file"])
            .arg(&secret)
            .envs(self.variables.iter().cloned())
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .context("`omnivisor init` cannot be run")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        anyhow::ensure!(ended.status.success(), "`omnivisor init` ended with {}: {said}", ended.status);
        Ok(config)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
