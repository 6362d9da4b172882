use crate::model::ProcessId;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a process is doing. A superset of what supervisors know; the supervisor's own word stays in
/// [`Process::native_state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// Not running, because nobody started it or somebody stopped it.
    Stopped,
    /// Spawned, and not yet up for as long as its supervisor asks.
    Starting,
    /// Up.
    Running,
    /// Exited too early; the supervisor will try again.
    Backoff,
    /// Asked to end, and not ended yet.
    Stopping,
    /// Ended by itself.
    Exited,
    /// Given up by its supervisor.
    Fatal,
    /// The supervisor does not know, or said something that makes no sense.
    Unknown,
}

impl ProcessState {
    /// Every state, in the order above.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Backoff,
        Self::Stopping,
        Self::Exited,
        Self::Fatal,
        Self::Unknown,
    ];

    /// The word used on the wire, in logs and in the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Backoff => "backoff",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Fatal => "fatal",
            Self::Unknown => "unknown",
        }
    }

    /// True when no process of this program is alive and none is on its way up.
    ///
    /// Source: supervisord's `STOPPED_STATES`. `Stopping` is not among them: its process still lives.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        match self {
            Self::Stopped | Self::Exited | Self::Fatal | Self::Unknown => true,
            Self::Starting | Self::Running | Self::Backoff | Self::Stopping => false,
        }
    }
}

/// One process as its node last described it.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Group and name.
    pub id: ProcessId,
    /// What it is doing.
    pub state: ProcessState,
    /// The supervisor's own word for it, e.g. `RUNNING`.
    pub native_state: String,
    /// The operating system's process number while it is alive.
    pub pid: Option<u32>,
    /// Start of the current or last run in ms since 1970 by the *node's* clock. Identifies the run; never compare it
    /// with our clock.
    pub started_ms: Option<u64>,
    /// How long it had been up when it was observed, computed from the node's clock alone.
    pub uptime: Option<Duration>,
    /// Exit status of the last run that ended.
    pub exit_status: Option<i32>,
    /// The supervisor's explanation when something is wrong, e.g. why it did not spawn. Empty when all is well.
    pub message: String,
    /// What only this kind of supervisor has to say, at most [`Process::ATTRIBUTES_MAX`]. Most say nothing.
    pub attributes: BTreeMap<String, String>,
}

impl Process {
    /// Attributes that a process may have.
    pub const ATTRIBUTES_MAX: usize = 16;
    /// The attribute that says whether its supervisor watches it: `true` or `false`.
    pub const MONITORED: &str = "monitored";

    /// Whether its supervisor watches it; `None` where that is no question.
    #[must_use]
    pub fn is_monitored(&self) -> Option<bool> {
        self.attributes.get(Self::MONITORED)?.parse().ok()
    }
}
