use super::frame::{Event, Frame, Item};
use crate::api::wire::{NodeView, ProcessView};
use std::collections::BTreeMap;

/// What the frames add up to: every node and process as last told. Pure.
///
/// While a snapshot arrives the old picture stays; it is replaced whole when the last piece is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fleet {
    nodes: Nodes,
    /// The snapshot that is arriving.
    arriving: Option<Nodes>,
    /// True once there was a whole snapshot.
    is_known: bool,
}

type Nodes = BTreeMap<String, Node>;

/// A node and its processes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Node {
    /// Missing while only processes were told of.
    pub(crate) view: Option<NodeView>,
    /// By address, `group:name`.
    pub(crate) processes: BTreeMap<String, ProcessView>,
}

/// One difference between two pictures, in the words to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The server's time, when an event brought it.
    pub(crate) at: Option<String>,
    pub(crate) node: String,
    /// `None` for the node itself.
    pub(crate) process: Option<String>,
    /// The state before; `None` if it is new.
    pub(crate) before: Option<String>,
    /// The state now; `None` if it is gone.
    pub(crate) after: Option<String>,
    /// What else is worth a word.
    pub(crate) note: String,
}

impl Fleet {
    /// Every node, sorted by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// True once there was a whole snapshot.
    pub(crate) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Takes in one frame and tells what it changed. The first snapshot is no change: it is where the story begins.
    pub(crate) fn apply(&mut self, frame: &Frame) -> Vec<Change> {
        match frame {
            Frame::Welcome { mode, .. } | Frame::Resync { mode, .. } => {
                // What changed is put onto what is known.
                self.arriving = (mode == "changes").then(|| self.nodes.clone());
                Vec::new()
            }
            Frame::Snap { last, items, .. } => {
                let arriving = self.arriving.get_or_insert_default();
                items.iter().for_each(|item| put(arriving, item));
                if !*last {
                    return Vec::new();
                }
                let fresh = self.arriving.take().unwrap_or_default();
                let old = std::mem::replace(&mut self.nodes, fresh);
                if !std::mem::replace(&mut self.is_known, true) {
                    return Vec::new();
                }
                differences(&old, &self.nodes)
            }
            Frame::Ev(event) => self.event(event).into_iter().collect(),
            Frame::Revoked { topics, .. } => self.forget(topics),
            Frame::Bm { .. } | Frame::Logs { .. } | Frame::Log(_) | Frame::Skip { .. } | Frame::Unknown => Vec::new(),
        }
    }

    /// Forgets what may no longer be seen.
    fn forget(&mut self, topics: &[String]) -> Vec<Change> {
        let lost = |topic: &str| topics.iter().any(|beginning| topic.starts_with(beginning));
        let old = self.nodes.clone();
        for (name, node) in &mut self.nodes {
            if lost(&format!("node/{name}/state")) {
                node.view = None;
            }
            if lost(&format!("proc/{name}/state")) {
                node.processes.clear();
            }
        }
        self.nodes.retain(|_, node| node.view.is_some() || !node.processes.is_empty());
        differences(&old, &self.nodes)
    }

    fn event(&mut self, event: &Event) -> Option<Change> {
        let at = Some(event.at.clone());
        if event.is_about_process() {
            let id = event.process_id()?.to_owned();
            if event.process.is_none() && !event.is_removal() {
                // A kind of event that this client does not know.
                return None;
            }
            let node = self.nodes.entry(event.node.clone()).or_default();
            let before = match &event.process {
                Some(process) => node.processes.insert(id.clone(), process.clone()),
                None => node.processes.remove(&id),
            };
            let is_empty = node.view.is_none() && node.processes.is_empty();
            if is_empty {
                self.nodes.remove(&event.node);
            }
            let change = process_change(&event.node, &id, before.as_ref(), event.process.as_ref())?;
            return Some(Change { at, ..change });
        }
        let Some(state) = &event.state else {
            if !event.is_removal() {
                return None;
            }
            let gone = self.nodes.remove(&event.node)?;
            return node_change(&event.node, gone.view.as_ref(), None).map(|change| Change { at, ..change });
        };
        let node = self.nodes.entry(event.node.clone()).or_default();
        let before = node.view.replace(state.clone());
        node_change(&event.node, before.as_ref(), Some(state)).map(|change| Change { at, ..change })
    }
}

/// Takes out what an item says is gone.
fn take(nodes: &mut Nodes, item: &Item) {
    let Some(id) = item.process_id() else {
        nodes.remove(&item.node);
        return;
    };
    if let Some(node) = nodes.get_mut(&item.node) {
        node.processes.remove(id);
        if node.view.is_none() && node.processes.is_empty() {
            nodes.remove(&item.node);
        }
    }
}

impl Node {
    /// How many are running, of how many.
    pub(crate) fn running(&self) -> (usize, usize) {
        let running = self.processes.values().filter(|process| process.state == "running").count();
        (running, self.processes.len())
    }
}

fn put(nodes: &mut Nodes, item: &Item) {
    if item.is_removal() {
        return take(nodes, item);
    }
    let node = nodes.entry(item.node.clone()).or_default();
    if let Some(state) = &item.state {
        node.view = Some(state.clone());
    }
    if let Some(process) = &item.process {
        node.processes.insert(process.id.clone(), process.clone());
    }
}

fn differences(old: &Nodes, new: &Nodes) -> Vec<Change> {
    let mut changes = Vec::new();
    let empty = Node::default();
    for name in keys(old, new) {
        let (before, after) = (old.get(name).unwrap_or(&empty), new.get(name).unwrap_or(&empty));
        changes.extend(node_change(name, before.view.as_ref(), after.view.as_ref()));
        for id in keys(&before.processes, &after.processes) {
            changes.extend(process_change(name, id, before.processes.get(id), after.processes.get(id)));
        }
    }
    changes
}

/// The keys of both maps, each once, sorted.
fn keys<'a, T>(old: &'a BTreeMap<String, T>, new: &'a BTreeMap<String, T>) -> Vec<&'a String> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn node_change(name: &str, before: Option<&NodeView>, after: Option<&NodeView>) -> Option<Change> {
    let said = |view: &NodeView| (view.state.clone(), view.reason.clone(), view.version.clone());
    if before.map(said) == after.map(said) {
        return None;
    }
    Some(Change {
        at: None,
        node: name.to_owned(),
        process: None,
        before: before.map(|view| view.state.clone()),
        after: after.map(|view| view.state.clone()),
        note: after.and_then(|view| view.reason.clone()).unwrap_or_default(),
    })
}

fn process_change(node: &str, id: &str, before: Option<&ProcessView>, after: Option<&ProcessView>) -> Option<Change> {
    // The start of a run is by the server's reckoning, which begins anew with the server; a new run has a new pid.
    let said = |view: &ProcessView| {
        let attributes = view.attributes.clone();
        (view.state.clone(), view.native_state.clone(), view.pid, view.exit_status, view.message.clone(), attributes)
    };
    if before.map(said) == after.map(said) {
        return None;
    }
    let note = match (before.and_then(|view| view.pid), after) {
        (_, Some(view)) if !view.message.is_empty() => view.message.clone(),
        (Some(old), Some(ProcessView { pid: Some(new), .. })) if old != *new => format!("pid {old} became {new}"),
        (None, Some(ProcessView { pid: Some(pid), .. })) => format!("pid {pid}"),
        (_, Some(ProcessView { exit_status: Some(status), state, .. })) if state == "exited" => {
            format!("exit status {status}")
        }
        // The supervisor's own word is the news where ours stays the same.
        (_, Some(view))
            if before.is_some_and(|old| old.state == view.state && old.native_state != view.native_state) =>
        {
            view.native_state.clone()
        }
        (_, _) => String::new(),
    };
    Some(Change {
        at: None,
        node: node.to_owned(),
        process: Some(id.to_owned()),
        before: before.map(|view| view.state.clone()),
        after: after.map(|view| view.state.clone()),
        note,
    })
}

impl Change {
    /// `NODE` or `NODE/GROUP:NAME`.
    pub(crate) fn address(&self) -> String {
        match &self.process {
            Some(process) => format!("{}/{process}", self.node),
            None => self.node.clone(),
        }
    }

    /// `running -> stopping (pid 12)`, `added, running`, `removed`.
    pub(crate) fn words(&self) -> String {
        let states = match (&self.before, &self.after) {
            (Some(before), Some(after)) if before == after => format!("still {after}"),
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (None, Some(after)) => format!("added, {after}"),
            (Some(_) | None, None) => "removed".to_owned(),
        };
        if self.note.is_empty() { states } else { format!("{states} ({})", self.note) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::samples;
    use proptest::prelude::*;

    fn snap(items: Vec<Item>, last: bool) -> Frame {
        Frame::Snap { o: 1, last, items }
    }

    fn process_item(node: &str, process: ProcessView) -> Item {
        Item {
            topic: format!("proc/{node}/state"),
            node: node.into(),
            state: None,
            process: Some(process),
            kind: None,
            id: None,
        }
    }

    fn event(topic: &str, node: &str, process: Option<ProcessView>, id: Option<&str>) -> Frame {
        Frame::Ev(Box::new(Event {
            o: 2,
            s: 1,
            topic: topic.into(),
            at: "2026-01-01T00:00:00Z".into(),
            kind: if process.is_some() { "changed" } else { "removed" }.into(),
            node: node.into(),
            state: None,
            process,
            transition: None,
            id: id.map(str::to_owned),
        }))
    }

    #[test]
    fn what_may_no_longer_be_seen_of_one_node_is_forgotten_of_that_one_alone() {
        let mut fleet = Fleet::default();
        let of = |node: &str| process_item(node, samples::process("g:a", "running"));
        fleet.apply(&snap(vec![of("n"), of("n-1")], true));
        let revoked = |topics: &[&str]| Frame::Revoked {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            epoch: "e".into(),
        };
        fleet.apply(&revoked(&["node/n/", "proc/n/"]));
        assert_eq!(fleet.nodes().map(|(name, _)| name).collect::<Vec<_>>(), ["n-1"]);
        fleet.apply(&revoked(&["proc/"]));
        assert!(fleet.nodes().next().is_none());
    }

    #[test]
    fn the_old_picture_stays_until_the_new_one_is_whole() {
        let mut fleet = Fleet::default();
        let a = process_item("n", samples::process("g:a", "running"));
        let b = process_item("n", samples::process("g:b", "stopped"));
        assert_eq!(fleet.apply(&snap(vec![a.clone()], false)), []);
        assert!(!fleet.is_known() && fleet.nodes().next().is_none());
        assert_eq!(fleet.apply(&snap(vec![b.clone()], true)), [], "where the story begins is no change");
        assert_eq!(fleet.nodes().next().map(|(_, node)| node.running()), Some((1, 2)));
        fleet.apply(&Frame::Resync { why: "lag".into(), mode: "snapshot".into(), epoch: None });
        fleet.apply(&snap(vec![b], false));
        assert_eq!(fleet.nodes().next().map(|(_, node)| node.running()), Some((1, 2)));
        // The link breaks here; the half snapshot counts for nothing.
        fleet.apply(&Frame::Welcome { epoch: "e".into(), o: 1, mode: "snapshot".into() });
        let changes = fleet.apply(&snap(vec![a], true));
        let told: Vec<String> =
            changes.iter().map(|change| format!("{} {}", change.address(), change.words())).collect();
        assert_eq!(told, ["n/g:b removed"]);
    }

    #[test]
    fn changes_read_well() {
        let mut fleet = Fleet::default();
        fleet.apply(&snap(vec![process_item("n", samples::process("g:a", "running"))], true));
        let mut tell = |process: Option<ProcessView>| {
            let frame = event("proc/n/state", "n", process, Some("g:a"));
            fleet.apply(&frame).first().map(Change::words)
        };
        assert_eq!(tell(Some(samples::process("g:a", "stopping"))).as_deref(), Some("running -> stopping"));
        assert_eq!(tell(Some(samples::process("g:a", "stopping"))), None, "nothing changed");
        assert_eq!(tell(Some(samples::process("g:a", "running"))).as_deref(), Some("stopping -> running (pid 77)"));
        let restarted = ProcessView { pid: Some(78), ..samples::process("g:a", "running") };
        let reckoned = ProcessView { started_at: Some("2026-01-01T00:00:01Z".into()), ..restarted.clone() };
        assert_eq!(tell(Some(restarted)).as_deref(), Some("still running (pid 77 became 78)"));
        assert_eq!(tell(Some(reckoned)), None, "the same run, reckoned anew");
        assert_eq!(tell(None).as_deref(), Some("removed"));
        assert_eq!(tell(None), None, "it is gone already");
    }

    #[test]
    fn a_node_takes_its_processes_with_it() {
        let mut fleet = Fleet::default();
        let node = Item {
            topic: "node/n/state".into(),
            node: "n".into(),
            state: Some(samples::node("n")),
            process: None,
            kind: None,
            id: None,
        };
        fleet.apply(&snap(vec![node, process_item("n", samples::process("g:a", "running"))], true));
        let changes = fleet.apply(&event("node/n/state", "n", None, None));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].words(), "removed");
        assert_eq!(fleet.nodes().count(), 0);
    }

    #[test]
    fn an_event_of_an_unknown_kind_changes_nothing() {
        let mut fleet = Fleet::default();
        fleet.apply(&snap(vec![process_item("n", samples::process("g:a", "running"))], true));
        let before = fleet.clone();
        for topic in ["proc/n/state", "node/n/state", "proc/other/state"] {
            let Frame::Ev(mut odd) = event(topic, "n", None, Some("g:a")) else { panic!("an event") };
            odd.kind = "blessed".into();
            odd.node = if topic.contains("other") { "other".into() } else { "n".into() };
            assert_eq!(fleet.apply(&Frame::Ev(odd)), []);
        }
        assert_eq!(fleet, before);
    }

    /// What may happen to one of a few processes.
    fn steps() -> impl Strategy<Value = Vec<(u8, u8, Option<u8>)>> {
        proptest::collection::vec((0..3_u8, 0..3_u8, proptest::option::of(0..3_u8)), 0..40)
    }

    fn view(id: &str, state: u8) -> ProcessView {
        samples::process(id, ["running", "stopped", "fatal"][usize::from(state)])
    }

    proptest! {
        #[test]
        fn events_add_up_to_the_last_word_about_each_process(steps in steps(), cut in 0..10_usize) {
            let mut fleet = Fleet::default();
            fleet.apply(&snap(vec![], true));
            let mut naive: BTreeMap<(String, String), ProcessView> = BTreeMap::new();
            for (node, process, state) in steps {
                let (node, id) = (format!("n{node}"), format!("g:{process}"));
                let after = state.map(|state| view(&id, state));
                let key = (node.clone(), id.clone());
                let before = match &after {
                    Some(after) => naive.insert(key, after.clone()),
                    None => naive.remove(&key),
                };
                let changes = fleet.apply(&event(&format!("proc/{node}/state"), &node, after.clone(), Some(&id)));
                prop_assert_eq!(changes.len(), usize::from(before != after), "a change is told once, and only a change");
            }
            let told: Vec<(String, ProcessView)> = fleet
                .nodes()
                .flat_map(|(name, node)| node.processes.values().map(move |view| (name.to_owned(), view.clone())))
                .collect();
            let expected: Vec<(String, ProcessView)> = naive.into_iter().map(|((node, _), view)| (node, view)).collect();
            prop_assert_eq!(&told, &expected);
            // A snapshot of the same picture, cut anywhere, changes nothing.
            let items: Vec<Item> = told.into_iter().map(|(node, view)| process_item(&node, view)).collect();
            let (first, second) = items.split_at(cut.min(items.len()));
            let before = fleet.clone();
            fleet.apply(&Frame::Resync { why: "lag".into(), mode: "snapshot".into(), epoch: None });
            fleet.apply(&snap(first.to_vec(), false));
            prop_assert_eq!(fleet.apply(&snap(second.to_vec(), true)), []);
            prop_assert_eq!(&fleet, &before);
            // What changed alone, with what is gone, leaves the rest as it was.
            let Some(gone) = second.first() else { return Ok(()) };
            let id = gone.process.as_ref().map(|process| process.id.clone());
            let item = Item { process: None, kind: Some("removed".into()), id, ..gone.clone() };
            fleet.apply(&Frame::Resync { why: "lag".into(), mode: "changes".into(), epoch: None });
            prop_assert_eq!(fleet.apply(&snap(vec![item], true)).len(), 1);
            let count = |fleet: &Fleet| fleet.nodes().map(|(_, node)| node.processes.len()).sum::<usize>();
            prop_assert_eq!(count(&fleet) + 1, count(&before));
        }
    }
}
