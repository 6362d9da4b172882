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
}

/// The part of a process that tells one moment of its life from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    state: ProcessState,
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
        };
        Self { phase, before: Look::of(before) }
    }

    /// Goes on to the second half of a restart, whose start the supervisor has just taken.
    pub(super) fn start_sent(&mut self, before: &Process) {
        *self = Self { phase: Phase::Start, before: Look::of(before) };
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
    pub(super) fn next(&self, seen: &Process) -> Step {
        match self.phase {
            Phase::Stop if seen.state.is_stopped() => Step::Settled(Outcome::Done),
            Phase::StopThenStart if seen.state.is_stopped() => Step::SendStart,
            Phase::Stop | Phase::StopThenStart => Step::Wait,
            Phase::Start => self.after_start(seen),
        }
    }

    fn after_start(&self, seen: &Process) -> Step {
        let is_news = Look::of(seen) != self.before;
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
        Self { state: process.state, pid: process.pid, started_ms: process.started_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessId;

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
        }
    }

    #[test]
    fn a_stop_is_done_only_when_nothing_lives() {
        let order = Progress::new(Operation::Stop, &process(ProcessState::Running, 1));
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
        let order = Progress::new(Operation::Start, &before);
        assert_eq!(order.next(&before), Step::Wait);
        assert_eq!(order.next(&process(ProcessState::Backoff, 2)), Step::Settled(Outcome::Failed));
        assert_eq!(order.next(&process(ProcessState::Fatal, 2)), Step::Settled(Outcome::Failed));
    }

    #[test]
    fn a_one_shot_program_that_ended_well_is_done() {
        let order = Progress::new(Operation::Start, &process(ProcessState::Stopped, 1));
        let mut ended = process(ProcessState::Exited, 2);
        ended.exit_status = Some(0);
        assert_eq!(order.next(&ended), Step::Settled(Outcome::Done));
        ended.exit_status = Some(3);
        assert_eq!(order.next(&ended), Step::Settled(Outcome::Failed));
    }
}
