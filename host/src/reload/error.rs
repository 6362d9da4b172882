use crate::config::{ConfigFault, LoadError};
use crate::plugin::SwapError;
use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why a configuration was not applied. All is as it was then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(LoadError),
    /// It has faults, or a node does.
    #[error("{} faults; nothing was changed", .0.len())]
    Faulty(Vec<ConfigFault>),
    /// Plugins cannot serve so.
    #[error("the plugins cannot serve under this configuration; nothing was changed")]
    Plugins(#[source] SwapError),
    /// The host was started without a file.
    #[error("the server was started without a configuration file")]
    NoFile,
    /// That generation is not kept, or never was.
    #[error("there is no generation {generation} of the configuration; the last few are kept")]
    UnknownGeneration {
        /// The number asked for.
        generation: u64,
    },
    /// The file holds what was never applied, and would be lost.
    #[error("the file `{}` differs from what is in force; reload it, or put it back, first", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be replaced, and without that a restart would undo the change.
    #[error("the file `{}` cannot be written, so a restart would undo this", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file owns this node.
    #[error("the file declares the node `{node}`, so it is changed there; then have it read again")]
    Declared {
        /// The node.
        node: String,
    },
    /// There is such a node.
    #[error("there is a managed node `{node}` already; PUT replaces it")]
    NodeExists {
        /// The node.
        node: String,
    },
    /// There is no such node.
    #[error("there is no managed node `{node}`")]
    UnknownNode {
        /// The node.
        node: String,
    },
    /// As many nodes are managed as may be.
    #[error("{limit} nodes are managed, which is all that are allowed")]
    TooManyNodes {
        /// Nodes allowed.
        limit: usize,
    },
    /// It cannot be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As many changes wait as may.
    #[error("{limit} changes of the configuration are waiting, which is all that are allowed")]
    Busy {
        /// Changes that may wait.
        limit: usize,
    },
    /// The host is going down.
    #[error("the server is shutting down")]
    Stopped,
}

impl ReloadError {
    /// Whether it lies with what the file says now.
    #[must_use]
    pub const fn is_of_the_file(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Faulty(_) | Self::Plugins(_) => true,
            Self::NoFile
            | Self::UnknownGeneration { .. }
            | Self::FileChanged { .. }
            | Self::NotWritable { .. }
            | Self::Declared { .. }
            | Self::NodeExists { .. }
            | Self::UnknownNode { .. }
            | Self::TooManyNodes { .. }
            | Self::Store(_)
            | Self::Busy { .. }
            | Self::Stopped => false,
        }
    }

    /// What to tell in a log: the error, all its causes, and every fault on a line of its own.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        if let Self::Faulty(faults) = self {
            text.extend(faults.iter().map(|fault| format!("\n  {fault}")));
        }
        text
    }
}

impl From<LoadError> for ReloadError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Faulty { faults, .. } => Self::Faulty(faults),
            LoadError::Unreadable { .. }
            | LoadError::NotAFile { .. }
            | LoadError::TooLong { .. }
            | LoadError::NotText { .. } => Self::Unreadable(error),
        }
    }
}
