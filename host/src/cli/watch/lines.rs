use super::Signals;
use crate::cli::age;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::escape;
use crate::cli::feed::fleet::{Change, Fleet};
use crate::cli::feed::frame::Frame;
use crate::cli::feed::link::Notice;
use crate::cli::paint::Tone;
use crate::cli::selector::Selector;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// One line a change, or one JSON document, until Ctrl-C. What happens to the connection is a remark, and a document of
/// its own with JSON.
pub(crate) async fn run(
    console: &mut Console,
    mut notices: mpsc::Receiver<Notice>,
    selectors: &[Selector],
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let mut fleet = Fleet::default();
    loop {
        let notice = tokio::select! {
            biased;
            () = signals.any() => return Ok(()),
            notice = notices.recv() => notice,
        };
        match notice {
            None => return Ok(()),
            Some(Notice::Opened(_)) => {}
            Some(Notice::Frame(frame)) if console.is_json => json_frame(console, &frame, selectors)?,
            Some(Notice::Frame(frame)) => text_frame(console, &mut fleet, &frame, selectors)?,
            Some(Notice::Lost { reason, retry }) => {
                if console.is_json {
                    console.json(&json!({ "t": "lost", "reason": reason, "retry_ms": retry.as_millis() as u64 }))?;
                } else {
                    let reason = escape::line(&reason).into_owned();
                    console.remark(&format!("--- {reason}; trying again in {} ---", age::took(retry)));
                }
            }
            Some(Notice::Ended(error)) => return Err(error),
        }
    }
}

fn text_frame(console: &mut Console, fleet: &mut Fleet, frame: &Frame, selectors: &[Selector]) -> Result<(), CliError> {
    let was_known = fleet.is_known();
    for change in fleet.apply(frame).iter().filter(|change| is_meant(change, selectors)) {
        let at =
            change.at.clone().unwrap_or_else(|| jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
        let tone = match (&change.process, &change.after) {
            (Some(_), Some(state)) => Tone::of_process(state),
            (None, Some(state)) => Tone::of_node(state),
            (Some(_) | None, None) => Tone::Quiet,
        };
        let (address, words) = (change.address(), change.words());
        let words = tone.paint(&escape::line(&words), console.is_colored);
        console.line(&format!("{} {} {words}", escape::line(&at), escape::line(&address)))?;
    }
    match frame {
        Frame::Resync { why, .. } => {
            console
                .remark(&format!("--- changes were skipped ({}); what became of them follows ---", escape::line(why)));
        }
        Frame::Snap { last: true, .. } if !was_known => {
            let (nodes, running, count) = fleet.nodes().fold((0, 0, 0), |(nodes, running, count), (_, node)| {
                (nodes + 1, running + node.running().0, count + node.running().1)
            });
            console.remark(&format!("--- watching {nodes} nodes, {running} of {count} processes running ---"));
        }
        Frame::Revoked { topics, .. } => {
            console.remark(&format!("--- no longer to be seen: {} ---", escape::line(&topics.join(", "))));
        }
        Frame::Welcome { .. }
        | Frame::Snap { .. }
        | Frame::Ev(_)
        | Frame::Bm { .. }
        | Frame::Logs { .. }
        | Frame::Log(_)
        | Frame::Skip { .. }
        | Frame::Unknown => {}
    }
    Ok(())
}

/// True when a change is about what the user pointed at.
pub(crate) fn is_meant(change: &Change, selectors: &[Selector]) -> bool {
    covers(selectors, &change.node, change.process.as_deref())
}

/// True when a selector covers a node, or one of its processes.
pub(crate) fn covers(selectors: &[Selector], node: &str, process: Option<&str>) -> bool {
    if selectors.is_empty() {
        return true;
    }
    match process {
        None => selectors.iter().any(|selector| selector.covers_node(node)),
        Some(id) => {
            let (group, name) = id.split_once(':').unwrap_or((id, ""));
            selectors.iter().any(|selector| selector.covers(node, group, name))
        }
    }
}

/// The server's documents with the snapshot taken apart: `opened`, `item`, `ready`, `ev`, `resync`, `revoked`.
fn json_frame(console: &mut Console, frame: &Frame, selectors: &[Selector]) -> Result<(), CliError> {
    match frame {
        Frame::Welcome { epoch, o, mode } => {
            console.json(&json!({ "t": "opened", "epoch": epoch, "o": o, "mode": mode }))
        }
        Frame::Snap { o, last, items } => {
            let is_meant = |id: Option<&str>, node: &str| covers(selectors, node, id);
            for item in items.iter().filter(|item| is_meant(item.process_id(), &item.node)) {
                console.json(&tagged("item", *o, item)?)?;
            }
            if *last { console.json(&json!({ "t": "ready", "o": o })) } else { Ok(()) }
        }
        Frame::Ev(event) if covers(selectors, &event.node, event.process_id()) => {
            console.json(&tagged("ev", event.o, event)?)
        }
        Frame::Resync { why, mode, .. } => console.json(&json!({ "t": "resync", "why": why, "mode": mode })),
        Frame::Revoked { topics, .. } => console.json(&json!({ "t": "revoked", "topics": topics })),
        Frame::Ev(_) | Frame::Bm { .. } | Frame::Logs { .. } | Frame::Log(_) | Frame::Skip { .. } | Frame::Unknown => {
            Ok(())
        }
    }
}

fn tagged(tag: &str, o: u64, document: &impl serde::Serialize) -> Result<Value, CliError> {
    let mut value = serde_json::to_value(document).map_err(|error| CliError::Terminal(error.into()))?;
    if let Some(members) = value.as_object_mut() {
        members.insert("t".to_owned(), json!(tag));
        members.insert("o".to_owned(), json!(o));
    }
    Ok(value)
}
