//! `signal`, `stdin`, `clear-logs`: what is done to processes at once.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::order::{Target, confirm, failure, refused, resolve};
use super::paint::Tone;
use super::selector::Selector;
use crate::api::wire::order::{ActRequest, ActResult, InputRequest, SignalRequest};
use crate::model::{ProcessAct, Signal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use std::io::Read as _;

/// Acts under way at once.
const ACTS_MAX: usize = 8;

/// What every act on several processes may be told.
#[derive(Debug, Clone, Args)]
pub struct ActArgs {
    /// Which processes
    #[arg(value_name = "SELECTOR", required = true)]
    pub selectors: Vec<String>,
    /// Show what would be done, and send nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask when more than one process is meant
    #[arg(short, long)]
    pub yes: bool,
    /// Do it although a validator keeps it for later, such as during a change freeze, and say why; audited
    #[arg(long, value_name = "REASON")]
    pub r#override: Option<String>,
}

/// `omnivisor signal`
#[derive(Debug, Clone, Args)]
pub struct SignalArgs {
    /// Its name, e.g. HUP
    #[arg(value_name = "SIGNAL", value_parser = signal_named)]
    pub signal: Signal,
    /// To which processes.
    #[command(flatten)]
    pub act: ActArgs,
}

/// `omnivisor stdin`
#[derive(Clone, Args)]
pub struct StdinArgs {
    /// Which process
    #[arg(value_name = "NODE/GROUP:NAME")]
    pub process: String,
    /// What to write, as a line; left out, all of standard input is written as it is
    #[arg(value_name = "LINE")]
    pub line: Option<String>,
    /// Do it although a validator keeps it for later, and say why; audited
    #[arg(long, value_name = "REASON")]
    pub r#override: Option<String>,
}

impl std::fmt::Debug for StdinArgs {
    /// What is written may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdinArgs").field("process", &self.process).finish_non_exhaustive()
    }
}

fn signal_named(text: &str) -> Result<Signal, String> {
    Signal::parse(text).ok_or_else(|| format!("one of {} was expected", Signal::NAMES.join(", ")))
}

pub(crate) async fn signal(api: &Api, console: &mut Console, args: &SignalArgs) -> Result<(), CliError> {
    let name = args.signal.as_str();
    let request = SignalRequest { signal: name.to_owned(), r#override: args.act.r#override.clone() };
    let body = serde_json::to_value(request).map_err(|error| CliError::Terminal(error.into()))?;
    let act = Act { route: "signal", verb: format!("send {name} to"), done: format!("{name} sent"), body };
    each(api, console, act, &args.act).await
}

pub(crate) async fn clear_logs(api: &Api, console: &mut Console, args: &ActArgs) -> Result<(), CliError> {
    let request = ActRequest { r#override: args.r#override.clone() };
    let body = serde_json::to_value(request).map_err(|error| CliError::Terminal(error.into()))?;
    let (verb, done) = ("clear the logs of".to_owned(), "logs cleared".to_owned());
    each(api, console, Act { route: "clear-logs", verb, done, body }, args).await
}

pub(crate) async fn stdin(api: &Api, console: &mut Console, args: &StdinArgs) -> Result<(), CliError> {
    let selector = Selector::parse(&args.process)?;
    let Some((node, process)) = selector.exact_process() else {
        let message = format!("`{}` is not one process", args.process);
        return Err(CliError::usage(message, "write NODE/GROUP:NAME, without `*`"));
    };
    let bytes = match &args.line {
        Some(line) => format!("{line}\n").into_bytes(),
        None => given()?,
    };
    if !(1..=ProcessAct::INPUT_BYTES_MAX).contains(&bytes.len()) {
        let message = format!("1 to {} bytes can be written at once", ProcessAct::INPUT_BYTES_MAX);
        return Err(CliError::Data { message });
    }
    let count = bytes.len();
    let request = match String::from_utf8(bytes) {
        Ok(text) => InputRequest { text: Some(text), ..InputRequest::default() },
        Err(error) => InputRequest { base64: Some(STANDARD.encode(error.into_bytes())), ..InputRequest::default() },
    };
    let request = InputRequest { r#override: args.r#override.clone(), ..request };
    let result: ActResult = api.tell(&["nodes", node, "processes", &process, "input"], &request, None).await?;
    if console.is_json {
        return console.json(&result);
    }
    let target = Target { node: node.to_owned(), process };
    console.line(&format!("{target}: {}", Tone::Good.paint(&format!("{count} bytes written"), console.is_colored)))
}

/// All of standard input, as far as it may be written.
fn given() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let limit = ProcessAct::INPUT_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(CliError::Terminal)?;
    Ok(bytes)
}

/// One act, for whichever process.
struct Act {
    route: &'static str,
    verb: String,
    done: String,
    body: Value,
}

/// Does it to every process that is meant, and tells each outcome as it arrives.
async fn each(api: &Api, console: &mut Console, act: Act, args: &ActArgs) -> Result<(), CliError> {
    let targets = resolve(&api.nodes().await?.0, &Selector::parse_all(&args.selectors)?)?;
    if args.dry_run {
        for target in &targets {
            if console.is_json {
                let (node, process) = (&target.node, &target.process);
                console
                    .json(&json!({ "node": node, "process": process, "operation": act.route, "outcome": "dry-run" }))?;
            } else {
                console.line(&format!("would {} {target}", act.verb))?;
            }
        }
        return Ok(());
    }
    confirm(console, &act.verb, &targets, args.yes)?;
    let total = targets.len();
    let mut failed = 0;
    let mut ended = stream::iter(targets)
        .map(|target| {
            let act = &act;
            async move {
                let segments = ["nodes", &target.node, "processes", &target.process, act.route];
                let result: Result<ActResult, CliError> = api.tell(&segments, &act.body, None).await;
                (target, result)
            }
        })
        .buffer_unordered(ACTS_MAX);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let next = tokio::select! {
            biased;
            _ = &mut interrupt => return Err(CliError::Interrupted),
            next = ended.next() => next,
        };
        let Some((target, result)) = next else { break };
        failed += usize::from(result.is_err());
        if console.is_json {
            match result {
                Ok(result) => console.json(&result)?,
                Err(error) => console.json(&refused(&target, act.route, &error))?,
            }
            continue;
        }
        let (tone, words) = match &result {
            Ok(_) => (Tone::Good, act.done.clone()),
            Err(error) => (Tone::Bad, failure(error)),
        };
        console.line(&format!("{target}: {}", tone.paint(&escape::line(&words), console.is_colored)))?;
    }
    if failed > 0 { Err(CliError::SomeFailed { failed, total }) } else { Ok(()) }
}
