use super::short;
use crate::api::wire::{PluginCountersView, PluginView};
use crate::cli::api::Api;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::escape;
use comfy_table::{Table, presets};

const HEADER: [&str; 8] = ["PLUGIN", "CLASS", "STATE", "GEN", "DIGEST", "CALLS", "FAILED", "DETAIL"];

pub(crate) async fn run(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let list = api.plugins().await?;
    if console.is_json {
        return console.json(&list);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    table.force_no_tty();
    for plugin in &list.items {
        table.add_row(row(plugin));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        // No indent on the left: the first column starts where the line does.
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    console.line(&table.trim_fmt())
}

fn row(plugin: &PluginView) -> Vec<String> {
    let (calls, failed) = plugin.counters.as_ref().map_or((0, 0), figures);
    let mut details = Vec::new();
    if let Some(canary) = &plugin.canary {
        details.push(format!("canary {} with {} of 1,000", short(&canary.digest), canary.permille.unwrap_or_default()));
    }
    if plugin.on_probation {
        details.push("on probation".to_owned());
    }
    if plugin.verifying {
        details.push("another component is being verified".to_owned());
    }
    if plugin.quarantine == "caller" {
        details.push("one caller is refused".to_owned());
    }
    if let Some(previous) = &plugin.previous {
        details.push(format!("before: {}", short(&previous.digest)));
    }
    let last = plugin.failures.as_ref().and_then(|failures| failures.last());
    details.extend(last.map(|failure| format!("last failure: {}", failure.code)));
    let cells = [
        plugin.name.clone(),
        plugin.class.clone(),
        plugin.state.clone(),
        plugin.generation.to_string(),
        short(&plugin.digest).to_owned(),
        calls.to_string(),
        failed.to_string(),
        details.join(", "),
    ];
    cells.iter().map(|cell| escape::line(cell).into_owned()).collect()
}

/// Calls, and those among them that the plugin itself failed.
fn figures(counters: &PluginCountersView) -> (u64, u64) {
    let is_failure = |outcome: &str| !matches!(outcome, "ok" | "fault" | "cancelled" | "busy" | "quarantined");
    let failed = counters.calls.iter().filter(|(outcome, _)| is_failure(outcome)).map(|(_, count)| count).sum();
    (counters.calls.values().sum(), failed)
}
