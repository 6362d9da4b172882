//! Orders to many processes: the server plans them, carries them out as one batch, and tells of each as it ends.

use super::api::Api;
use super::args::OrderArgs;
use super::console::Console;
use super::download::Download;
use super::error::CliError;
use super::escape;
use super::order::{Tally, Target, confirm, show, words};
use super::paint::Tone;
use super::selector::Selector;
use crate::api::wire::CommandResult;
use crate::api::wire::bulk::{BulkItem, BulkLine, BulkPlan, BulkRequest, RollingRequest, Selection};
use crate::model::Operation;

/// Selections that the server takes in one request.
const SELECTIONS_MAX: usize = 64;
/// The least that the server waits for each of several.
const WAIT_MIN_MS: u64 = 500;
/// One line of the answer; the longest is the plan.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Shows the plan, asks, and tells each outcome as it arrives. `targets` is what the selectors covered a moment ago.
pub(crate) async fn run(
    api: &Api,
    console: &mut Console,
    operation: Operation,
    args: &OrderArgs,
    (selectors, targets): (&[Selector], &[Target]),
) -> Result<(), CliError> {
    let mut request = BulkRequest { dry_run: true, ..request(operation, args, select(selectors, targets)?) };
    let plan: BulkPlan = api.plan(&request).await?;
    let planned: Vec<Target> =
        plan.items.iter().map(|item| Target { node: item.node.clone(), process: item.process.clone() }).collect();
    if args.dry_run {
        return show(console, operation, &planned);
    }
    confirm(console, operation.as_str(), &planned, args.yes)?;
    request.dry_run = false;
    request.plan = Some(plan.id);
    let mut lines = Lines { answer: api.batch(&request).await?, read: Vec::new() };
    let mut tally = Tally::default();
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let line = tokio::select! {
            biased;
            _ = &mut interrupt => {
                let open = planned.len() - tally.total();
                console.remark(&format!("interrupted: {open} without an answer; what was sent goes on, the rest is not sent"));
                return Err(CliError::Interrupted);
            }
            line = lines.next() => line?,
        };
        match line {
            BulkLine::Plan(_) => {}
            BulkLine::Wait(wait) => console.remark(&format!("waiting; {} of {} are open", wait.open, planned.len())),
            BulkLine::Item(item) => tell(console, operation, &item, &mut tally)?,
            BulkLine::End(_) => break,
        }
    }
    tally.close(console, operation)
}

fn request(operation: Operation, args: &OrderArgs, select: Vec<Selection>) -> BulkRequest {
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    let rolling = args.rolling.map(|size| RollingRequest {
        size,
        healthy_ms: args.healthy.map(ms),
        pause_ms: args.pause.map(ms),
        failures_max: args.failures_max,
    });
    BulkRequest {
        operation: operation.as_str().to_owned(),
        select,
        dry_run: false,
        plan: None,
        at_once: args.at_once,
        wait_ms: args.wait.map(|seconds| ms(seconds).max(WAIT_MIN_MS)),
        timeout_ms: args.timeout.map(ms),
        rolling,
        r#override: args.r#override.clone(),
    }
}

/// The processes one by one where that is possible: then nothing else can be meant by now.
fn select(selectors: &[Selector], targets: &[Target]) -> Result<Vec<Selection>, CliError> {
    let exact = |target: &Target| {
        let (group, name) = target.process.split_once(':')?;
        let parts = [target.node.as_str(), group, name];
        (!parts.iter().any(|part| part.contains('*'))).then(|| selection(parts[0], Some((parts[1], parts[2]))))
    };
    if targets.len() <= SELECTIONS_MAX
        && let Some(select) = targets.iter().map(exact).collect()
    {
        return Ok(select);
    }
    if selectors.len() > SELECTIONS_MAX {
        let message = format!("{} selectors for more than {SELECTIONS_MAX} processes", selectors.len());
        return Err(CliError::usage(message, format!("at most {SELECTIONS_MAX} at once; use `*`")));
    }
    Ok(selectors.iter().map(|selector| selection(selector.node_pattern(), selector.process_patterns())).collect())
}

fn selection(node: &str, process: Option<(&str, &str)>) -> Selection {
    Selection {
        node: Some(node.to_owned()),
        group: process.map(|(group, _)| group.to_owned()),
        name: process.map(|(_, name)| name.to_owned()),
        ..Selection::default()
    }
}

fn tell(console: &mut Console, operation: Operation, item: &BulkItem, tally: &mut Tally) -> Result<(), CliError> {
    tally.count(&item.outcome);
    if console.is_json {
        return console.json(item);
    }
    let (tone, words) = item_words(operation, item);
    let target = Target { node: item.node.clone(), process: item.process.clone() };
    console.line(&format!("{target}: {}", tone.paint(&words, console.is_colored)))
}

fn item_words(operation: Operation, item: &BulkItem) -> (Tone, String) {
    if let (Some(state), Some(took_ms)) = (&item.state, item.took_ms) {
        let result = CommandResult {
            node: item.node.clone(),
            process: item.process.clone(),
            operation: item.operation.clone(),
            outcome: item.outcome.clone(),
            state: state.clone(),
            message: item.message.clone(),
            took_ms,
        };
        return words(operation, &result);
    }
    let code = item.code.as_deref().unwrap_or("no code");
    let (tone, verdict) = match item.outcome.as_str() {
        "not-sent" => (Tone::Quiet, "not sent"),
        "unknown" => (Tone::Bad, "UNKNOWN"),
        _ => (Tone::Bad, "FAILED"),
    };
    (tone, escape::line(&format!("{verdict}: {} ({code})", item.message)).into_owned())
}

/// The answer, line by line.
struct Lines {
    answer: Download,
    read: Vec<u8>,
}

impl Lines {
    /// The next line. Dropping the call loses nothing.
    async fn next(&mut self) -> Result<BulkLine, CliError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|error| self.odd(error.to_string()));
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(self.odd(format!("a line of its answer is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.answer.next().await? {
                Some(piece) => self.read.extend_from_slice(&piece),
                None => return Err(self.odd("its answer ended before the batch did; what was sent goes on".to_owned())),
            }
        }
    }

    fn odd(&self, what: String) -> CliError {
        CliError::NotOmnivisor { server: self.answer.server.clone(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: usize) -> Vec<Target> {
        (0..count).map(|n| Target { node: "n".into(), process: format!("g:p{n}") }).collect()
    }

    #[test]
    fn few_are_named_one_by_one_and_many_by_their_selectors() {
        let selectors = Selector::parse_all(&["n/g:*".to_owned(), "m".to_owned()]).expect("two");
        let few = select(&selectors, &targets(64)).expect("exact");
        assert_eq!((few.len(), few[63].name.as_deref()), (64, Some("p63")));
        let many = select(&selectors, &targets(65)).expect("patterns");
        assert_eq!(many, [selection("n", Some(("g", "*"))), selection("m", None)]);
        let starred = [Target { node: "n".into(), process: "g:a*b".into() }];
        assert_eq!(select(&selectors, &starred).expect("patterns").len(), 2, "a `*` in a name would mean more");
    }

    #[test]
    fn what_has_no_state_says_why_it_has_none() {
        let item = |outcome: &str, code: &str| BulkItem {
            node: "n".into(),
            process: "g:p".into(),
            operation: "stop".into(),
            outcome: outcome.into(),
            state: None,
            code: Some(code.into()),
            message: "why".into(),
            took_ms: None,
        };
        let words = |outcome, code| item_words(Operation::Stop, &item(outcome, code)).1;
        assert_eq!(words("refused", "auth.forbidden"), "FAILED: why (auth.forbidden)");
        assert_eq!(words("unknown", "bulk.timed_out"), "UNKNOWN: why (bulk.timed_out)");
        assert_eq!(words("not-sent", "bulk.aborted"), "not sent: why (bulk.aborted)");
    }
}
