//! `start`, `stop`, `restart`, `monitor`, `unmonitor`: orders to many processes at once.

use super::age;
use super::api::Api;
use super::args::OrderArgs;
use super::batch;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::paint::Tone;
use super::selector::Selector;
use super::status::{no_match, processes};
use crate::api::wire::{CommandResult, NodeList};
use crate::model::Operation;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// One process that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) node: String,
    pub(crate) process: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escape::line(&format!("{}/{}", self.node, self.process)))
    }
}

/// How many ended in which way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    done: usize,
    unchanged: usize,
    in_progress: usize,
    failed: usize,
    unknown: usize,
    not_sent: usize,
}

pub(crate) async fn run(
    api: &Api,
    console: &mut Console,
    operation: Operation,
    args: &OrderArgs,
) -> Result<(), CliError> {
    let selectors = Selector::parse_all(&args.selectors)?;
    let targets = resolve(&api.nodes().await?.0, &selectors)?;
    // One process needs no batch, and its refusal says more alone.
    let [target] = targets.as_slice() else {
        return batch::run(api, console, operation, args, (&selectors, &targets)).await;
    };
    if args.dry_run {
        return show(console, operation, &targets);
    }
    let wait = args.wait.map(Duration::from_secs);
    let order = api.order(operation, &target.node, &target.process, wait, args.r#override.as_deref());
    let outcome = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            console.remark("interrupted: without an answer; an order already sent goes on");
            return Err(CliError::Interrupted);
        }
        outcome = order => outcome,
    };
    let mut tally = Tally::default();
    tell(console, operation, target, outcome, &mut tally)?;
    tally.close(console, operation)
}

/// All processes that the selectors cover, each once, sorted.
///
/// # Errors
/// [`CliError::NoMatch`] for the first selector that covers no process.
pub(crate) fn resolve(list: &NodeList, selectors: &[Selector]) -> Result<Vec<Target>, CliError> {
    let mut targets = BTreeSet::new();
    for selector in selectors {
        let before = targets.len();
        let mut is_met = false;
        for node in &list.items {
            for process in processes(node).iter().filter(|p| selector.covers(&node.name, &p.group, &p.name)) {
                is_met = true;
                targets.insert(Target { node: node.name.clone(), process: process.id.clone() });
            }
        }
        if !is_met && targets.len() == before {
            return Err(no_match(selector, list));
        }
    }
    Ok(targets.into_iter().collect())
}

pub(crate) fn show(console: &mut Console, operation: Operation, targets: &[Target]) -> Result<(), CliError> {
    for target in targets {
        if console.is_json {
            let order = json!({ "node": target.node, "process": target.process, "operation": operation.as_str(), "outcome": "dry-run" });
            console.json(&order)?;
        } else {
            console.line(&format!("would {operation} {target}"))?;
        }
    }
    Ok(())
}

/// One process is what was typed. More of them need a word, typed now or given before.
pub(crate) fn confirm(console: &mut Console, verb: &str, targets: &[Target], is_agreed: bool) -> Result<(), CliError> {
    let count = targets.len();
    if is_agreed || count <= 1 {
        return Ok(());
    }
    if !console.can_ask {
        return Err(CliError::usage(
            format!("this would {verb} {count} processes"),
            "say --yes to do it, or --dry-run to see which",
        ));
    }
    for target in targets {
        console.remark(&format!("  {target}"));
    }
    let answer = console.ask(&format!("{} these {count} processes? [y/N] ", capital(verb)))?;
    if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::Declined)
}

fn tell(
    console: &mut Console,
    operation: Operation,
    target: &Target,
    outcome: Result<CommandResult, CliError>,
    tally: &mut Tally,
) -> Result<(), CliError> {
    tally.count(outcome.as_ref().map_or("refused", |result| result.outcome.as_str()));
    if console.is_json {
        return match outcome {
            Ok(result) => console.json(&result),
            Err(error) => console.json(&refused(target, operation.as_str(), &error)),
        };
    }
    let (tone, words) = match &outcome {
        Ok(result) => words(operation, result),
        Err(error) => (Tone::Bad, escape::line(&failure(error)).into_owned()),
    };
    console.line(&format!("{target}: {}", tone.paint(&words, console.is_colored)))
}

/// An outcome in words, e.g. `restarted in 1.2 s`.
pub(crate) fn words(operation: Operation, result: &CommandResult) -> (Tone, String) {
    let took = age::took(Duration::from_millis(result.took_ms));
    let message = if result.message.is_empty() { String::new() } else { format!(": {}", result.message) };
    let (tone, words) = match result.outcome.as_str() {
        "done" => (Tone::Good, format!("{} in {took}", past(operation))),
        "unchanged" => (Tone::Quiet, format!("was {} already", unchanged(operation, &result.state))),
        "in-progress" => (Tone::Busy, format!("still {} after {took}, goes on", result.state)),
        _ => (Tone::Bad, format!("FAILED: it is {} after {took}{message}", result.state)),
    };
    (tone, escape::line(&words).into_owned())
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: &str) {
        let counter = match outcome {
            "done" => &mut self.done,
            "unchanged" => &mut self.unchanged,
            "in-progress" => &mut self.in_progress,
            "unknown" => &mut self.unknown,
            "not-sent" => &mut self.not_sent,
            _ => &mut self.failed,
        };
        *counter += 1;
    }

    pub(crate) const fn total(&self) -> usize {
        self.done + self.unchanged + self.in_progress + self.bad()
    }

    const fn bad(&self) -> usize {
        self.failed + self.unknown + self.not_sent
    }

    /// The last words, and the exit code.
    pub(crate) fn close(&self, console: &mut Console, operation: Operation) -> Result<(), CliError> {
        let total = self.total();
        if total > 1 && !console.is_json {
            console.line(&self.summary(operation))?;
        }
        if self.bad() > 0 {
            return Err(CliError::SomeFailed { failed: self.bad(), total });
        }
        Ok(())
    }

    fn summary(&self, operation: Operation) -> String {
        let parts = [
            (self.done, past(operation)),
            (self.unchanged, "unchanged"),
            (self.in_progress, "in progress"),
            (self.failed, "failed"),
            (self.unknown, "unknown"),
            (self.not_sent, "not sent"),
        ];
        let shown: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        shown.join(", ")
    }
}

/// What a process was already when there was nothing to do.
const fn unchanged(operation: Operation, state: &str) -> &str {
    match operation {
        Operation::Start | Operation::Stop | Operation::Restart => state,
        Operation::Monitor | Operation::Unmonitor => past(operation),
    }
}

const fn past(operation: Operation) -> &'static str {
    match operation {
        Operation::Start => "started",
        Operation::Stop => "stopped",
        Operation::Restart => "restarted",
        Operation::Monitor => "monitored",
        Operation::Unmonitor => "unmonitored",
    }
}

fn capital(verb: &str) -> String {
    let mut letters = verb.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a program is told of a process for which nothing was done.
pub(crate) fn refused(target: &Target, operation: &str, error: &CliError) -> serde_json::Value {
    let mut document: serde_json::Value = serde_json::from_str(&error.render_json()).unwrap_or_default();
    if let Some(members) = document.as_object_mut() {
        members.insert("node".to_owned(), json!(target.node));
        members.insert("process".to_owned(), json!(target.process));
        members.insert("operation".to_owned(), json!(operation));
        members.insert("outcome".to_owned(), json!("refused"));
    }
    document
}

/// The same for people, in one line that is not escaped yet.
pub(crate) fn failure(error: &CliError) -> String {
    let mut more: String = error.violations().iter().map(|violation| format!("; {violation}")).collect();
    if let Some(hint) = error.hint() {
        more.push_str(&format!("; {hint}"));
    }
    format!("FAILED: {}{more}", error.one_line())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::captured;
    use crate::cli::rows::samples;

    fn list() -> NodeList {
        let mut node = samples::node("web-1");
        node.processes = Some(vec![samples::process("app:a", "running"), samples::process("app:b", "running")]);
        NodeList { items: vec![node, samples::node("empty")], next: None }
    }

    fn resolved(texts: &[&str]) -> Result<Vec<String>, CliError> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let targets = resolve(&list(), &Selector::parse_all(&texts)?)?;
        Ok(targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn overlapping_selectors_name_each_process_once() {
        let all = ["web-1/app:a", "web-1/app:b"];
        assert_eq!(resolved(&["web-1", "*/app:a", "web-1/app:a"]).expect("two"), all);
        assert_eq!(resolved(&["web-1", "empty"]).expect_err("no process there").exit_code(), 66);
    }

    #[test]
    fn many_targets_need_a_word_when_nobody_can_be_asked() {
        let (mut console, _, _) = captured::console(false);
        let targets: Vec<Target> =
            ["a:a", "a:b"].map(|process| Target { node: "n".into(), process: process.into() }).into();
        let error = confirm(&mut console, "stop", &targets, false).expect_err("nobody to ask");
        assert_eq!((error.exit_code(), error.to_string().as_str()), (64, "this would stop 2 processes"));
        assert!(confirm(&mut console, "stop", &targets, true).is_ok());
        assert!(confirm(&mut console, "stop", &targets[..1], false).is_ok(), "one is what was typed");
    }

    #[test]
    fn every_outcome_has_its_words() {
        let result = |outcome: &str, state: &str| CommandResult {
            node: "n".into(),
            process: "a:b".into(),
            operation: "start".into(),
            outcome: outcome.into(),
            state: state.into(),
            message: "spawn\terror".into(),
            took_ms: 1_250,
        };
        let words = |outcome, state| words(Operation::Start, &result(outcome, state)).1;
        assert_eq!(words("done", "running"), "started in 1.2 s");
        assert_eq!(words("unchanged", "running"), "was running already");
        let watched = super::words(Operation::Unmonitor, &result("unchanged", "running")).1;
        assert_eq!(watched, "was unmonitored already");
        assert_eq!(words("in-progress", "starting"), "still starting after 1.2 s, goes on");
        assert_eq!(words("failed", "fatal"), "FAILED: it is fatal after 1.2 s: spawn\\terror");
        let tally = Tally { done: 2, failed: 1, ..Tally::default() };
        assert_eq!(tally.summary(Operation::Start), "2 started, 1 failed");
        let mut tally = Tally::default();
        for outcome in ["done", "unchanged", "in-progress", "failed", "refused", "unknown", "not-sent"] {
            tally.count(outcome);
        }
        let all = "1 stopped, 1 unchanged, 1 in progress, 2 failed, 1 unknown, 1 not sent";
        assert_eq!((tally.summary(Operation::Stop).as_str(), tally.total(), tally.bad()), (all, 7, 4));
    }
}
