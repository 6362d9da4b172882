//! How the commands that run on the server's machine end. Codes are those of sysexits.

use crate::api::serve::ListenError;
use crate::auth::AuthRefusal;
use crate::cli::exit;
use crate::config::LoadError as ConfigError;
use crate::plugin::LoadError as PluginError;
use crate::reload::ReloadError;
use crate::store::StoreError;
use crate::task::TaskKind;

/// Why the host could not start, or a command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be read or is faulty.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file and the nodes that the API owns do not go together.
    #[error("{}", .0.told())]
    Configuration(ReloadError),
    /// Something about this machine.
    #[error("{0}")]
    Machine(String),
    /// A place where requests are to come in is taken or not ours, or has no good certificate.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Accounts and sessions.
    #[error(transparent)]
    Auth(#[from] AuthRefusal),
    /// Plugins that cannot serve, all of them.
    #[error("{} of the plugins cannot be loaded:{}", .0.len(), list(.0))]
    Plugins(Vec<PluginError>),
    /// The OpenAPI document could not be written.
    #[error("the OpenAPI document could not be written")]
    Document(#[from] serde_json::Error),
    /// A task panicked without which the server is none. It ended in order; whoever looks after it may start it again.
    #[error("a part of the server broke ({kind} `{name}`); the log above says how")]
    Broken {
        /// The task's kind.
        kind: TaskKind,
        /// Its name.
        name: String,
    },
    /// Shutdown did not end in time; the log names what was still running.
    #[error("the shutdown took longer than allowed; the log above names what was still running")]
    Forced,
}

impl RunError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(ConfigError::Unreadable { .. }) => exit::NO_INPUT,
            Self::Config(_) | Self::Configuration(_) | Self::Plugins(_) => exit::CONFIG,
            Self::Listen(ListenError::Certificates { .. }) => exit::CONFIG,
            Self::Listen(_) => exit::UNAVAILABLE,
            Self::Store(StoreError::WrongKey { .. } | StoreError::NoKey) => exit::CONFIG,
            Self::Store(_) => exit::IO,
            Self::Auth(_) => exit::DATA,
            Self::Machine(_) | Self::Document(_) => exit::SOFTWARE,
            Self::Broken { .. } => exit::BROKEN,
            Self::Forced => exit::TEMPORARY,
        }
    }

    /// What to print: the error and everything that caused it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {self}");
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!("\n  because: {cause}"));
            source = cause.source();
        }
        text.push('\n');
        text
    }
}

fn list(errors: &[PluginError]) -> String {
    errors.iter().map(|error| format!("\n  - {}", chain(error))).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
