//! The host's own log, on standard error.

use crate::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts the log. Once in a process.
///
/// # Errors
/// A sentence, when the level cannot be read or a log was started before.
pub(super) fn start(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| format!("the log level `{}` cannot be read: {error}", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}
