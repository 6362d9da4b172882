//! Where things are when nobody says otherwise.

use crate::config::Defaults;
use etcetera::BaseStrategy;
use std::path::PathBuf;

/// `omnivisor/omnivisor.toml` below the XDG config directory.
///
/// # Errors
/// A sentence, when the machine has no home directory.
pub(super) fn default_config() -> Result<PathBuf, String> {
    Ok(base()?.config_dir().join("omnivisor/omnivisor.toml"))
}

/// The defaults that depend on the machine: the database below the XDG state directory, the plugins beside the binary,
/// their compiled code below the XDG cache directory.
///
/// # Errors
/// A sentence, when the machine has no home directory or the binary cannot be found.
pub(super) fn defaults() -> Result<Defaults, String> {
    let base = base()?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    let binary = std::env::current_exe().map_err(|error| format!("the place of this binary is not known: {error}"))?;
    let beside = binary.parent().map(PathBuf::from).unwrap_or_default();
    Ok(Defaults {
        storage_path: state.join("omnivisor/omnivisor.redb"),
        plugins_directory: beside.join("plugins"),
        cache_directory: base.cache_dir().join("omnivisor/plugins"),
    })
}

fn base() -> Result<impl BaseStrategy, String> {
    etcetera::choose_base_strategy().map_err(|error| format!("no home directory is known ({error}); set HOME"))
}
