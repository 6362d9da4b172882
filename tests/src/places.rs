use anyhow::{Context as _, ensure};
use std::hash::BuildHasher as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Below the range from which systems choose ports for those that ask for any. A program that binds later than we look
/// finds such a port free unless another suite drew it too.
const FIRST_PORT: u16 = 15_000;
const PORTS: u64 = 17_000;
const DRAWS_MAX: usize = 100;

/// A number that differs from run to run and from test to test.
pub(crate) fn random() -> u64 {
    std::hash::RandomState::new().hash_one(0)
}

/// An address of loopback that nobody has at this moment, for programs that cannot be handed a listener.
///
/// # Errors
/// None of those drawn is free.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..DRAWS_MAX {
        let port = FIRST_PORT + u16::try_from(random() % PORTS)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("none of {DRAWS_MAX} ports drawn is free")
}

/// The npm packages that the suites need: oidc-provider.
///
/// # Errors
/// They are not installed; the text says what to run.
pub fn node_modules() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no workspace")?;
    at_variable_or("OMNIVISOR_NODE_MODULES", root.join("target/tools/oidc/node_modules"), "make setup")
}

/// Where cargo puts what it builds: two folders above the test binary.
fn target() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe().context("the test binary has no path")?;
    let profile = binary.ancestors().find(|path| path.ends_with("deps")).and_then(Path::parent);
    Ok(profile.context("the test binary does not lie in a `deps` folder")?.to_owned())
}

fn at_variable_or(variable: &str, path: PathBuf, remedy: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os(variable).map_or(path, PathBuf::from);
    ensure!(path.exists(), "{} is not there: run `{remedy}`, or name another in {variable}", path.display());
    Ok(path)
}

/// The supervisord to test against, 4.3.0.
///
/// # Errors
/// It is not installed; the text says what to run.
pub(crate) fn supervisord() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in no workspace")?;
    let installed = root.join("target/tools/supervisor-venv/bin/supervisord");
    at_variable_or("OMNIVISOR_SUPERVISORD", installed, "make setup")
}

/// The monit to test against, 5.33.0; the system's own unless `OMNIVISOR_MONIT` names another.
#[cfg(feature = "harness")]
pub(crate) fn monit() -> PathBuf {
    std::env::var_os("OMNIVISOR_MONIT").map_or_else(|| PathBuf::from("monit"), PathBuf::from)
}

/// The folder of the packed plugins.
///
/// # Errors
/// They are not built; the text says what to run.
pub fn plugins() -> anyhow::Result<PathBuf> {
    let folder = target()?.parent().context("the target folder has no parent")?.join("plugins");
    at_variable_or("OMNIVISOR_PLUGINS", folder, "make plugins")
}

/// The built `omnivisor`.
///
/// # Errors
/// It is not built; the text says what to run.
pub fn omnivisor() -> anyhow::Result<PathBuf> {
    at_variable_or("OMNIVISOR_BINARY", target()?.join("omnivisor"), "cargo build -p host")
}
