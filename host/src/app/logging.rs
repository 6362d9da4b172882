//! The host's own log, on standard error.

use crate::app::lines::LogLines;
use crate::config::LogConfig;
use crate::config::LogFormat;
use std::sync::Arc;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, reload};

/// Starts the log of a command that ends by itself. Once in a process.
///
/// # Errors
/// A sentence, when the level cannot be read or a log was started before.
pub(super) fn start(config: &LogConfig) -> Result<(), String> {
    start_to(config, std::io::stderr).map(drop)
}

/// Where the level of the process's log is changed.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    /// From now on this is logged. The words were checked with the configuration.
    pub(super) fn set(&self, level: &str) {
        let changed = EnvFilter::try_new(level).map_err(|error| error.to_string());
        let changed = changed.and_then(|filter| (self.0)(filter).map_err(|error| error.to_string()));
        if let Err(error) = changed {
            tracing::error!(level, error, "the log's level was not changed");
        }
    }
}

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogLevel")
    }
}

/// Starts the log of a server: its lines never hold it up, and its level can be changed. Once in a process.
///
/// # Errors
/// As [`start`], and when the system gives no thread.
pub(super) fn start_unhurried(config: &LogConfig) -> Result<(LogLines, LogLevel), String> {
    let lines = LogLines::start(std::io::stderr(), config.format).map_err(|error| error.to_string())?;
    let level = start_to(config, lines.clone())?;
    Ok((lines, level))
}

fn start_to<W>(config: &LogConfig, writer: W) -> Result<LogLevel, String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| format!("the log level `{}` cannot be read: {error}", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let (level, started) = match config.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (LogLevel(Arc::new(move |filter| handle.reload(filter))), builder.try_init())
        }
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let is_coloured = is_terminal && std::env::var_os("NO_COLOR").is_none();
            let builder = builder.with_ansi(is_coloured).with_filter_reloading();
            let handle = builder.reload_handle();
            (LogLevel(Arc::new(move |filter| handle.reload(filter))), builder.try_init())
        }
    };
    started.map_err(|error| error.to_string())?;
    Ok(level)
}
