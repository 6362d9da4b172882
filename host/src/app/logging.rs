//! The host's own log, on standard error.

use crate::app::lines::LogLines;
use crate::config::LogConfig;
use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts the log of a command that ends by itself. Once in a process.
///
/// # Errors
/// A sentence, when the level cannot be read or a log was started before.
pub(super) fn start(config: &LogConfig) -> Result<(), String> {
    start_to(config, std::io::stderr)
}

/// Starts the log of a server: its lines never hold it up. Once in a process.
///
/// # Errors
/// As [`start`], and when the system gives no thread.
pub(super) fn start_unhurried(config: &LogConfig) -> Result<LogLines, String> {
    let lines = LogLines::start(std::io::stderr(), config.format).map_err(|error| error.to_string())?;
    start_to(config, lines.clone())?;
    Ok(lines)
}

fn start_to<W>(config: &LogConfig, writer: W) -> Result<(), String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| format!("the log level `{}` cannot be read: {error}", config.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}
