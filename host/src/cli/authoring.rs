//! What a plugin's author may type. What it does is the room `author`'s.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `omnivisor plugin`, the author's half: none of it talks to a server.
#[derive(Debug, Clone, Subcommand)]
pub enum AuthorCommand {
    /// Write a new plugin's crate, which builds and passes its tests as it is
    #[command(
        after_help = "The plugin SDK is not on a registry yet: the crate points to it by path. It is taken from --sdk, \
        OMNIVISOR_SDK, or the checkout that this program was built from.\n\n\
        Examples:\n  omnivisor plugin new node-adapter node-toy\n  \
        omnivisor plugin new input-validator no-fridays --path ./plugins/no-fridays"
    )]
    New(NewArgs),
    /// Compile a plugin's crate and pack it as a component
    #[command(
        after_help = "Compiles for wasm32-unknown-unknown with the profile `guest` of the crate, with the toolchain's own target or, on \
        Debian, with the distribution's compiler. Variables of cargo such as CARGO_TARGET_DIR and CARGO_NET_OFFLINE hold.\n\n\
        Example:\n  omnivisor plugin build --path ./node-toy"
    )]
    Build(BuildArgs),
    /// Check that a component can be taken into service: world, imports, size, structure, and what it says of itself
    #[command(
        after_help = "Does all that a server does before the first call. Exit code 65 when the component is at fault.\n\n\
        Example:\n  omnivisor plugin check target/node-toy.wasm"
    )]
    Check(CheckArgs),
    /// Run a component in the real engine, inside its limits, against scripted HTTP
    #[command(after_help = "Exit code 1 when a case fails. What a case may hold stands in docs/plugins.md.\n\n\
        Examples:\n  omnivisor plugin test target/node-toy.wasm\n  \
        omnivisor plugin test target/node-toy.wasm vectors.json --update-fuel")]
    Test(TestArgs),
    /// Show what a component's file says of itself; nothing of it runs
    #[command(after_help = "Example:\n  omnivisor plugin inspect target/node-toy.wasm --json | jq .imports")]
    Inspect(InspectArgs),
}

/// The kinds of plugin, by the names of their worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    /// Speaks to one kind of process supervisor
    NodeAdapter,
    /// Decides logins
    AuthStrategy,
    /// Judges requests
    InputValidator,
}

/// `omnivisor plugin new`
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// What it is to be
    pub kind: PluginKind,
    /// Its name: 1 to 64 of a-z 0-9 -, starting with a letter
    pub name: String,
    /// The folder to write [default: NAME]; one that holds anything is refused
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// The folder of the plugin SDK
    #[arg(long, value_name = "DIR", env = "OMNIVISOR_SDK")]
    pub sdk: Option<PathBuf>,
}

/// `omnivisor plugin build`
#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    /// The crate's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Where to put the component [default: target/NAME.wasm in the crate's folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where cargo puts what it makes, below `guest` [default: CARGO_TARGET_DIR, else target in the crate's folder]
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
}

/// `omnivisor plugin check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The component, NAME.wasm
    pub file: PathBuf,
    /// Limits for the call that asks what it is.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `omnivisor plugin inspect`
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The component
    pub file: PathBuf,
}

/// `omnivisor plugin test`
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// The component, NAME.wasm
    pub file: PathBuf,
    /// The cases
    #[arg(default_value = "vectors.json")]
    pub vectors: PathBuf,
    /// Write the fuel that each case used into the file of cases; those that fail keep what they had
    #[arg(long, conflicts_with = "fuel_rise")]
    pub update_fuel: bool,
    /// How much more fuel than recorded a case may use before it fails [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub fuel_rise: Option<u32>,
    /// Lines of the plugin's log to show on standard error
    #[arg(long, value_name = "LEVEL", default_value = "off", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub log_level: String,
    /// Instead of the limits of its kind.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Limits of one call, instead of those that a server sets for plugins of this kind unless it is told otherwise.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Limits of a call [default: those of its kind]")]
pub struct LimitArgs {
    /// Work, about one unit an instruction
    #[arg(long, value_name = "UNITS")]
    pub fuel: Option<u64>,
    /// Wall-clock time
    #[arg(long, value_name = "MS")]
    pub time_ms: Option<u64>,
    /// Linear memory
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes: Option<u64>,
    /// Bytes that may be moved across the border
    #[arg(long, value_name = "BYTES")]
    pub hostcall_bytes: Option<u64>,
}
