//! The state that the feed inherited from the host before this one, until it is known what of it is still so.
//!
//! What is still so is told to nobody; what is not becomes an event; what nobody can vouch for is told as removed.

use crate::api::view;
use crate::api::wire::ProcessView;
use crate::app::relay::{item, members, publication, removed_plugin};
use crate::hub::{Inherited, Publication};
use crate::model::{
    Event, EventBody, NodeId, NodeState, NodeStatus, ObservedProcess, Process, ProcessState, Transition,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// Starts of one run as two hosts reckon them differ by what a supervisor's uptime is rounded by.
const START_SLACK_MS: i128 = 2_000;

/// What is not confirmed yet.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Processes by node and address, as they were.
    processes: BTreeMap<String, BTreeMap<String, ProcessView>>,
    nodes: BTreeSet<String>,
    plugins: BTreeMap<String, String>,
}

impl Restored {
    /// Reads what was inherited. What cannot be read is told as removed like what is not there any more.
    pub(super) fn of(inherited: Vec<Inherited>) -> Self {
        let mut this = Self::default();
        for Inherited { key, topic, item } in inherited {
            if let Some(name) = topic.strip_prefix("plugin/") {
                this.plugins.insert(name.to_owned(), item);
            } else if let Some((node, id)) = key.split_once('/') {
                if id.is_empty() {
                    this.nodes.insert(node.to_owned());
                    continue;
                }
                let read = serde_json::from_str::<Value>(&item)
                    .ok()
                    .and_then(|item| serde_json::from_value::<ProcessView>(item.get("process")?.clone()).ok());
                let known = this.processes.entry(node.to_owned()).or_default();
                known.insert(id.to_owned(), read.unwrap_or_else(|| unreadable(id)));
            }
        }
        this
    }

    /// What has to be told before anything else: how the nodes are now, and what is there no more.
    pub(super) fn begin(
        &mut self,
        nodes: &[Arc<NodeStatus>],
        plugins: &BTreeSet<String>,
        at: SystemTime,
    ) -> Vec<Publication> {
        if self.nodes.is_empty() && self.processes.is_empty() && self.plugins.is_empty() {
            return Vec::new();
        }
        let mut told = Vec::new();
        let names: BTreeSet<&str> = nodes.iter().map(|status| status.id.as_str()).collect();
        let known = self.nodes.iter().chain(self.processes.keys());
        let gone: BTreeSet<String> = known.filter(|name| !names.contains(name.as_str())).cloned().collect();
        for name in gone {
            told.extend(self.sweep(&name, at));
            if let Ok(node) = NodeId::parse(&name) {
                told.extend(publication(&Event { node, at, body: EventBody::NodeRemoved }));
            }
        }
        self.nodes.clear();
        for status in nodes {
            let event = Event { node: status.id.clone(), at, body: EventBody::Node(Arc::clone(status)) };
            told.extend(self.take(&event));
        }
        for (name, item) in std::mem::take(&mut self.plugins) {
            if !plugins.contains(&name) {
                told.extend(removed_plugin(&name, &item, at));
            }
        }
        told
    }

    /// What is to be told of an event: itself, unless it says what is known already, and what it says of what is not
    /// confirmed.
    ///
    /// A node's first look tells its processes before the node itself, so what was not named until then is not there.
    pub(super) fn take(&mut self, event: &Event) -> Vec<Publication> {
        let told = |publication: Result<Publication, serde_json::Error>| match publication {
            Ok(publication) => Some(publication),
            Err(error) => {
                tracing::error!(node = %event.node, %error, "an event could not be written as JSON");
                None
            }
        };
        let name = event.node.as_str();
        match &event.body {
            EventBody::Process { before: None, after } => {
                let Some(known) = self.confirm(name, &after.process.id.to_string()) else {
                    return told(publication(event)).into_iter().collect();
                };
                told(compared(event, &known, after).transpose().unwrap_or_else(|| publication(event)))
                    .filter(|_| !is_same(&known, after))
                    .into_iter()
                    .collect()
            }
            EventBody::Process { after, .. } => {
                self.confirm(name, &after.process.id.to_string());
                told(publication(event)).into_iter().collect()
            }
            EventBody::ProcessRemoved(id) => {
                self.confirm(name, &id.to_string());
                told(publication(event)).into_iter().collect()
            }
            EventBody::Node(status) => {
                let is_known = status.observed_at.is_some() || !matches!(status.state, NodeState::Connecting);
                let is_known = is_known && !(status.state.is_live() && status.observed_at.is_none());
                let swept = if is_known { self.sweep(name, event.at) } else { Vec::new() };
                swept.into_iter().chain(told(publication(event))).collect()
            }
            EventBody::NodeRemoved => self.sweep(name, event.at).into_iter().chain(told(publication(event))).collect(),
        }
    }

    fn confirm(&mut self, node: &str, id: &str) -> Option<ProcessView> {
        let known = self.processes.get_mut(node)?;
        let process = known.remove(id);
        if known.is_empty() {
            self.processes.remove(node);
        }
        process
    }

    /// Nobody vouches for what is left of a node.
    fn sweep(&mut self, node: &str, at: SystemTime) -> Vec<Publication> {
        let left = self.processes.remove(node).unwrap_or_default();
        left.keys().filter_map(|id| removal(node, id, at).ok()).collect()
    }
}

/// An id that is no process's today is removed all the same.
fn removal(node: &str, id: &str, at: SystemTime) -> Result<Publication, serde_json::Error> {
    let topic = format!("proc/{node}/state");
    let members = members(node, "id", &id)?;
    let change = crate::hub::Change::Remove { key: format!("{node}/{id}") };
    Ok(Publication { topic, kind: "removed", at: view::timestamp(at), members, change })
}

/// The change from what was known to what is, with what it means; `None` where that cannot be said.
fn compared(
    event: &Event,
    known: &ProcessView,
    after: &ObservedProcess,
) -> Result<Option<Publication>, serde_json::Error> {
    let Some(state) = ProcessState::ALL.into_iter().find(|state| state.as_str() == known.state) else {
        return Ok(None);
    };
    let is_same_run = known.pid == after.process.pid && is_same_start(known, after);
    let before = Process {
        id: after.process.id.clone(),
        state,
        native_state: known.native_state.clone(),
        pid: known.pid,
        started_ms: after.process.started_ms.filter(|_| is_same_run),
        uptime: None,
        exit_status: known.exit_status,
        message: known.message.clone(),
        attributes: known.attributes.clone(),
    };
    let name = event.node.as_str();
    let topic = format!("proc/{name}/state");
    let view = view::process(after);
    let plain = members(name, "process", &view)?;
    let change = crate::hub::Change::Put { key: format!("{name}/{}", view.id), item: item(&topic, &plain) };
    let transition = Transition::of(&before, &after.process).as_str();
    let members = format!("{plain},\"transition\":\"{transition}\"");
    Ok(Some(Publication { topic, kind: "changed", at: view::timestamp(event.at), members, change }))
}

/// Whether what was known is so. The start of a run is reckoned anew by each host, from an uptime.
fn is_same(known: &ProcessView, after: &ObservedProcess) -> bool {
    let now = view::process(after);
    is_same_start(known, after) && ProcessView { started_at: now.started_at.clone(), ..known.clone() } == now
}

fn is_same_start(known: &ProcessView, after: &ObservedProcess) -> bool {
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|at| i128::from(at.as_millisecond()));
    let now = after.started_at.map(view::timestamp);
    match (known.started_at.as_deref(), now.as_deref()) {
        (None, None) => true,
        (Some(known), Some(now)) => {
            let (known, now) = (read(known), read(now));
            known.zip(now).is_some_and(|(known, now)| (known - now).abs() <= START_SLACK_MS)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// What stands for a process that cannot be read: like nothing that there is.
fn unreadable(id: &str) -> ProcessView {
    ProcessView {
        id: id.to_owned(),
        group: String::new(),
        name: String::new(),
        state: String::new(),
        native_state: String::new(),
        pid: None,
        started_at: None,
        exit_status: None,
        message: String::new(),
        attributes: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Change;
    use crate::model::ProcessId;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
    }

    fn node_status(name: &str, state: NodeState, is_observed: bool) -> Arc<NodeStatus> {
        Arc::new(NodeStatus {
            id: NodeId::parse(name).unwrap(),
            revision: 0,
            environment: None,
            adapter: "x".to_owned(),
            state,
            reason: None,
            since: at(0),
            observed_at: is_observed.then(|| at(1)),
            version: String::new(),
            identification: String::new(),
            info: None,
            processes: Arc::from([]),
        })
    }

    /// A process that is in this state, in the run of this number.
    fn seen(id: u8, state: ProcessState, run: u8) -> ObservedProcess {
        ObservedProcess {
            process: Process {
                id: ProcessId::reported("g", &format!("p{id}")),
                state,
                native_state: state.as_str().to_owned(),
                pid: Some(u32::from(run)),
                started_ms: Some(u64::from(run)),
                uptime: None,
                exit_status: None,
                message: String::new(),
                attributes: BTreeMap::new(),
            },
            started_at: Some(at(u64::from(run) * 100)),
            restarts: 0,
        }
    }

    fn event(node: &str, body: EventBody) -> Event {
        Event { node: NodeId::parse(node).unwrap(), at: at(5), body }
    }

    fn added(node: &str, process: ObservedProcess) -> Event {
        event(node, EventBody::Process { before: None, after: Box::new(process) })
    }

    /// What a log leaves when these events were published.
    fn left(events: &[Event]) -> Vec<Inherited> {
        let told: Vec<Publication> = events.iter().map(|event| publication(event).unwrap()).collect();
        state(told).into_iter().map(|(key, (topic, item))| Inherited { key, topic, item }).collect()
    }

    /// The state that publications make.
    fn state(told: Vec<Publication>) -> BTreeMap<String, (String, String)> {
        state_from(BTreeMap::new(), told)
    }

    fn state_from(
        mut state: BTreeMap<String, (String, String)>,
        told: Vec<Publication>,
    ) -> BTreeMap<String, (String, String)> {
        for Publication { topic, change, .. } in told {
            match change {
                Change::Put { key, item } => drop(state.insert(key, (topic, item))),
                Change::Remove { key } => drop(state.remove(&key)),
            }
        }
        state
    }

    const STATES: [ProcessState; 3] = [ProcessState::Running, ProcessState::Stopped, ProcessState::Fatal];

    type Known = Vec<Option<(usize, u8)>>;

    fn known() -> impl Strategy<Value = Known> {
        proptest::collection::vec(proptest::option::of((0..STATES.len(), 0..2_u8)), 4)
    }

    fn processes(known: &Known) -> Vec<ObservedProcess> {
        let all = (0_u8..).zip(known);
        all.filter_map(|(id, known)| known.map(|(state, run)| seen(id, STATES[state], run))).collect()
    }

    proptest! {
        /// Whatever was left, and whatever is there now: when each node has been looked at once, the state is what it is
        /// now, and nothing is told of what stayed as it was.
        #[test]
        fn p02_what_a_restart_missed_is_told_and_nothing_else(
            before in (known(), known()),
            now in known(),
            is_answering in any::<bool>(),
        ) {
            let live = |name: &str| event(name, EventBody::Node(node_status(name, NodeState::Live, true)));
            let events = |node: &str, known: &Known| processes(known).into_iter().map(|p| added(node, p)).collect::<Vec<_>>();
            let inherited = left(&[vec![live("a"), live("b")], events("a", &before.0), events("b", &before.1)].concat());
            let old: BTreeMap<_, _> =
                inherited.iter().map(|one| (one.key.clone(), (one.topic.clone(), one.item.clone()))).collect();
            let mut restored = Restored::of(inherited);
            // The node `b` left the configuration meanwhile.
            let mut told = restored.begin(&[node_status("a", NodeState::Connecting, false)], &BTreeSet::new(), at(4));
            let now = if is_answering { now } else { vec![None; 4] };
            let mut news = events("a", &now);
            let end = if is_answering { NodeState::LivePoll } else { NodeState::Unreachable };
            news.push(event("a", EventBody::Node(node_status("a", end, is_answering))));
            told.extend(news.iter().flat_map(|event| restored.take(event)));
            let of_processes = |told: &[Publication]| {
                told.iter().filter(|one| one.topic == "proc/a/state").map(|one| one.kind).collect::<Vec<_>>()
            };
            let differing = before.0.iter().zip(&now).filter(|(before, now)| before != now).count();
            prop_assert_eq!(of_processes(&told).len(), differing, "{:?}", told);
            let expected = state(news.iter().map(|event| publication(event).unwrap()).collect());
            prop_assert_eq!(state_from(old, told), expected);
            prop_assert!(restored.processes.is_empty());
        }
    }

    #[test]
    fn what_happened_meanwhile_is_told_with_its_meaning() {
        let inherited =
            left(&[added("a", seen(0, ProcessState::Running, 1)), added("a", seen(1, ProcessState::Running, 1))]);
        let mut restored = Restored::of(inherited);
        let [failed] = restored.take(&added("a", seen(0, ProcessState::Fatal, 0))).try_into().unwrap();
        assert_eq!(failed.kind, "changed");
        assert!(failed.members.ends_with(r#""transition":"failed""#), "{}", failed.members);
        let [restarted] = restored.take(&added("a", seen(1, ProcessState::Running, 2))).try_into().unwrap();
        assert!(restarted.members.ends_with(r#""transition":"restarted""#), "{}", restarted.members);
        let [known] = restored.take(&added("a", seen(2, ProcessState::Running, 2))).try_into().unwrap();
        assert_eq!(known.kind, "added");
    }

    #[test]
    fn the_start_of_a_run_may_be_reckoned_a_little_otherwise() {
        let known = |started_at| ObservedProcess { started_at: Some(started_at), ..seen(0, ProcessState::Running, 1) };
        for (now, is_told) in [(at(101), false), (at(99), false), (at(103), true), (at(90), true)] {
            let mut restored = Restored::of(left(&[added("a", known(at(100)))]));
            assert_eq!(restored.take(&added("a", known(now))).len(), usize::from(is_told));
        }
    }

    #[test]
    fn a_plugin_that_is_gone_is_told_as_removed_and_without_a_past_nothing_is_told() {
        let item = r#"{"topic":"plugin/x","plugin":{"name":"x"}}"#.to_owned();
        let inherited = vec![Inherited { key: "/plugin/x".to_owned(), topic: "plugin/x".to_owned(), item }];
        let told = Restored::of(inherited.clone()).begin(&[], &BTreeSet::from(["x".to_owned()]), at(0));
        assert!(told.is_empty());
        let [gone] = Restored::of(inherited).begin(&[], &BTreeSet::new(), at(0)).try_into().unwrap();
        let frame: Value = serde_json::from_str(&format!("{{{}}}", gone.members)).unwrap();
        assert_eq!((gone.kind, &frame["plugin"]["name"]), ("removed", &Value::from("x")));
        assert_eq!(gone.change, Change::Remove { key: "/plugin/x".to_owned() });
        let nodes = [node_status("a", NodeState::Connecting, false)];
        assert_eq!(Restored::default().begin(&nodes, &BTreeSet::new(), at(0)), []);
    }
}
