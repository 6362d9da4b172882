//! Pure rules on how an order goes on, given what its process is seen to do.

use crate::model::{Operation, Outcome, Process, ProcessState};

/// An order that the supervisor has taken and whose effect is awaited.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Progress {
    phase: Phase,
    /// How the process looked when the current phase's order was sent: an equal look tells nothing yet.
    before: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stop,
    StopThenStart,
    Start,
    /// A restart that is the supervisor's own work; `has_left` once the process did not look as before.
    Restart {
        has_left: bool,
    },
    /// Until the supervisor says that it watches the process, or that it does not.
    Watch {
        wanted: bool,
    },
}

/// The part of a process that tells one moment of its life from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    state: ProcessState,
    native_state: String,
    pid: Option<u32>,
    started_ms: Option<u64>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Look again later.
    Wait,
    /// Send the second half of a restart now.
    SendStart,
    /// It is over.
    Settled(Outcome),
}

impl Progress {
    /// An order just taken by the supervisor of a process that looked like `before`.
    pub(super) fn new(operation: Operation, before: &Process) -> Self {
        let phase = match operation {
            Operation::Start => Phase::Start,
            Operation::Stop => Phase::Stop,
            Operation::Restart => Phase::StopThenStart,
            Operation::Monitor => Phase::Watch { wanted: true },
            Operation::Unmonitor => Phase::Watch { wanted: false },
        };
        Self { phase, before: Look::of(before) }
    }

    /// A restart that the supervisor carries out by itself.
    pub(super) fn native_restart(before: &Process) -> Self {
        Self { phase: Phase::Restart { has_left: false }, before: Look::of(before) }
    }

    /// Goes on to the second half of a restart, whose start the supervisor has just taken.
    pub(super) fn start_sent(&mut self, before: &Process) {
        *self = Self { phase: Phase::Start, before: Look::of(before) };
    }

    /// True once the process is not as it was when the order was sent.
    pub(super) fn has_moved(&self, seen: &Process) -> bool {
        Look::of(seen) != self.before
    }

    /// Gives the order up: whatever the process does, nothing more is sent.
    pub(super) fn abandon(&mut self) {
        self.phase = Phase::Start;
    }

    /// True while a restart has not yet sent its start.
    pub(super) fn owes_a_start(&self) -> bool {
        self.phase == Phase::StopThenStart
    }

    /// What the process's present look means for the order.
    ///
    /// A start that ends in `Backoff` failed, although the supervisor will try again: supervisord itself answers such a
    /// start with SPAWN_ERROR or ABNORMAL_TERMINATION.
    pub(super) fn next(&mut self, seen: &Process) -> Step {
        match self.phase {
            Phase::Stop if seen.state.is_stopped() => Step::Settled(Outcome::Done),
            Phase::StopThenStart if seen.state.is_stopped() => Step::SendStart,
            Phase::Stop | Phase::StopThenStart => Step::Wait,
            Phase::Start => self.after_start(seen),
            Phase::Restart { has_left } => {
                self.phase = Phase::Restart { has_left: has_left || Look::of(seen) != self.before };
                self.after_restart(seen, has_left)
            }
            Phase::Watch { wanted } if seen.is_monitored() == Some(wanted) => Step::Settled(Outcome::Done),
            Phase::Watch { .. } => Step::Wait,
        }
    }

    /// The run of before is never the new one. Once it had been left and is back all the same, the supervisor has given
    /// the restart up.
    fn after_restart(&self, seen: &Process, has_left: bool) -> Step {
        let is_same_run = (seen.pid, seen.started_ms) == (self.before.pid, self.before.started_ms);
        match seen.state {
            ProcessState::Running if !is_same_run => Step::Settled(Outcome::Done),
            ProcessState::Running if has_left && Look::of(seen) == self.before => Step::Settled(Outcome::Failed),
            ProcessState::Running => Step::Wait,
            ProcessState::Exited
            | ProcessState::Fatal
            | ProcessState::Backoff
            | ProcessState::Stopped
            | ProcessState::Starting
            | ProcessState::Stopping
            | ProcessState::Unknown => self.after_start(seen),
        }
    }

    fn after_start(&self, seen: &Process) -> Step {
        // Where the supervisor does not say when a run began, its end is not told from the end of the one before.
        let is_known_run = seen.started_ms.is_some() || seen.state != ProcessState::Exited;
        let is_news = Look::of(seen) != self.before && is_known_run;
        match seen.state {
            ProcessState::Running => Step::Settled(Outcome::Done),
            ProcessState::Exited if is_news && seen.exit_status == Some(0) => Step::Settled(Outcome::Done),
            ProcessState::Exited | ProcessState::Fatal | ProcessState::Backoff if is_news => {
                Step::Settled(Outcome::Failed)
            }
            ProcessState::Exited
            | ProcessState::Fatal
            | ProcessState::Backoff
            | ProcessState::Stopped
            | ProcessState::Starting
            | ProcessState::Stopping
            | ProcessState::Unknown => Step::Wait,
        }
    }
}

impl Look {
    fn of(process: &Process) -> Self {
        Self {
            state: process.state,
            native_state: process.native_state.clone(),
            pid: process.pid,
            started_ms: process.started_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessId;
    use std::collections::BTreeMap;

    fn process(state: ProcessState, started_ms: u64) -> Process {
        Process {
            id: ProcessId::reported("g", "p"),
            state,
            native_state: String::new(),
            pid: None,
            started_ms: Some(started_ms),
            uptime: None,
            exit_status: None,
            message: String::new(),
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_stop_is_done_only_when_nothing_lives() {
        let mut order = Progress::new(Operation::Stop, &process(ProcessState::Running, 1));
        for state in ProcessState::ALL {
            let expected = if state.is_stopped() { Step::Settled(Outcome::Done) } else { Step::Wait };
            assert_eq!(order.next(&process(state, 1)), expected, "{state:?}");
        }
    }

    #[test]
    fn a_restart_sends_its_start_only_after_a_stopped_state() {
        let mut order = Progress::new(Operation::Restart, &process(ProcessState::Running, 1));
        assert_eq!(order.next(&process(ProcessState::Running, 1)), Step::Wait);
        assert_eq!(order.next(&process(ProcessState::Stopping, 1)), Step::Wait);
        let stopped = process(ProcessState::Stopped, 1);
        assert_eq!(order.next(&stopped), Step::SendStart);
        assert!(order.owes_a_start());
        order.start_sent(&stopped);
        assert_eq!(order.next(&stopped), Step::Wait, "the old look is no news");
        assert_eq!(order.next(&process(ProcessState::Starting, 2)), Step::Wait);
        assert_eq!(order.next(&process(ProcessState::Running, 2)), Step::Settled(Outcome::Done));
    }

    #[test]
    fn the_end_of_the_last_run_is_not_the_failure_of_this_start() {
        let before = process(ProcessState::Fatal, 1);
        let mut order = Progress::new(Operation::Start, &before);
        assert_eq!(order.next(&before), Step::Wait);
        assert_eq!(order.next(&process(ProcessState::Backoff, 2)), Step::Settled(Outcome::Failed));
        assert_eq!(order.next(&process(ProcessState::Fatal, 2)), Step::Settled(Outcome::Failed));
    }

    /// A process of a supervisor that tells the number and not the start.
    fn numbered(state: ProcessState, pid: Option<u32>, native_state: &str) -> Process {
        Process { pid, started_ms: None, native_state: native_state.to_owned(), ..process(state, 0) }
    }

    #[test]
    fn a_native_restart_is_done_when_another_run_is_up() {
        use ProcessState as S;
        let before = numbered(S::Running, Some(1), "OK");
        let mut order = Progress::native_restart(&before);
        assert!(!order.owes_a_start());
        assert_eq!(order.next(&before), Step::Wait, "it has not begun");
        assert_eq!(order.next(&numbered(S::Running, Some(1), "OK - restart pending")), Step::Wait);
        assert_eq!(order.next(&numbered(S::Starting, None, "Initializing")), Step::Wait);
        assert_eq!(order.next(&numbered(S::Exited, None, "Does not exist")), Step::Wait, "of which run is not known");
        assert_eq!(order.next(&numbered(S::Running, Some(2), "OK")), Step::Settled(Outcome::Done));
    }

    #[test]
    fn a_native_restart_has_failed_when_all_is_as_before_or_nothing_comes_up() {
        use ProcessState as S;
        let before = numbered(S::Running, Some(1), "OK");
        let mut order = Progress::native_restart(&before);
        assert_eq!(order.next(&numbered(S::Running, Some(1), "OK - restart pending")), Step::Wait);
        assert_eq!(order.next(&before), Step::Settled(Outcome::Failed), "the stop did not work");
        let mut order = Progress::native_restart(&before);
        assert_eq!(order.next(&numbered(S::Backoff, None, "Execution failed")), Step::Settled(Outcome::Failed));
        let mut order = Progress::native_restart(&numbered(S::Unknown, None, "Not monitored"));
        assert_eq!(order.next(&numbered(S::Running, Some(1), "OK")), Step::Settled(Outcome::Done));
    }

    #[test]
    fn watching_is_done_when_the_node_says_so() {
        for (operation, wanted) in [(Operation::Monitor, "true"), (Operation::Unmonitor, "false")] {
            let mut seen = process(ProcessState::Running, 1);
            let mut order = Progress::new(operation, &seen);
            assert_eq!(order.next(&seen), Step::Wait, "nothing is said");
            for value in ["true", "false"] {
                seen.attributes.insert(Process::MONITORED.to_owned(), value.to_owned());
                let expected = if value == wanted { Step::Settled(Outcome::Done) } else { Step::Wait };
                assert_eq!(order.next(&seen), expected, "{operation} {value}");
            }
        }
    }

    #[test]
    fn a_one_shot_program_that_ended_well_is_done() {
        let mut order = Progress::new(Operation::Start, &process(ProcessState::Stopped, 1));
        let mut ended = process(ProcessState::Exited, 2);
        ended.exit_status = Some(0);
        assert_eq!(order.next(&ended), Step::Settled(Outcome::Done));
        ended.exit_status = Some(3);
        assert_eq!(order.next(&ended), Step::Settled(Outcome::Failed));
    }
}
