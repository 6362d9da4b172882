//! A reader at a terminal: commands one after the other in one shell's folder and variables, others in the background.

use crate::page::missing;
use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tests::{Signal, send_signal, until};
use tokio::process::{Child, Command};

/// A build of a plugin from nothing, on a machine that does other things too.
const COMMANDS_WITHIN: Duration = Duration::from_secs(600);
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// The shell, with a folder of its own.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    background: Vec<Child>,
}

impl Shell {
    /// A user of the built `omnivisor`, whose guests are compiled where the repository's own are, offline.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("omnivisor-guide-").tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let binary = tests::omnivisor()?;
        let beside = binary.parent().context("the binary lies in a folder")?;
        let path = std::env::var("PATH").context("a search path")?;
        // The checkout as the page has it, whatever the target folder is called here.
        let plugins = tests::plugins()?.canonicalize()?;
        fs::create_dir_all(folder.path().join("checkout/target"))?;
        std::os::unix::fs::symlink(&plugins, folder.path().join("checkout/target/plugins"))?;
        let target = plugins.parent().context("the plugins lie in the target folder")?;
        let variables = [
            ("PATH", format!("{}:{path}", beside.display())),
            ("OMNIVISOR", at("checkout")),
            ("XDG_STATE_HOME", at("state")),
            ("XDG_CONFIG_HOME", at("config")),
            ("CARGO_TARGET_DIR", target.display().to_string()),
            ("CARGO_NET_OFFLINE", "true".to_owned()),
            ("CARGO_TERM_COLOR", "never".to_owned()),
        ];
        let variables = variables.map(|(key, value)| (key.to_owned(), value)).to_vec();
        fs::create_dir(folder.path().join("work"))?;
        fs::write(folder.path().join("cwd"), at("work"))?;
        fs::write(folder.path().join("variables"), "")?;
        Ok(Self { folder, variables, background: Vec::new() })
    }

    /// Where the reader is.
    pub(crate) fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from(fs::read_to_string(self.folder.path().join("cwd"))?.trim_end()))
    }

    /// Runs commands to their end, the first failure among them included; answers all that they printed.
    pub(crate) async fn run(&self, commands: &str) -> anyhow::Result<String> {
        let state = self.folder.path();
        let (cwd, variables) = (state.join("cwd"), state.join("variables"));
        let after = format!("pwd > '{}'\nexport -p > '{}'", cwd.display(), variables.display());
        let script = format!(". '{}'\nset -eu\n{commands}\n{after}", variables.display());
        let (mut child, output) = self.start(&script, "output")?;
        let ended = tokio::time::timeout(COMMANDS_WITHIN, child.wait()).await;
        let status = ended.with_context(|| format!("no end within {COMMANDS_WITHIN:?}: {commands}"))??;
        let output = read(&output);
        ensure!(status.success(), "{commands}\nended with {status}:\n{output}");
        Ok(output)
    }

    /// Starts commands that go on, and waits until they print what is shown.
    pub(crate) async fn begin(&mut self, commands: &str, shown: &[String]) -> anyhow::Result<()> {
        let name = format!("background-{}", self.background.len());
        // One process, which a signal ends: a shell in between would leave it behind.
        let (child, output) = self.start(&format!("exec {commands}"), &name)?;
        self.background.push(child);
        let waited =
            until("what is shown", SHOWN_WITHIN, async || Ok(missing(shown, &read(&output)).is_none().then_some(())));
        waited.await.with_context(|| format!("{commands}\nprinted:\n{}", read(&output)))
    }

    /// Ends what is in the background, the latest first.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        while let Some(mut child) = self.background.pop() {
            send_signal(Signal::Terminate, child.id().context("it ended by itself")?)?;
            tokio::time::timeout(SHOWN_WITHIN, child.wait()).await.context("it does not end")??;
        }
        Ok(())
    }

    fn start(&self, script: &str, output: &str) -> anyhow::Result<(Child, PathBuf)> {
        let output = self.folder.path().join(output);
        let file = File::create(&output)?;
        let child = Command::new("sh")
            .args(["-c", script])
            .current_dir(self.folder()?)
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, output))
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
