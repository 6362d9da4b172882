//! `config reload|generations|rollback`: what the client does with a server's configuration.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use crate::api::wire::config::{ConfigAppliedView, ConfigGenerationView};
use clap::Subcommand;
use comfy_table::{Table, presets};

/// The part of `omnivisor config` that talks to a server
#[derive(Debug, Clone, Subcommand)]
pub enum ServerConfigCommand {
    /// Have a running server read its configuration again
    #[command(
        after_help = "As SIGHUP does, and the answer says what was applied and what needs a restart. With one fault nothing is changed.\n\n\
        Example:\n  omnivisor config check && omnivisor config reload"
    )]
    Reload,
    /// Show the last configurations of a running server
    Generations,
    /// Have a running server go back to an earlier configuration
    #[command(
        after_help = "Its text replaces the file's, and it becomes a new generation. The file must hold what is in force.\n\n\
        Example:\n  omnivisor config generations\n  omnivisor config rollback 7"
    )]
    Rollback {
        /// The generation, as `generations` shows it
        #[arg(value_name = "GENERATION")]
        generation: u64,
    },
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &ServerConfigCommand) -> Result<(), CliError> {
    match command {
        ServerConfigCommand::Reload => tell(console, &api.reload_config().await?),
        ServerConfigCommand::Generations => generations(api, console).await,
        ServerConfigCommand::Rollback { generation } => tell(console, &api.roll_config_back(*generation).await?),
    }
}

async fn generations(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let list = api.config_generations().await?;
    if console.is_json {
        return console.json(&list);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["GENERATION", "APPLIED", "CAUSE", "WHO", "BYTES", "MANAGED NODES"]);
    table.force_no_tty();
    for generation in &list.items {
        table.add_row(cells(generation));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    console.line(&table.trim_fmt())
}

fn cells(view: &ConfigGenerationView) -> [String; 6] {
    let number = if view.current { format!("{} (in force)", view.generation) } else { view.generation.to_string() };
    let cells = [
        number,
        view.at.clone(),
        view.cause.clone(),
        view.who.clone(),
        view.bytes.to_string(),
        view.managed_nodes.to_string(),
    ];
    cells.map(|text| escape::line(&text).into_owned())
}

/// Says what was applied.
pub(super) fn tell(console: &mut Console, applied: &ConfigAppliedView) -> Result<(), CliError> {
    if console.is_json {
        return console.json(applied);
    }
    if applied.changed {
        console.line(&format!("generation {} is in force", applied.generation))?;
    } else {
        console.line(&format!("nothing differs; generation {} stays in force", applied.generation))?;
    }
    let lists = [
        ("settings applied", &applied.settings),
        ("plugins changed", &applied.plugins),
        ("nodes added", &applied.nodes_added),
        ("nodes changed", &applied.nodes_changed),
        ("nodes removed", &applied.nodes_removed),
        ("their passwords are not kept any more, give them again", &applied.passwords_missing),
        ("waiting for a restart", &applied.restart),
    ];
    for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        console.line(&escape::line(&format!("  {what}: {}", names.join(", "))))?;
    }
    Ok(())
}
