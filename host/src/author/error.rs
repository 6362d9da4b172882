use crate::plugin::{LoadError, PluginClass};
use plugin_sdk::pack::{PackError, ToolchainError};
use std::io;
use std::path::PathBuf;

/// Why an author's command was not done.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// The name is none for a plugin.
    #[error("`{name}` is not a name for a plugin: {rule}")]
    Name {
        /// As it was given.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// There is something in the place of the new crate.
    #[error("`{}` is there already and not empty; nothing was written: choose another with --path", path.display())]
    NotEmpty {
        /// The place.
        path: PathBuf,
    },
    /// The SDK is not where it was looked for.
    #[error(
        "the plugin SDK is not in `{}`; it is not on a registry yet, so name the folder `plugin-sdk` of a checkout with \
         --sdk or OMNIVISOR_SDK", path.display()
    )]
    NoSdk {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The crate's manifest, or the plugin's, is no good.
    #[error("`{}`: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// There is no compiler for plugins.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo cannot be started.
    #[error("cargo cannot be run")]
    NoCargo(#[source] io::Error),
    /// Cargo ran, and failed.
    #[error(
        "cargo could not build the plugin, for the reason above; the crate needs `crate-type = [\"cdylib\", \"rlib\"]` and \
         `[profile.guest]`, as `omnivisor plugin new` writes them"
    )]
    Cargo,
    /// What cargo made is no plugin.
    #[error("what cargo made is no plugin: {0}")]
    Pack(#[from] PackError),
    /// The component's file is not called as a server looks for it.
    #[error("`{}`: a server looks for `NAME.wasm`, so a component's file has to end in .wasm", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A component of no world that this version knows.
    #[error(
        "plugin `{plugin}` exports {}; one of {} was expected",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") },
        PluginClass::ALL.map(PluginClass::world).join(", ")
    )]
    NoWorld {
        /// The plugin.
        plugin: String,
        /// All that it exports.
        exports: Vec<String>,
    },
    /// It would not be taken into service.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A limit is out of its range.
    #[error("these limits cannot be set: {0}")]
    Limits(String),
    /// The file of cases is no good.
    #[error("`{}`: {reason}", path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The log cannot be shown.
    #[error("the log cannot be shown: {0}")]
    Log(String),
    /// No runtime to run the plugin in.
    #[error("no runtime")]
    Runtime(#[source] io::Error),
}

impl AuthorError {
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.into(), source }
    }

    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { path: path.into(), source }
    }
}
