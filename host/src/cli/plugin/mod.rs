//! `plugin ...`: what the client does with a server's plugins.

mod install;
mod list;

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use crate::api::wire::{PluginView, SwapView};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The part of `omnivisor plugin` that talks to a server
#[derive(Debug, Clone, Subcommand)]
pub enum ServerPluginCommand {
    /// Show a server's plugins
    #[command(after_help = "Examples:\n  omnivisor plugin list\n  omnivisor plugin list --json | jq '.items[].state'")]
    List,
    /// Swap a plugin of a running server for another component
    #[command(
        after_help = "The server verifies the component first; one that cannot serve changes nothing. A new generation that \
        fails too often in its first minute is rolled back by itself.\n\nExamples:\n  omnivisor plugin install target/plugins/validate-strict.wasm\n  \
        omnivisor plugin install build/new.wasm --name validate-strict"
    )]
    Install(InstallArgs),
    /// Go back to the generation before
    #[command(after_help = "Example:\n  omnivisor plugin rollback validate-strict")]
    Rollback(RollbackArgs),
}

/// `omnivisor plugin install`
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// The component
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The plugin's name [default: the file's, without `.wasm`]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `omnivisor plugin rollback`
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    pub name: String,
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &ServerPluginCommand) -> Result<(), CliError> {
    match command {
        ServerPluginCommand::List => list::run(api, console).await,
        ServerPluginCommand::Install(args) => install::run(api, console, args).await,
        ServerPluginCommand::Rollback(args) => tell(console, &api.roll_plugin_back(&args.name).await?),
    }
}

/// Says how a swap went.
fn tell(console: &mut Console, swap: &SwapView) -> Result<(), CliError> {
    if console.is_json {
        return console.json(swap);
    }
    let PluginView { name, generation, canary, .. } = &swap.plugin;
    let digest = short(&swap.plugin.digest);
    let text = match (swap.result.as_str(), canary) {
        ("unchanged", _) => format!("{name} serves this component already, as generation {generation} ({digest})"),
        ("canary", Some(canary)) => format!(
            "{name}: {} of 1,000 calls go to {} for now; generation {generation} ({digest}) serves the others",
            canary.permille.unwrap_or_default(),
            short(&canary.digest)
        ),
        (result, _) => format!("{name}: {result}, generation {generation} ({digest}) serves"),
    };
    console.line(&escape::line(&text))
}

/// The beginning of a digest, which is enough to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
