//! The lines of a table of nodes and processes, the same for `status` and `watch`. Pure.

use super::age;
use super::escape;
use super::paint::Tone;
use crate::api::wire::{NodeView, ProcessView};
use jiff::Timestamp;

/// The columns' names.
pub(crate) const HEADER: [&str; 5] = ["NODE / PROCESS", "STATE", "PID", "UPTIME", "DETAIL"];

/// One line, safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// `NODE` or `NODE/GROUP:NAME`: what may be pasted behind `restart`.
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) tone: Tone,
    pub(crate) pid: String,
    pub(crate) uptime: String,
    pub(crate) detail: String,
    pub(crate) is_node: bool,
    /// The data may not be true any more.
    pub(crate) is_old: bool,
}

/// True while what is known of a node's processes is current.
pub(crate) fn is_live(node: &NodeView) -> bool {
    matches!(node.state.as_str(), "live" | "live-poll")
}

/// The line of a node. `running` of `count` processes are up.
pub(crate) fn node(view: &NodeView, running: usize, count: usize, now: Timestamp) -> Row {
    let is_old = !is_live(view);
    let mut parts = Vec::new();
    if is_old {
        let held = age::since(&view.since, now).map(|held| format!("for {}", age::short(held)));
        let reason = view.reason.clone().filter(|reason| !reason.is_empty());
        parts.extend([held, reason].into_iter().flatten());
        match view.observed_at.as_deref().and_then(|at| age::since(at, now)) {
            Some(seen) => parts.push(format!("{running} of {count} running when last seen {} ago", age::short(seen))),
            None => parts.push("never seen".to_owned()),
        }
    } else {
        parts.push(format!("{running} of {count} running"));
    }
    parts.extend(view.environment.clone());
    if !view.version.is_empty() {
        parts.push(format!("{} {}", view.adapter.trim_start_matches("node-"), view.version));
    }
    Row {
        address: escape::line(&view.name).into_owned(),
        state: escape::line(&view.state).into_owned(),
        tone: Tone::of_node(&view.state),
        pid: String::new(),
        uptime: String::new(),
        detail: escape::line(&parts.join(", ")).into_owned(),
        is_node: true,
        is_old,
    }
}

/// The line of a process. Without a node's view nothing is known about how old it is.
pub(crate) fn process(node_name: &str, is_old: bool, view: &ProcessView, now: Timestamp) -> Row {
    let uptime = view.started_at.as_deref().filter(|_| view.pid.is_some());
    let ended = view.exit_status.filter(|_| view.state == "exited").map(|status| format!("exit status {status}"));
    let said = Some(view.message.clone()).filter(|message| !message.is_empty());
    let detail = said.or(ended).or_else(|| native(view)).unwrap_or_default();
    let mark = if is_old { "?" } else { "" };
    Row {
        address: escape::line(&format!("{node_name}/{}", view.id)).into_owned(),
        state: format!("{}{mark}", escape::line(&view.state)),
        tone: if is_old { Tone::Quiet } else { Tone::of_process(&view.state) },
        pid: view.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        uptime: uptime.and_then(|at| age::since(at, now)).map(age::short).unwrap_or_default(),
        detail: escape::line(&detail).into_owned(),
        is_node: false,
        is_old,
    }
}

/// The supervisor's own word for the state, where it says more than ours does. Those that use our words shout them.
fn native(view: &ProcessView) -> Option<String> {
    let is_usual = view.native_state.eq_ignore_ascii_case(&view.state) || view.native_state == "OK";
    Some(view.native_state.clone()).filter(|word| !word.is_empty() && !is_usual)
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::api::wire::{NodeView, ProcessView};
    use std::collections::BTreeMap;

    /// A live node without processes.
    pub(crate) fn node(name: &str) -> NodeView {
        NodeView {
            name: name.into(),
            environment: None,
            adapter: "node-supervisord".into(),
            state: "live".into(),
            reason: None,
            since: "2026-01-01T00:00:00Z".into(),
            observed_at: Some("2026-01-01T00:00:00Z".into()),
            version: "4.3.0".into(),
            identification: "supervisor".into(),
            operations: vec!["start".into(), "stop".into(), "restart".into()],
            abilities: vec!["signal".into()],
            log_channels: vec!["stdout".into(), "stderr".into()],
            process_count: None,
            running_count: None,
            processes: None,
        }
    }

    /// A process in a state.
    pub(crate) fn process(id: &str, state: &str) -> ProcessView {
        let (group, name) = id.split_once(':').expect("group:name");
        let is_up = state == "running";
        ProcessView {
            id: id.into(),
            group: group.into(),
            name: name.into(),
            state: state.into(),
            native_state: state.to_uppercase(),
            pid: is_up.then_some(77),
            started_at: is_up.then(|| "2026-01-01T00:00:00Z".into()),
            exit_status: None,
            message: String::new(),
            attributes: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:01:30Z".parse().expect("a time")
    }

    #[test]
    fn old_data_says_why_and_how_old() {
        let mut view = samples::node("web-1");
        view.state = "stale".into();
        view.reason = Some("no answer within 2 s".into());
        let row = node(&view, 2, 3, now());
        assert_eq!(
            (row.state.as_str(), row.tone, row.detail.as_str()),
            (
                "stale",
                Tone::Bad,
                "for 1m 30s, no answer within 2 s, 2 of 3 running when last seen 1m 30s ago, supervisord 4.3.0"
            )
        );
        view.observed_at = None;
        assert!(node(&view, 0, 0, now()).detail.contains("never seen"));
        let row = process("web-1", true, &samples::process("app:x", "running"), now());
        assert_eq!((row.state.as_str(), row.tone), ("running?", Tone::Quiet));
    }

    #[test]
    fn a_process_shows_what_its_state_makes_interesting() {
        let row = process("web-1", false, &samples::process("app:x", "running"), now());
        assert_eq!((row.pid.as_str(), row.uptime.as_str(), row.detail.as_str()), ("77", "1m 30s", ""));
        let mut view = samples::process("app:x", "exited");
        view.exit_status = Some(3);
        view.started_at = Some("2026-01-01T00:00:00Z".into());
        let row = process("web-1", false, &view, now());
        assert_eq!((row.uptime.as_str(), row.detail.as_str()), ("", "exit status 3"));
        view.exit_status = None;
        view.native_state = "Execution failed".into();
        assert_eq!(process("web-1", false, &view, now()).detail, "Execution failed");
        view.message = "gone\x1b[2J".into();
        assert_eq!(process("web-1", false, &view, now()).detail, "gone\\x1b[2J");
    }
}
