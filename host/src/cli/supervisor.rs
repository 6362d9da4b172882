//! `group start|stop|restart`, and of `node` what is about a supervisor: `reread`, `update`, `restart`, `shutdown`, `log`.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::order::{Target, words};
use super::paint::Tone;
use crate::api::wire::CommandRequest;
use crate::api::wire::order::{GroupResult, GuardedRequest, NodeLogView, RereadResult, SupervisorResult, UpdateResult};
use crate::model::Operation;
use clap::{Args, Subcommand};
use std::time::Duration;

/// `omnivisor group`
#[derive(Debug, Clone, Subcommand)]
pub enum GroupCommand {
    /// Start all processes of a group, in its supervisor's own order
    #[command(after_help = GROUP_HELP)]
    Start(GroupArgs),
    /// Stop all processes of a group, in its supervisor's own order
    #[command(after_help = GROUP_HELP)]
    Stop(GroupArgs),
    /// Stop all processes of a group, see them stopped, start them
    #[command(after_help = GROUP_HELP)]
    Restart(GroupArgs),
}

const GROUP_HELP: &str = "The supervisor gets one order for the whole group and keeps to its priorities. For processes picked one by one, \
    of several groups or nodes, or for supervisors without groups, use `omnivisor start|stop|restart 'NODE/GROUP:*'`.\n\n\
    Example:\n  omnivisor group restart web-1/app";

/// `omnivisor group start`, `stop` and `restart`
#[derive(Debug, Clone, Args)]
pub struct GroupArgs {
    /// Which group
    #[arg(value_name = "NODE/GROUP")]
    pub group: String,
    /// How long to wait for its processes to settle, 0 to 60; the order goes on after that [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    pub wait: Option<u64>,
    /// Do it although a validator keeps it for later, such as during a change freeze, and say why; audited
    #[arg(long, value_name = "REASON")]
    pub r#override: Option<String>,
}

/// An order to a supervisor.
#[derive(Debug, Clone, Args)]
pub struct SupervisorArgs {
    /// The node's name
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Do it although a validator keeps it for later, such as during a change freeze, and say why; audited
    #[arg(long, value_name = "REASON")]
    pub r#override: Option<String>,
}

/// `omnivisor node update`
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// Which node.
    #[command(flatten)]
    pub supervisor: SupervisorArgs,
    /// How long to wait for it to be done, 0 to 60; it goes on after that [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    pub wait: Option<u64>,
}

/// `omnivisor node log`
#[derive(Debug, Clone, Args)]
pub struct NodeLogArgs {
    /// The node's name
    #[arg(value_name = "NODE")]
    pub node: String,
    /// How many bytes of the end, 1 to 1048576
    #[arg(short = 'n', long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub bytes: u32,
}

pub(crate) async fn group(api: &Api, console: &mut Console, command: &GroupCommand) -> Result<(), CliError> {
    let (operation, args) = match command {
        GroupCommand::Start(args) => (Operation::Start, args),
        GroupCommand::Stop(args) => (Operation::Stop, args),
        GroupCommand::Restart(args) => (Operation::Restart, args),
    };
    let (node, group) = group_named(&args.group)?;
    let request = CommandRequest { wait_ms: args.wait.map(|wait| wait * 1_000), r#override: args.r#override.clone() };
    let segments = ["nodes", node, "groups", group, operation.as_str()];
    let result: GroupResult = api.tell(&segments, &request, args.wait.map(Duration::from_secs)).await?;
    let failed = result.items.iter().filter(|item| item.outcome == "failed").count();
    if console.is_json {
        console.json(&result)?;
    } else {
        for item in &result.items {
            let target = Target { node: item.node.clone(), process: item.process.clone() };
            let (tone, words) = words(operation, item);
            console.line(&format!("{target}: {}", tone.paint(&words, console.is_colored)))?;
        }
    }
    if failed > 0 { Err(CliError::SomeFailed { failed, total: result.items.len() }) } else { Ok(()) }
}

/// Takes `NODE/GROUP`, and `NODE/GROUP:*`, which says the same in a selector.
fn group_named(text: &str) -> Result<(&str, &str), CliError> {
    let plain = text.strip_suffix(":*").unwrap_or(text);
    let named = plain.split_once('/').filter(|(node, group)| !node.is_empty() && !group.is_empty());
    named
        .filter(|_| !plain.contains('*'))
        .ok_or_else(|| CliError::usage(format!("`{text}` is not one group"), "write NODE/GROUP, or NODE/GROUP:*"))
}

pub(crate) async fn reread(api: &Api, console: &mut Console, node: &str) -> Result<(), CliError> {
    let result: RereadResult = api.tell(&["nodes", node, "reread"], &serde_json::json!({}), None).await?;
    if console.is_json {
        return console.json(&result);
    }
    show(console, &result)
}

fn show(console: &mut Console, changes: &RereadResult) -> Result<(), CliError> {
    let groups = [("removed", &changes.removed), ("changed", &changes.changed), ("added", &changes.added)];
    for (word, names) in groups {
        for name in names {
            console.line(&format!("{}: {word}", escape::line(name)))?;
        }
    }
    if groups.iter().all(|(_, names)| names.is_empty()) {
        console.line("nothing differs: it runs what its files say")?;
    }
    Ok(())
}

pub(crate) async fn update(api: &Api, console: &mut Console, args: &UpdateArgs) -> Result<(), CliError> {
    let node = args.supervisor.node.as_str();
    if !args.supervisor.yes {
        if !console.can_ask {
            return Err(unasked("update", node));
        }
        let changes: RereadResult = api.tell(&["nodes", node, "reread"], &serde_json::json!({}), None).await?;
        show(console, &changes)?;
        if changes.added.is_empty() && changes.changed.is_empty() && changes.removed.is_empty() {
            return Ok(());
        }
        agree(console, &format!("Make {} run what its files say? [y/N] ", escape::line(node)))?;
    }
    let request = guarded(&args.supervisor, args.wait.map(|wait| wait * 1_000));
    let wait = args.wait.map(Duration::from_secs);
    let result: UpdateResult = api.tell(&["nodes", node, "update"], &request, wait).await?;
    let failed = result.groups.iter().filter(|group| group.outcome == "failed").count();
    if console.is_json {
        console.json(&result)?;
    } else {
        for group in &result.groups {
            let (tone, words) = match group.outcome.as_str() {
                "done" => (Tone::Good, group.change.clone()),
                "in-progress" => (Tone::Busy, format!("{}, still under way", group.change)),
                _ => (Tone::Bad, format!("FAILED ({}): {}", group.change, group.message)),
            };
            let words = tone.paint(&escape::line(&words), console.is_colored);
            console.line(&format!("{}: {words}", escape::line(&group.group)))?;
        }
        if result.groups.is_empty() {
            console.line("nothing differs: it runs what its files say")?;
        }
    }
    if failed > 0 { Err(CliError::SomeFailed { failed, total: result.groups.len() }) } else { Ok(()) }
}

/// `restart` and `shutdown` of a supervisor.
pub(crate) async fn supervisor(
    api: &Api,
    console: &mut Console,
    operation: &str,
    args: &SupervisorArgs,
) -> Result<(), CliError> {
    let node = args.node.as_str();
    if !args.yes {
        if !console.can_ask {
            return Err(unasked(operation, node));
        }
        agree(console, &format!("This ends all processes of {}. Do `{operation}`? [y/N] ", escape::line(node)))?;
    }
    let result: SupervisorResult = api.tell(&["nodes", node, operation], &guarded(args, None), None).await?;
    if console.is_json {
        return console.json(&result);
    }
    console.line(&format!("{}: {operation} accepted; watch it with `omnivisor status`", escape::line(node)))
}

pub(crate) async fn log(api: &Api, console: &mut Console, args: &NodeLogArgs) -> Result<(), CliError> {
    let view: NodeLogView = api.node_log(&args.node, args.bytes).await?;
    if console.is_json {
        return console.json(&view);
    }
    for line in view.text.lines() {
        if console.is_terminal {
            console.line(&escape::line(line))?;
        } else {
            console.line(line)?;
        }
    }
    Ok(())
}

fn guarded(args: &SupervisorArgs, wait_ms: Option<u64>) -> GuardedRequest {
    GuardedRequest { confirm: args.node.clone(), wait_ms, r#override: args.r#override.clone() }
}

fn unasked(operation: &str, node: &str) -> CliError {
    CliError::usage(format!("this would {operation} the supervisor of {node}"), "say --yes to do it")
}

fn agree(console: &mut Console, question: &str) -> Result<(), CliError> {
    let answer = console.ask(question)?;
    if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_is_named_plainly_or_as_a_selector() {
        for text in ["web-1/app", "web-1/app:*"] {
            assert_eq!(group_named(text).expect(text), ("web-1", "app"));
        }
        for text in ["web-1", "/app", "web-1/", "*/app", "web-1/a*", "web-*/app:*", "web-1/:*"] {
            assert!(group_named(text).is_err(), "{text}");
        }
    }
}
