//! What may be typed. The texts here are the manual.

use super::act::{ActArgs, SignalArgs, StdinArgs};
use super::api::LogPart;
use super::audit::AuditCommand;
use super::authoring::AuthorCommand;
use super::config::ServerConfigCommand;
use super::exit;
use super::log_level::LogLevelArgs;
use super::node::NodeCommand;
use super::own::SessionCommand;
use super::password::{OwnPasswordArgs, PasswordArgs};
use super::plugin::ServerPluginCommand;
use super::role::RoleCommand;
use super::supervisor::GroupCommand;
use super::user::UserCommand;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// One control plane over many process supervisors.
///
/// `omnivisor serve` runs the server; `init` and `config` prepare it; `plugin` is for those who write plugins. The
/// commands from `login` on talk to a server over its API, like supervisorctl for the whole fleet.
///
/// SELECTOR is NODE or NODE/GROUP:NAME; `*` stands for any characters in each part, so quote it: 'web-*/app:*'.
#[derive(Debug, Parser)]
#[command(name = "omnivisor", version, max_term_width = 100, after_help = exit::TABLE, arg_required_else_help = true)]
pub struct Cli {
    /// Options of the client's commands.
    #[command(flatten)]
    pub client: ClientOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command that talks to a server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientOptions {
    /// The server to talk to, http://, https:// or unix:/PATH [default: the one of the last login, else http://127.0.0.1:8642]
    #[arg(long, value_name = "URL", env = "OMNIVISOR_SERVER", hide_env_values = true, global = true)]
    pub server: Option<String>,
    /// Trust the certificate authorities in this PEM file instead of the machine's, for a server with https
    #[arg(long, value_name = "FILE", env = "OMNIVISOR_CA_FILE", hide_env_values = true, global = true)]
    pub ca_file: Option<PathBuf>,
    /// Print results as JSON, one document a line; errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours; the variable NO_COLOR does the same
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// Everything the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    #[command(after_help = "Example:\n  omnivisor serve --config /etc/omnivisor.toml --log-level debug")]
    Serve(ServeArgs),
    /// Create the first administrator, without a running server
    #[command(after_help = "Examples:\n  omnivisor init                       asks for a password twice\n  \
        omnivisor init --password-file /run/secrets/admin --username ann")]
    Init(InitArgs),
    /// Check a configuration; have a server reload it or go back to an earlier one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Put a copy of the database in its place, while no server runs
    #[command(
        after_help = "The copy is opened and gone through first. What was there before is kept beside it. All sessions end.\n\n\
        Examples:\n  omnivisor restore --check monday.redb\n  omnivisor restore monday.redb"
    )]
    Restore(RestoreArgs),
    /// Make and change the key that seals secrets in the database, without a running server
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Write, build, check and test plugins; show, swap and roll back those of a server
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  omnivisor completions bash > /etc/bash_completion.d/omnivisor")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Compile a component from standard input to machine code on standard output; the server starts it
    #[command(hide = true)]
    PluginCompiler(PluginCompilerArgs),
    /// The client's commands.
    #[command(flatten)]
    Client(ClientCommand),
}

/// `omnivisor serve`
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The configuration [default: omnivisor/omnivisor.toml below the XDG config directory]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides the configuration: error, warn, info, debug, trace, or directives as in RUST_LOG
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Overrides the configuration
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
}

/// `omnivisor plugin-compiler`
#[derive(Debug, Clone, Args)]
pub struct PluginCompilerArgs {
    /// Address space it may use
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes: u64,
    /// Processor time it may use
    #[arg(long, value_name = "SECONDS")]
    pub cpu_seconds: u64,
    /// The largest component it takes
    #[arg(long, value_name = "BYTES")]
    pub component_bytes_max: u64,
}

/// The form of the server's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// `omnivisor init`
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The configuration, which names the database [default: as for serve]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database, instead of the one that the configuration names
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// The administrator's name
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub username: String,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `omnivisor restore`
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The copy, as `omnivisor backup` made it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only look into it
    #[arg(long)]
    pub check: bool,
    /// The configuration, which names the database [default: as for serve]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database, instead of the one that the configuration names
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
}

/// `omnivisor secrets`
#[derive(Debug, Clone, Subcommand)]
pub enum SecretsCommand {
    /// Write a new random key into a file that only you may read
    #[command(after_help = "Nothing is overwritten. Name the file as `key_file` in `[storage]`.\n\n\
        Example:\n  omnivisor secrets new-key /etc/omnivisor/storage.key")]
    NewKey {
        /// Where to
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Seal all secrets in the database with another key, while no server runs
    #[command(
        after_help = "The configuration names the key until now. All of them are sealed anew or none, whenever this ends; told twice, it says \
        that there is nothing to do.\n\nExample:\n  omnivisor secrets new-key /etc/omnivisor/storage.key.new\n  \
        omnivisor secrets rotate --new-key-file /etc/omnivisor/storage.key.new\n  \
        mv /etc/omnivisor/storage.key.new /etc/omnivisor/storage.key"
    )]
    Rotate {
        /// The new key, as `new-key` made it
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
        /// The configuration, which names the database and the key until now [default: as for serve]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// `omnivisor config`
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Report every fault of a configuration at once, each with its line
    #[command(
        after_help = "Example:\n  omnivisor config check ./omnivisor.toml && omnivisor serve --config ./omnivisor.toml"
    )]
    Check {
        /// The configuration [default: as for serve]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The same, as for serve
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// What a running server does.
    #[command(flatten)]
    Server(ServerConfigCommand),
}

/// `omnivisor plugin`
#[derive(Debug, Clone, Subcommand)]
pub enum PluginCommand {
    /// What needs no server.
    #[command(flatten)]
    Author(AuthorCommand),
    /// What a running server does.
    #[command(flatten)]
    Server(ServerPluginCommand),
}

/// What the client can do.
#[derive(Debug, Clone, Subcommand)]
pub enum ClientCommand {
    /// Show, swap and roll back plugins; typed as a part of `omnivisor plugin`.
    #[command(skip)]
    Plugin(ServerPluginCommand),
    /// Reload a configuration and go back; typed as a part of `omnivisor config`.
    #[command(skip)]
    Config(ServerConfigCommand),
    /// Read, export and verify the record of who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show what a running server logs, or have it log more or less for a while
    #[command(
        after_help = "It ends by itself; `config reload` does not end it. A level alone is this program's: libraries tell more only when they are named.\n\n\
        Examples:\n  omnivisor log-level\n  omnivisor log-level debug --for 10m\n  omnivisor log-level info,omnivisor::node=trace\n  omnivisor log-level --reset"
    )]
    LogLevel(LogLevelArgs),
    /// Take a copy of a running server's database
    #[command(
        after_help = "It holds all that was done before, and the hashes of passwords and keys: keep it as you keep the database.\n\n\
        Example:\n  omnivisor backup \"omnivisor-$(date +%F).redb\""
    )]
    Backup {
        /// Where to; nothing is overwritten
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Give back what the file of a running server's database holds beyond its records
    #[command(
        after_help = "Reads go on meanwhile, writes wait: about a second for each 250,000 records. It needs room for a second file. \
        The server does it by itself at its start and each hour, where it gives back more than half and no more than 32 MiB are in use.\n\n\
        Example:\n  omnivisor compact"
    )]
    Compact,
    /// Add and remove nodes, and tell their supervisors what to do
    #[command(subcommand)]
    Node(NodeCommand),
    /// Log in to a server and keep the session
    #[command(after_help = "The token is kept below the XDG state directory (omnivisor/session.json, mode 600). \
        The variable OMNIVISOR_TOKEN overrides it; it may hold an API key too.\n\nExamples:\n  omnivisor login --server http://10.0.0.2:8642 --username ann\n  \
        omnivisor login --username ci --password-stdin < secret")]
    Login(LoginArgs),
    /// End the session and forget it
    Logout,
    /// Say who is logged in, and what they may do where
    Whoami,
    /// Change your own password; your other sessions end
    #[command(after_help = "Without options both passwords are asked for on the terminal. API keys stay.\n\n\
        Examples:\n  omnivisor password\n  omnivisor password --old-password-file old --new-password-file new\n  \
        cat old new | omnivisor password --password-stdin")]
    Password(OwnPasswordArgs),
    /// Show and end your own sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Create, list and revoke API keys, for programs
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Show and change accounts, their grants and sessions
    #[command(subcommand)]
    User(UserCommand),
    /// Show and change roles
    #[command(subcommand)]
    Role(RoleCommand),
    /// Create the first administrator of a running server, with the setup token it printed
    #[command(after_help = "Example:\n  omnivisor setup --username ann        asks for the token and a password")]
    Setup(SetupArgs),
    /// Show nodes and their processes
    #[command(
        after_help = "Data of a node that is not live is old: its processes are marked with `?`, its line says why and since when.\n\n\
        Examples:\n  omnivisor status\n  omnivisor status web-1 'db-*/pg:*'\n  omnivisor status --json | jq '.items[].state'"
    )]
    Status(StatusArgs),
    /// Start processes
    #[command(after_help = ORDER_HELP)]
    Start(OrderArgs),
    /// Stop processes
    #[command(after_help = ORDER_HELP)]
    Stop(OrderArgs),
    /// Restart processes: stop each, see it stopped, start it
    #[command(after_help = ORDER_HELP)]
    Restart(OrderArgs),
    /// Have processes watched by their supervisor, and brought up again when they end
    #[command(after_help = WATCH_HELP)]
    Monitor(OrderArgs),
    /// Have processes left alone by their supervisor, whatever becomes of them
    #[command(after_help = WATCH_HELP)]
    Unmonitor(OrderArgs),
    /// Send processes a signal
    #[command(
        after_help = "Known are HUP, INT, QUIT, TERM, KILL, USR1, USR2, CONT, STOP, TSTP, WINCH, ALRM, ABRT and PIPE.\n\n\
        Examples:\n  omnivisor signal HUP web-1/app:web_00\n  omnivisor signal --yes USR1 'web-*/app:*'"
    )]
    Signal(SignalArgs),
    /// Write to a process's standard input
    #[command(after_help = "At most 16384 bytes at once; supervisord passes on UTF-8 only.\n\n\
        Examples:\n  omnivisor stdin web-1/app:console reload\n  omnivisor stdin web-1/app:console < commands")]
    Stdin(StdinArgs),
    /// Empty processes' logs; what was in them is gone
    #[command(after_help = "Example:\n  omnivisor clear-logs web-1/app:web_00")]
    ClearLogs(ActArgs),
    /// Start, stop or restart whole groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Print the end of a process's log, and what is added to it
    #[command(
        visible_alias = "logs",
        after_help = "On a terminal, control characters are shown escaped unless --raw is given. In a pipe the bytes are unchanged. \
        Lost bytes (rotated, cleared) are marked on standard error.\n\n\
        What is added comes over the feed as it is written. After a break, and where the feed left something out, the bytes in between are read first; \
        Ctrl-C ends it.\n\nExamples:\n  omnivisor tail web-1/app:web_00\n  \
        omnivisor tail -f --stderr web-1/app:web_00 | grep ERROR"
    )]
    Tail(TailArgs),
    /// Watch nodes and processes live
    #[command(after_help = "Keys: q, Esc or Ctrl-C leave; arrows, j, k, PgUp, PgDn, Home, End scroll; / filters.\n\
        Without a terminal, one line per change is printed; with --json, one document per change.\n\n\
        Examples:\n  omnivisor watch 'web-*'\n  omnivisor watch --json | jq 'select(.t == \"ev\")'")]
    Watch(WatchArgs),
}

const ORDER_HELP: &str = "All targets are found first; several orders are under way at once; each outcome is printed as it arrives. \
    With --rolling they go in steps, and the next step begins only when the one before is well. Ctrl-C ends a batch: what was not sent by then is not sent. \
    Exit code 0 when all went well or are on their way, 1 when any failed.\n\n\
    Examples:\n  omnivisor restart web-1/app:web_00\n  omnivisor stop --dry-run 'web-*/app:*'\n  omnivisor start --yes 'web-*/app:*'\n  \
    omnivisor restart --yes --rolling 2 --healthy 10 'web-*/app:*'";

const WATCH_HELP: &str = "Only for nodes whose supervisor knows it, as monit does; others refuse with `operation.unsupported`. \
    `omnivisor status --json` lists the operations of each node.\n\n\
    Examples:\n  omnivisor unmonitor db-1/db:postgres\n  omnivisor monitor --yes 'db-*/*:*'";

/// `omnivisor login`
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// The account's name; asked for on a terminal when left out
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `omnivisor api-key`
#[derive(Debug, Clone, Subcommand)]
pub enum ApiKeyCommand {
    /// Create a key for your account and print it, this once
    #[command(
        after_help = "Give the key to a program in the variable OMNIVISOR_TOKEN, or as `Authorization: Bearer KEY`.\n\nExamples:\n  \
        omnivisor api-key create --label 'nightly deploy' --days 90\n  \
        omnivisor api-key create --label dashboard --scope node.read --scope process.read > key"
    )]
    Create(ApiKeyCreateArgs),
    /// Show your keys, newest first; administrators see everybody's
    List,
    /// Revoke a key; it is refused at once
    #[command(after_help = "Example:\n  omnivisor api-key revoke 0123456789abcdef")]
    Revoke {
        /// The key's id, as `list` shows it; not the key itself
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// `omnivisor api-key create`
#[derive(Debug, Clone, Args)]
pub struct ApiKeyCreateArgs {
    /// What to call it
    #[arg(long, value_name = "TEXT")]
    pub label: String,
    /// An action that it is limited to, e.g. process.read; may be given again [default: all that you may]
    #[arg(long = "scope", value_name = "ACTION")]
    pub scopes: Vec<String>,
    /// After how many days it ends, 1 to 3650 [default: it does not end by itself]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: Option<u64>,
}

/// `omnivisor setup`
#[derive(Clone, Args)]
pub struct SetupArgs {
    /// The setup token; asked for on a terminal when left out
    #[arg(long, value_name = "TOKEN", env = "OMNIVISOR_SETUP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The administrator's name
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub username: String,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

impl std::fmt::Debug for SetupArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetupArgs").field("username", &self.username).finish_non_exhaustive()
    }
}

/// `omnivisor status`
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// What to show [default: everything]
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
}

/// `omnivisor start`, `stop`, `restart`, `monitor` and `unmonitor`
#[derive(Debug, Clone, Args)]
pub struct OrderArgs {
    /// Which processes
    #[arg(value_name = "SELECTOR", required = true)]
    pub selectors: Vec<String>,
    /// Show what would be done, and send nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask when more than one process is meant
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait for each process to settle, 0 to 60; the order goes on after that. Of several, each has half a second at least [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    pub wait: Option<u64>,
    /// Of several, so many at once [default: 8]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub at_once: Option<u64>,
    /// How long all of several may take; what is not begun by then is not sent [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub timeout: Option<u64>,
    /// In steps of so many; the next begins when the one before is well
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub rolling: Option<u64>,
    /// After a start or restart, each process of a step has to stay up for so long [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "rolling", value_parser = clap::value_parser!(u64).range(0..=600))]
    pub healthy: Option<u64>,
    /// Between two steps [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "rolling", value_parser = clap::value_parser!(u64).range(0..=600))]
    pub pause: Option<u64>,
    /// With more failures than this no further step begins [default: 0]
    #[arg(long, value_name = "COUNT", requires = "rolling", value_parser = clap::value_parser!(u64))]
    pub failures_max: Option<u64>,
    /// Do it although a validator keeps it for later, such as during a change freeze, and say why; audited
    #[arg(long, value_name = "REASON")]
    pub r#override: Option<String>,
}

/// `omnivisor tail`
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// Which process
    #[arg(value_name = "NODE/GROUP:NAME")]
    pub process: String,
    /// Go on printing what is added
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines of the end to print first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub lines: u32,
    /// How many bytes of the end to print first instead, 1 to 1048576; the first line may be cut
    #[arg(short = 'c', long, value_name = "BYTES", conflicts_with = "lines", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub bytes: Option<u32>,
    /// The log of standard error instead of standard output
    #[arg(long)]
    pub stderr: bool,
    /// Let a terminal obey the control characters in the log: colours, and anything else
    #[arg(long)]
    pub raw: bool,
}

impl TailArgs {
    /// The end that is asked for.
    pub(crate) fn part(&self) -> LogPart {
        self.bytes.map_or(LogPart::Lines(self.lines), LogPart::Tail)
    }
}

/// `omnivisor watch`
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// What to watch [default: everything]
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
}

impl Cli {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// What to print and the exit code to end with: 0 after `--help` and `--version`, else 64.
    pub fn read() -> Result<Self, u8> {
        Self::read_from(std::env::args_os()).map_err(|error| {
            // There is nowhere to tell that help could not be printed.
            let _ = error.print();
            if error.use_stderr() { exit::USAGE } else { exit::OK }
        })
    }

    fn read_from<T: Into<std::ffi::OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let cli = Self::from_arg_matches(&matches)?;
        match cli.command {
            Command::Client(_)
            | Command::Plugin(PluginCommand::Server(_))
            | Command::Config(ConfigCommand::Server(_)) => Ok(cli),
            Command::Plugin(PluginCommand::Author(_)) => {
                refuse_options(
                    &matches,
                    &[("server", "--server"), ("ca_file", "--ca-file"), ("no_color", "--no-color")],
                )?;
                Ok(cli)
            }
            Command::Serve(_)
            | Command::Init(_)
            | Command::Restore(_)
            | Command::Secrets(_)
            | Command::Config(ConfigCommand::Check { .. })
            | Command::Completions { .. }
            | Command::PluginCompiler(_) => {
                refuse_options(
                    &matches,
                    &[("server", "--server"), ("ca_file", "--ca-file"), ("json", "--json"), ("no_color", "--no-color")],
                )?;
                Ok(cli)
            }
        }
    }

    /// The completion script for a shell.
    #[must_use]
    pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "omnivisor", &mut script);
        script
    }
}

/// An option that nothing reads would be a lie: these are not for the command that was typed.
fn refuse_options(matches: &ArgMatches, options: &[(&str, &str)]) -> Result<(), clap::Error> {
    let Some((name, inner)) = matches.subcommand() else { return Ok(()) };
    for (id, flag) in options {
        if inner.value_source(id) == Some(ValueSource::CommandLine) {
            let message = format!("{flag} is an option of the client's commands, not of `{name}`");
            return Err(Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read_from(line.split(' '))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn client_options_stand_before_or_after_the_command_and_only_there() {
        for line in ["omnivisor --json --server http://x status", "omnivisor status --json --server http://x web-1"] {
            let cli = read(line).expect(line);
            assert!(cli.client.json && cli.client.server.as_deref() == Some("http://x"), "{line}");
        }
        for line in ["omnivisor serve --json", "omnivisor --server http://x init", "omnivisor config check --no-color"]
        {
            assert!(read(line).expect_err(line).use_stderr(), "{line}");
        }
    }

    #[test]
    fn an_authors_commands_print_json_and_know_no_server() {
        assert!(read("omnivisor plugin check x.wasm --json").expect("fits").client.json);
        for line in [
            "omnivisor plugin check x.wasm --server http://x",
            "omnivisor plugin new node-adapter",
            "omnivisor plugin new robot x",
            "omnivisor plugin test x.wasm --update-fuel --fuel-rise 5",
        ] {
            assert!(read(line).expect_err(line).use_stderr(), "{line}");
        }
    }

    #[test]
    fn orders_need_a_target_and_limits_hold() {
        for line in [
            "omnivisor stop",
            "omnivisor stop --wait 61 x",
            "omnivisor stop --pause 1 x",
            "omnivisor stop --rolling 0 x",
            "omnivisor tail -n 0 n/a:b",
            "omnivisor",
            "omnivisor frob",
        ] {
            assert!(read(line).expect_err(line).use_stderr(), "{line}");
        }
        assert!(!read("omnivisor help").expect_err("help is shown instead").use_stderr());
    }

    #[test]
    fn the_compiler_is_not_for_people() {
        assert!(read("omnivisor plugin-compiler --memory-bytes 1 --cpu-seconds 2 --component-bytes-max 3").is_ok());
        assert!(!Cli::command().render_long_help().to_string().contains("plugin-compiler"));
    }

    #[test]
    fn a_setup_token_does_not_show_itself() {
        let cli = read("omnivisor setup --token hunter2").expect("complete");
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            assert!(String::from_utf8_lossy(&Cli::completions(shell)).contains("restart"), "{shell}");
        }
    }
}
