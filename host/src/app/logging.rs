//! The host's own log, on standard error.

use crate::api::{LogControl, LogLevels};
use crate::app::lines::{Escapes, LogLines};
use crate::config::{LogConfig, LogFilter, LogFormat};
use crate::task::until;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, reload};

/// Starts the log of a command that ends by itself. Once in a process.
///
/// # Errors
/// A sentence, when the level cannot be read or a log was started before.
pub(super) fn start(config: &LogConfig) -> Result<(), String> {
    start_to(config, std::io::stderr).map(drop)
}

/// Has the log let these lines through from now on.
type Apply = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// Where the level of the process's log is changed. Cheap to clone.
///
/// The configuration's counts, but for a while that somebody asked for: a configuration that is read meanwhile waits for the
/// end of it.
#[derive(Clone)]
pub struct LogLevel(Arc<Inner>);

struct Inner {
    apply: Box<Apply>,
    state: Mutex<State>,
    /// Notified when another end counts.
    changed: Notify,
}

struct State {
    configured: LogFilter,
    raised: Option<Raised>,
}

/// What counts for a while.
struct Raised {
    filter: LogFilter,
    until: Instant,
    /// The same for people.
    until_time: SystemTime,
    by: String,
}

impl State {
    fn levels(&self) -> LogLevels {
        let raised = self.raised.as_ref();
        LogLevels {
            in_force: raised.map_or(&self.configured, |raised| &raised.filter).as_str().to_owned(),
            configured: self.configured.as_str().to_owned(),
            until: raised.map(|raised| raised.until_time),
            by: raised.map(|raised| raised.by.clone()),
        }
    }
}

impl LogLevel {
    fn new(configured: LogFilter, apply: Box<Apply>) -> Self {
        let state = Mutex::new(State { configured, raised: None });
        Self(Arc::new(Inner { apply, state, changed: Notify::new() }))
    }

    /// What the configuration says from now on. The words were checked with it.
    pub(super) fn configure(&self, level: &str) {
        let mut state = self.lock();
        let applied = LogFilter::parse(level).map_err(|bad| bad.to_string()).and_then(|filter| {
            if state.raised.is_none() && filter != state.configured {
                self.apply(&filter)?;
            }
            Ok(filter)
        });
        match applied {
            Ok(filter) => state.configured = filter,
            Err(error) => {
                drop(state);
                tracing::error!(filter = level, error, "the log's level was not changed");
            }
        }
    }

    /// Ends what counts for a while when its time is over, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let over = self.lock().raised.as_ref().map(|raised| raised.until);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.0.changed.notified() => {}
                () = until(over) => self.expire(Instant::now()),
            }
        }
    }

    fn expire(&self, now: Instant) {
        let mut state = self.lock();
        if state.raised.as_ref().is_none_or(|raised| raised.until > now) {
            return;
        }
        state.raised = None;
        let applied = self.apply(&state.configured);
        let filter = state.configured.as_str().to_owned();
        drop(state);
        match applied {
            Ok(()) => tracing::info!(filter, "the log's level is that of the configuration again"),
            Err(error) => tracing::error!(filter, error, "the log's level was not changed"),
        }
    }

    fn apply(&self, filter: &LogFilter) -> Result<(), String> {
        let filter = EnvFilter::try_new(filter.directives()).map_err(|error| error.to_string())?;
        (self.0.apply)(filter).map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogControl for LogLevel {
    fn levels(&self) -> LogLevels {
        self.lock().levels()
    }

    fn set_for(&self, filter: &LogFilter, lasts: Duration, by: &str) -> Result<LogLevels, String> {
        let mut state = self.lock();
        self.apply(filter)?;
        state.raised = Some(Raised {
            filter: filter.clone(),
            until: Instant::now() + lasts,
            until_time: SystemTime::now() + lasts,
            by: by.to_owned(),
        });
        let levels = state.levels();
        drop(state);
        self.0.changed.notify_one();
        tracing::info!(filter = filter.as_str(), ?lasts, by, "the log's level is another one for a while");
        Ok(levels)
    }

    fn reset(&self) -> Result<LogLevels, String> {
        let mut state = self.lock();
        self.apply(&state.configured)?;
        state.raised = None;
        let levels = state.levels();
        drop(state);
        self.0.changed.notify_one();
        Ok(levels)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel")
    }
}

/// Starts the log of a server: its lines never hold it up, and its level can be changed. Once in a process.
///
/// # Errors
/// As [`start`], and when the system gives no thread.
pub(super) fn start_unhurried(config: &LogConfig) -> Result<(LogLines, LogLevel), String> {
    let escapes = match config.format {
        LogFormat::Json => Escapes::Json,
        LogFormat::Text if is_coloured() => Escapes::ColouredText,
        LogFormat::Text => Escapes::Text,
    };
    let lines = LogLines::start(std::io::stderr(), escapes).map_err(|error| error.to_string())?;
    let level = start_to(config, lines.clone())?;
    Ok((lines, level))
}

fn is_coloured() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}

fn start_to<W>(config: &LogConfig, writer: W) -> Result<LogLevel, String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let configured = LogFilter::parse(&config.level).map_err(|bad| {
        format!("the log level `{}` cannot be read: {bad}; expected {}", config.level, LogFilter::EXPECTED)
    })?;
    let filter = EnvFilter::try_new(configured.directives()).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let (apply, started): (Box<Apply>, _) = match config.format {
        LogFormat::Json => {
            // A span that is told beside its list would be told twice.
            let builder = builder.json().flatten_event(true).with_span_list(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(move |filter| handle.reload(filter)), builder.try_init())
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(is_coloured()).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(move |filter| handle.reload(filter)), builder.try_init())
        }
    };
    started.map_err(|error| error.to_string())?;
    Ok(LogLevel::new(configured, apply))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level whose filters are only noted.
    fn noted(configured: &str) -> (LogLevel, Arc<Mutex<Vec<String>>>) {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let noting = Arc::clone(&told);
        let apply = move |filter: EnvFilter| {
            noting.lock().unwrap().push(filter.to_string());
            Ok(())
        };
        (LogLevel::new(LogFilter::parse(configured).unwrap(), Box::new(apply)), told)
    }

    fn debug() -> LogFilter {
        LogFilter::parse("debug").unwrap()
    }

    fn counts(level: &LogLevel) -> (String, bool) {
        let levels = level.levels();
        (levels.in_force, levels.until.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_for_a_while_ends_by_itself_and_what_was_configured_meanwhile_counts_then() {
        let (level, told) = noted("info");
        let stop = CancellationToken::new();
        let running = tokio_util::task::TaskTracker::new().spawn(level.clone().run(stop.clone()));
        level.set_for(&debug(), Duration::from_secs(60), "ann").unwrap();
        assert_eq!(counts(&level), ("debug".to_owned(), true));
        level.configure("warn");
        assert_eq!(counts(&level), ("debug".to_owned(), true), "its time is not over");
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(counts(&level), ("debug".to_owned(), true));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(counts(&level), ("warn".to_owned(), false));
        let told = told.lock().unwrap().clone();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("omnivisor=debug") && told[1].contains("omnivisor=warn"), "{told:?}");
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_wish_has_its_own_end_and_a_reset_needs_none() {
        let (level, told) = noted("info");
        let stop = CancellationToken::new();
        let running = tokio_util::task::TaskTracker::new().spawn(level.clone().run(stop.clone()));
        level.set_for(&debug(), Duration::from_secs(10), "ann").unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        level.set_for(&debug(), Duration::from_secs(60), "bob").unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(counts(&level), ("debug".to_owned(), true), "the first end counts no more");
        assert_eq!(level.levels().by.as_deref(), Some("bob"));
        level.reset().unwrap();
        assert_eq!(counts(&level), ("info".to_owned(), false));
        level.configure("info");
        assert_eq!(told.lock().unwrap().len(), 3, "the same again changes nothing");
        stop.cancel();
        running.await.unwrap();
    }
}
