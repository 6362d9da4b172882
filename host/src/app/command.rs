//! The commands that run on the server's machine: `serve`, `init`, `config check`.

use crate::api::serve::Listener;
use crate::app::build::{Launch, launch};
use crate::app::exit::RunError;
use crate::app::lines::LogLines;
use crate::app::shutdown::Ended;
use crate::app::{listeners, logging, paths};
use crate::auth::{Passwords, create_first_administrator};
use crate::cli::args::{LogFormatArg, PluginCompilerArgs, ServeArgs};
use crate::cli::exit;
use crate::config::{self, Config, Defaults, LoadError, LogFormat, MachineSecrets, StorageConfig};
use crate::model::Secret;
use crate::plugin::{self, Compiler, CompilerError, CompilerLimits};
use crate::reload::ConfigFile;
use crate::store::{AuditOutcome, AuditRecord, Store};
use crate::task::{TaskKind, Tasks, log_panics};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What `serve` may be told besides its configuration.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// The configuration; the default place if not given.
    pub config: Option<PathBuf>,
    /// Instead of `log.level`.
    pub log_level: Option<String>,
    /// Instead of `log.format`.
    pub log_format: Option<LogFormat>,
}

impl From<ServeArgs> for ServeOptions {
    fn from(args: ServeArgs) -> Self {
        let log_format = args.log_format.map(|format| match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        });
        Self { config: args.config, log_level: args.log_level, log_format }
    }
}

/// How long the last log lines may take to be read.
const LOG_FLUSH_MAX: Duration = Duration::from_millis(500);
/// What work on blocking threads is given when the server ends; there is none after a clean end.
const THREADS_END_WITHIN: Duration = Duration::from_millis(100);

/// Runs a server until SIGINT or SIGTERM. A second signal ends it at once. SIGHUP reads the configuration again.
///
/// Signals are heard from the first moment on: one that comes while the server starts ends it in order too.
///
/// # Errors
/// [`RunError`]; its exit code is the process's.
pub fn serve(options: ServeOptions) -> Result<(), RunError> {
    let runtime = runtime()?;
    let mut log = None;
    let served = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = watch_signals(stop.clone())?;
        let hangups = handler(SignalKind::hangup())?;
        tokio::select! {
            biased;
            () = signals => Err(RunError::Forced),
            served = serve_until(options, stop, hangups, &mut log) => served,
        }
    });
    // A thread that hangs in the system must not hold up the end.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    if let Some(log) = log {
        log.flush(LOG_FLUSH_MAX);
    }
    served
}

async fn serve_until(
    options: ServeOptions,
    stop: CancellationToken,
    hangups: Signal,
    log: &mut Option<LogLines>,
) -> Result<(), RunError> {
    let (file, text, config) = read(options).await?;
    let (lines, level) = logging::start_unhurried(&config.log).map_err(RunError::Machine)?;
    let (lines, log_level) = (log.insert(lines), Some(level));
    log_panics();
    let heard = Arc::<Notify>::default();
    let listeners = listeners::open(&config).await?;
    let places: Vec<String> = listeners.iter().map(Listener::url).collect();
    let (places, version) = (places.join(" "), env!("CARGO_PKG_VERSION"));
    tracing::info!(places, nodes = config.nodes.len(), version, "starting");
    let (compiler, log_loss) = (this_compiler()?, lines.loss());
    let hangups_heard = Arc::clone(&heard);
    let (file, hangups_due) = (Some(file), heard);
    let launched =
        launch(Launch { config, text, file, listeners, stop, compiler, hangups: hangups_due, log_loss, log_level });
    let ended = tokio::select! {
        ended = launched => ended?,
        () = pass_on(hangups, &hangups_heard) => Ended::Forced,
    };
    match ended {
        Ended::Clean => Ok(()),
        Ended::Forced => Err(RunError::Forced),
    }
}

/// Reads the configuration aside, so that signals are heard meanwhile.
async fn read(options: ServeOptions) -> Result<(ConfigFile, Arc<str>, Config), RunError> {
    let read = tokio::task::spawn_blocking(move || {
        let file = options.file()?;
        let (text, config) = file.load()?;
        Ok((file, text, config))
    });
    read.await.map_err(|error| RunError::Machine(format!("the configuration was not read: {error}")))?
}

/// Passes each SIGHUP on. Several that come close together may be one. Ends only with the process.
async fn pass_on(mut hangups: Signal, heard: &Notify) {
    while hangups.recv().await.is_some() {
        heard.notify_one();
    }
    std::future::pending().await
}

impl ServeOptions {
    /// The configuration's file, with what the command line says instead.
    fn file(self) -> Result<ConfigFile, RunError> {
        let Self { config, log_level, log_format } = self;
        Ok(ConfigFile::new(place(config)?, defaults()?).adapted(move |config| {
            if let Some(level) = &log_level {
                config.log.level.clone_from(level);
            }
            if let Some(format) = log_format {
                config.log.format = format;
            }
        }))
    }
}

/// Where `init` is to create the first administrator: in the configured database, or in `data` instead. The
/// configuration at the default place may be missing.
///
/// # Errors
/// [`RunError::Config`] with every fault.
pub fn init_storage(config: Option<PathBuf>, data: Option<PathBuf>) -> Result<StorageConfig, RunError> {
    let is_default = config.is_none();
    let configured = match load(config) {
        Err(RunError::Config(LoadError::Unreadable { source, .. }))
            if is_default && source.kind() == std::io::ErrorKind::NotFound =>
        {
            StorageConfig::at(defaults()?.storage_path)
        }
        loaded => loaded?.storage,
    };
    Ok(data.map_or(configured, StorageConfig::at))
}

/// Creates the first administrator in a database. No server may be running on it.
///
/// # Errors
/// [`RunError`], among them that there are accounts already and that a server is running.
pub fn init(storage: &StorageConfig, username: &str, password: Secret) -> Result<(), RunError> {
    runtime()?.block_on(async {
        let store = Store::open(storage)?;
        let (passwords, now) =
            (Passwords::new(store.clone(), Tasks::new().group(TaskKind::Request)), SystemTime::now());
        let record = AuditRecord {
            at: now,
            who: username.to_owned(),
            what: "account.create".into(),
            target: username.to_owned(),
            outcome: AuditOutcome::Done,
            reason: "init".into(),
            request_id: String::new(),
            address: None,
        };
        let created = create_first_administrator(&store, &passwords, username, password, record, now).await;
        store.close().await?;
        Ok(created?)
    })
}

/// Checks a configuration and says where it is.
///
/// # Errors
/// [`RunError::Config`] with every fault.
pub fn check_config(path: Option<PathBuf>) -> Result<(PathBuf, Config), RunError> {
    let path = place(path)?;
    let config = config::load(&path, &MachineSecrets, &defaults()?)?;
    Ok((path, config))
}

/// Compiles one component from standard input to standard output, with the limits set on this very process, and
/// answers the exit code. For the server, which starts it as a child.
#[must_use]
#[expect(clippy::print_stderr, reason = "how the child tells its parent why; there is no log")]
pub fn compile_plugin(args: &PluginCompilerArgs) -> u8 {
    let limits = CompilerLimits {
        memory_bytes: args.memory_bytes,
        cpu_seconds: args.cpu_seconds,
        component_bytes_max: args.component_bytes_max,
    };
    let Err(error) = plugin::compile_stream(&limits, std::io::stdin().lock(), std::io::stdout().lock()) else {
        return exit::OK;
    };
    eprintln!("{error}");
    match error {
        CompilerError::Refused(_) => plugin::REFUSED,
        CompilerError::TooLarge(_) => exit::USAGE,
        CompilerError::Limits(_) => exit::SOFTWARE,
        CompilerError::Stream(_) => exit::IO,
    }
}

/// This very program, also after its file was replaced by a later version: that one would compile for itself.
fn this_compiler() -> Result<Compiler, RunError> {
    let running = PathBuf::from("/proc/self/exe");
    let program = if running.exists() { Ok(running) } else { std::env::current_exe() };
    let unknown = |error| RunError::Machine(format!("the place of this binary is not known: {error}"));
    Ok(Compiler::Child { program: program.map_err(unknown)? })
}

fn load(path: Option<PathBuf>) -> Result<Config, RunError> {
    Ok(check_config(path)?.1)
}

fn place(path: Option<PathBuf>) -> Result<PathBuf, RunError> {
    path.map_or_else(|| paths::default_config().map_err(RunError::Machine), Ok)
}

fn defaults() -> Result<Defaults, RunError> {
    paths::defaults().map_err(RunError::Machine)
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Machine(format!("no runtime: {error}")))
}

fn handler(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|error| RunError::Machine(format!("no signal handler: {error}")))
}

/// Cancels `stop` at the first signal; the future ends at the second. Handlers are in place when this returns, so a
/// signal during start-up is a shutdown, not a death.
fn watch_signals(stop: CancellationToken) -> Result<impl Future<Output = ()>, RunError> {
    let (mut interrupt, mut terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    Ok(async move {
        for attempt in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if attempt == 0 {
                stop.cancel();
            }
        }
        tracing::warn!("a second signal: ending at once");
    })
}
