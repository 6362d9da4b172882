//! Pure rules on what a node said: ordering, duplicates, and what changed.

use crate::model::{ObservedProcess, Process, ProcessId, ProcessState};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// One difference between two lists of processes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Only in the new list.
    Added(ObservedProcess),
    /// In both, and different: another state, pid, start, exit status, message or attribute.
    Changed {
        /// As it was.
        before: ObservedProcess,
        /// As it is.
        after: ObservedProcess,
    },
    /// Only in the old list.
    Removed(ProcessId),
}

/// A node's processes in order, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Roster {
    /// Sorted by group, then name.
    pub(super) processes: Vec<ObservedProcess>,
    /// Names that the node reported more than once. Orders to them are refused.
    pub(super) ambiguous: BTreeSet<ProcessId>,
}

impl Roster {
    /// Everything the node said, at `now` by our clock. `old` gives the start times of runs that go on.
    pub(super) fn complete(old: &[ObservedProcess], said: Vec<Process>, now: SystemTime) -> Self {
        let mut said = said;
        said.sort_by(|a, b| a.id.cmp(&b.id));
        let mut roster = Self::default();
        for process in said {
            match roster.processes.last_mut() {
                Some(last) if last.process.id == process.id => {
                    "the node reports this name more than once".clone_into(&mut last.process.message);
                    roster.ambiguous.insert(process.id);
                }
                Some(_) | None => roster.processes.push(observed(find(old, &process.id), process, now)),
            }
        }
        roster
    }

    /// The same list with some processes seen again. Of the `asked` ones, those not `said` are gone.
    pub(super) fn partial(old: &[ObservedProcess], asked: &[ProcessId], said: Vec<Process>, now: SystemTime) -> Self {
        let untouched = old.iter().filter(|p| !asked.contains(&p.process.id));
        let seen = said.into_iter().map(|process| observed(find(old, &process.id), process, now));
        let mut processes: Vec<_> = untouched.cloned().chain(seen).collect();
        processes.sort_by(|a, b| a.process.id.cmp(&b.process.id));
        processes.dedup_by(|a, b| a.process.id == b.process.id);
        Self { processes, ambiguous: BTreeSet::new() }
    }
}

/// The process of that name in a sorted list.
pub(super) fn find<'a>(sorted: &'a [ObservedProcess], id: &ProcessId) -> Option<&'a ObservedProcess> {
    sorted.binary_search_by(|p| p.process.id.cmp(id)).ok().and_then(|at| sorted.get(at))
}

/// What turns the sorted list `old` into the sorted list `new`, each difference once, in the order of the names.
pub(super) fn diff(old: &[ObservedProcess], new: &[ObservedProcess]) -> Vec<Change> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(before), Some(after)) if before.process.id == after.process.id => {
                if !is_same(&before.process, &after.process) {
                    changes.push(Change::Changed { before: (*before).clone(), after: (*after).clone() });
                }
                old.next();
                new.next();
            }
            (Some(before), after) if after.is_none_or(|after| before.process.id < after.process.id) => {
                changes.push(Change::Removed(before.process.id.clone()));
                old.next();
            }
            (_, Some(after)) => {
                changes.push(Change::Added((*after).clone()));
                new.next();
            }
            (Some(_), None) => return changes, // the guard above takes every such pair
        }
    }
}

/// A run is told by pid and start, so a restart between two looks shows even when the state is equal. Uptime grows by
/// itself and is no change.
fn is_same(a: &Process, b: &Process) -> bool {
    a.state == b.state
        && a.native_state == b.native_state
        && a.pid == b.pid
        && a.started_ms == b.started_ms
        && a.exit_status == b.exit_status
        && a.message == b.message
        && a.attributes == b.attributes
}

fn observed(old: Option<&ObservedProcess>, process: Process, now: SystemTime) -> ObservedProcess {
    let same_run = old.filter(|old| old.process.pid == process.pid && old.process.started_ms == process.started_ms);
    let started_at = match (process.uptime, same_run.and_then(|old| old.started_at)) {
        (None, _) => None,
        (Some(_), Some(known)) => Some(known),
        (Some(uptime), None) => now.checked_sub(uptime),
    };
    let restarts = old.map_or(0, |old| old.restarts + u64::from(is_begun(&old.process, &process)));
    ObservedProcess { process, started_at, restarts }
}

/// Whether another run than before is up. Its start tells; where a kind of node has none, the number of its process.
fn is_begun(before: &Process, after: &Process) -> bool {
    if !matches!(after.state, ProcessState::Starting | ProcessState::Running) {
        return false;
    }
    match (before.started_ms, after.started_ms) {
        (Some(before), Some(after)) => before != after,
        (None, Some(_)) => true,
        (_, None) => after.pid.is_some() && before.pid != after.pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::{Duration, UNIX_EPOCH};

    fn process(name: &str, state: ProcessState, pid: u32) -> Process {
        Process {
            id: ProcessId::reported("g", name),
            state,
            native_state: state.as_str().to_uppercase(),
            pid: Some(pid),
            started_ms: Some(u64::from(pid)),
            uptime: Some(Duration::from_secs(5)),
            exit_status: None,
            message: String::new(),
            attributes: BTreeMap::new(),
        }
    }

    fn seen(said: Vec<Process>) -> Vec<ObservedProcess> {
        Roster::complete(&[], said, UNIX_EPOCH + Duration::from_secs(100)).processes
    }

    fn apply(old: &[ObservedProcess], changes: Vec<Change>) -> Vec<ObservedProcess> {
        let mut list: Vec<_> = old.to_vec();
        for change in changes {
            match change {
                Change::Added(p) => list.push(p),
                Change::Changed { before, after } => {
                    let at = list.iter().position(|p| *p == before).expect("it was there");
                    list[at] = after;
                }
                Change::Removed(id) => list.retain(|p| p.process.id != id),
            }
        }
        list.sort_by(|a, b| a.process.id.cmp(&b.process.id));
        list
    }

    #[test]
    fn a_restart_between_two_looks_is_a_change() {
        let old = seen(vec![process("a", ProcessState::Running, 1)]);
        let new = seen(vec![process("a", ProcessState::Running, 2)]);
        assert!(matches!(diff(&old, &new).as_slice(), [Change::Changed { .. }]));
    }

    #[test]
    fn runs_that_begin_are_counted_once_each() {
        let run = |state, pid, started| {
            let process = Process { pid, started_ms: started, ..process("a", state, 1) };
            vec![process]
        };
        let mut list = seen(run(ProcessState::Running, Some(1), Some(10)));
        let mut after = |said| {
            list = Roster::complete(&list, said, UNIX_EPOCH).processes;
            list[0].restarts
        };
        assert_eq!(after(run(ProcessState::Running, Some(1), Some(10))), 0);
        assert_eq!(after(run(ProcessState::Stopped, None, Some(10))), 0);
        assert_eq!(after(run(ProcessState::Starting, Some(2), Some(20))), 1);
        assert_eq!(after(run(ProcessState::Running, Some(2), Some(20))), 1, "the same run, further on");
        assert_eq!(after(run(ProcessState::Unknown, None, Some(20))), 1);
        assert_eq!(after(run(ProcessState::Running, Some(2), Some(20))), 1, "it was never gone");
        assert_eq!(after(run(ProcessState::Running, Some(3), Some(30))), 2, "between two looks");
        assert_eq!(after(run(ProcessState::Running, Some(4), None)), 3, "no start is told: its number counts");
    }

    #[test]
    fn uptime_alone_is_no_change_and_the_start_stays() {
        let old = seen(vec![process("a", ProcessState::Running, 1)]);
        let mut later = process("a", ProcessState::Running, 1);
        later.uptime = Some(Duration::from_millis(7_900));
        let new = Roster::complete(&old, vec![later], UNIX_EPOCH + Duration::from_secs(102)).processes;
        assert_eq!(diff(&old, &new), vec![]);
        assert_eq!(new[0].started_at, Some(UNIX_EPOCH + Duration::from_secs(95)));
    }

    #[test]
    fn a_name_said_thrice_is_one_flagged_row() {
        let said = vec![process("a", ProcessState::Running, 1); 3];
        let roster = Roster::complete(&[], said, UNIX_EPOCH);
        assert_eq!(roster.processes.len(), 1);
        assert!(roster.processes[0].process.message.contains("more than once"));
        assert!(roster.ambiguous.contains(&ProcessId::reported("g", "a")));
    }

    #[test]
    fn a_partial_look_touches_only_what_was_asked() {
        let old = seen(vec![
            process("a", ProcessState::Running, 1),
            process("b", ProcessState::Running, 2),
            process("c", ProcessState::Running, 3),
        ]);
        let asked = [ProcessId::reported("g", "a"), ProcessId::reported("g", "b")];
        let new = Roster::partial(&old, &asked, vec![process("b", ProcessState::Exited, 2)], UNIX_EPOCH).processes;
        let names: Vec<_> = new.iter().map(|p| (p.process.id.name(), p.process.state)).collect();
        assert_eq!(names, [("b", ProcessState::Exited), ("c", ProcessState::Running)]);
    }

    fn lists() -> impl Strategy<Value = Vec<Process>> {
        let one =
            ("[a-f]", 0..8usize, 1..4u32).prop_map(|(name, state, pid)| process(&name, ProcessState::ALL[state], pid));
        proptest::collection::btree_map("[a-f]", one, 0..6).prop_map(|map| {
            map.into_iter().map(|(name, p)| Process { id: ProcessId::reported("g", &name), ..p }).collect()
        })
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_new_list(a in lists(), b in lists()) {
            let (old, new) = (seen(a), seen(b));
            prop_assert_eq!(apply(&old, diff(&old, &new)), new);
        }

        #[test]
        fn nothing_changed_is_nothing_told(a in lists()) {
            let old = seen(a);
            prop_assert_eq!(diff(&old, &old), vec![]);
        }
    }
}
