use crate::model::{Process, ProcessState};

/// What a difference between two looks at a process means, for those who are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// On its way up.
    Starting,
    /// Up, and it was not.
    Started,
    /// Up, or on its way up, in another run than before: it ended in between.
    Restarted,
    /// Asked to end.
    Stopping,
    /// Not running, because that was wanted.
    Stopped,
    /// Ended by itself, and well: with status 0, or with none told.
    Exited,
    /// Ended by itself with another status, ended too early, or given up.
    Failed,
    /// Its supervisor does not know.
    Lost,
    /// Nothing of its life: a message, an attribute, a word.
    Changed,
}

impl Transition {
    /// What happened between two looks at one process.
    ///
    /// Only the state that it is in now, and whether that is the same run, decides: what lay in between was not seen.
    /// That a stop was asked for makes its end `stopped` and not a failure, whatever the exit status.
    #[must_use]
    pub fn of(before: &Process, after: &Process) -> Self {
        let is_same_run = (before.pid, before.started_ms) == (after.pid, after.started_ms);
        if before.state == after.state {
            match after.state {
                ProcessState::Running | ProcessState::Starting if !is_same_run => return Self::Restarted,
                // Reached anew with the end of each run, so it is news even where it was so before.
                ProcessState::Exited | ProcessState::Fatal | ProcessState::Backoff if !is_same_run => {}
                ProcessState::Running
                | ProcessState::Starting
                | ProcessState::Exited
                | ProcessState::Fatal
                | ProcessState::Backoff
                | ProcessState::Stopped
                | ProcessState::Stopping
                | ProcessState::Unknown => return Self::Changed,
            }
        }
        match after.state {
            ProcessState::Running => Self::Started,
            ProcessState::Starting => Self::Starting,
            ProcessState::Stopping => Self::Stopping,
            ProcessState::Stopped => Self::Stopped,
            ProcessState::Exited if matches!(after.exit_status, None | Some(0)) => Self::Exited,
            ProcessState::Exited | ProcessState::Backoff | ProcessState::Fatal => Self::Failed,
            ProcessState::Unknown => Self::Lost,
        }
    }

    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Restarted => "restarted",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Changed => "changed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessId;
    use std::collections::BTreeMap;

    fn process(state: ProcessState, run: u64, exit_status: Option<i32>) -> Process {
        Process {
            id: ProcessId::reported("g", "p"),
            state,
            native_state: state.as_str().to_uppercase(),
            pid: None,
            started_ms: Some(run),
            uptime: None,
            exit_status,
            message: String::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// A row for each state before, a column for each state after, in the order of `ProcessState::ALL`: stopped,
    /// starting, running, backoff, stopping, exited, fatal, unknown. One run throughout, and it ends with status 0.
    const SAME_RUN: [[&str; 8]; 8] = [
        ["changed", "starting", "started", "failed", "stopping", "exited", "failed", "lost"],
        ["stopped", "changed", "started", "failed", "stopping", "exited", "failed", "lost"],
        ["stopped", "starting", "changed", "failed", "stopping", "exited", "failed", "lost"],
        ["stopped", "starting", "started", "changed", "stopping", "exited", "failed", "lost"],
        ["stopped", "starting", "started", "failed", "changed", "exited", "failed", "lost"],
        ["stopped", "starting", "started", "failed", "stopping", "changed", "failed", "lost"],
        ["stopped", "starting", "started", "failed", "stopping", "exited", "changed", "lost"],
        ["stopped", "starting", "started", "failed", "stopping", "exited", "failed", "changed"],
    ];
    /// What the diagonal is where another run is seen in the same state: it ran in between.
    const OTHER_RUN: [&str; 8] =
        ["changed", "restarted", "restarted", "failed", "changed", "exited", "failed", "changed"];

    #[test]
    fn each_of_the_64_pairs_of_states_has_its_word() {
        for (from, row) in ProcessState::ALL.into_iter().zip(SAME_RUN) {
            for (to, expected) in ProcessState::ALL.into_iter().zip(row) {
                let told = Transition::of(&process(from, 1, Some(0)), &process(to, 1, Some(0)));
                assert_eq!(told.as_str(), expected, "{from:?} to {to:?}");
                let told = Transition::of(&process(from, 1, Some(0)), &process(to, 2, Some(0)));
                let at = ProcessState::ALL.iter().position(|state| *state == from).expect("one of them");
                let expected = if from == to { OTHER_RUN[at] } else { expected };
                assert_eq!(told.as_str(), expected, "{from:?} to {to:?} in another run");
            }
        }
    }

    #[test]
    fn how_it_ended_tells_an_end_from_a_failure_unless_it_was_asked_to_end() {
        let end = |state, status| {
            Transition::of(&process(ProcessState::Running, 1, None), &process(state, 1, status)).as_str()
        };
        assert_eq!([end(ProcessState::Exited, Some(0)), end(ProcessState::Exited, None)], ["exited", "exited"]);
        assert_eq!([end(ProcessState::Exited, Some(1)), end(ProcessState::Exited, Some(-1))], ["failed", "failed"]);
        // By SIGTERM or SIGKILL: the status says so, and it is what was wanted.
        assert_eq!(
            [end(ProcessState::Stopped, Some(-1)), end(ProcessState::Stopped, Some(143))],
            ["stopped", "stopped"]
        );
    }
}
