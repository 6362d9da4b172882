//! The real host over real supervisords, asked as a user asks.

mod api_keys;
mod asyncapi;
mod bad_input;
mod browsers;
mod bulk;
mod canaries;
mod change_freeze;
mod command_line;
mod configuration;
#[cfg(feature = "hostile")]
mod correlation;
mod credentials;
mod feed;
mod follow;
mod garbage;
mod health;
mod lifecycle;
mod live_settings;
mod load;
mod log_lines;
mod logs;
mod manifests;
mod metrics;
mod monit;
mod odd_names;
mod orders;
mod processes;
#[cfg(feature = "hostile")]
mod quarantine;
mod records;
mod rights;
mod secrets;
mod served;
mod serving;
mod stops;
mod strategies;
mod supervisors;
#[cfg(feature = "hostile")]
mod swap;
#[cfg(feature = "hostile")]
mod swap_kinds;
mod terminal;
mod traces;
mod validators;
#[cfg(feature = "hostile")]
mod wellness;

use std::time::Duration;
use tests::{ADMIN, ADMIN_PASSWORD, CommandLine, Host, Node, Program, Settings, Supervisord};

/// Longer than anything here takes on a busy machine; figures that are promised have their own limits.
const SOON: Duration = Duration::from_secs(20);

/// A program that takes two seconds to end.
fn slow() -> Program {
    Program::script("slow", "trap 'sleep 2; exit 0' TERM\nwhile :; do sleep 0.1; done").with("stopwaitsecs", "10")
}

/// One node and a host that sees it live.
async fn one(node: Node) -> anyhow::Result<(Supervisord, Host)> {
    let node = Supervisord::start(node).await?;
    let host = Host::start(Settings::new()?.node(&node)?).await?;
    host.until_node(node.name(), &["live", "live-poll"], SOON).await?;
    Ok((node, host))
}

/// The command line of the administrator, logged in.
async fn user(host: &Host) -> anyhow::Result<CommandLine> {
    let user = CommandLine::new(host.address())?;
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_PASSWORD)?;
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    anyhow::ensure!(run.code == 0, "{run:?}");
    Ok(user)
}
