use crate::report::Service;
use plugin_sdk::adapter::{Process, ProcessId, ProcessState};

const NAME_BYTES_MAX: usize = 255;
const NATIVE_STATE_BYTES_MAX: usize = 64;

/// `Service_Process` of monit.
const KIND_PROCESS: u64 = 3;
/// Bits of `monitor`: neither is set once the service is watched and was looked at.
const MONITOR_INIT: u64 = 2;
const MONITOR_WAITING: u64 = 4;
/// Bits of `status`.
const EXECUTION_FAILED: u64 = 0x1000;
const DATA_ERROR: u64 = 0x800;

/// What may be wrong with a process, in monit's order and words.
///
/// Source: `Event_Table` in monit's `event.c`, 5.33.
const FAILURES: [(u64, &str); 12] = [
    (0x20, "Connection failed"),
    (0x8000, "Content failed"),
    (DATA_ERROR, "Data access error"),
    (EXECUTION_FAILED, "Execution failed"),
    (0x100, "GID failed"),
    (0x200, "Does not exist"),
    (0x4_0000, "PID failed"),
    (0x8_0000, "PPID failed"),
    (0x2, "Resource limit matched"),
    (0x4, "Timeout"),
    (0x80, "UID failed"),
    (0x40_0000, "Uptime failed"),
];

/// What monit has been asked to do and has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Restart,
    Stop,
    Unmonitor,
    Start,
    Monitor,
}

impl Pending {
    /// Source: `Action_Type` in monit's `monit.h`.
    pub(crate) fn of(service: &Service) -> Option<Self> {
        match service.pending? {
            2 => Some(Self::Restart),
            3 => Some(Self::Stop),
            5 => Some(Self::Unmonitor),
            6 => Some(Self::Start),
            7 => Some(Self::Monitor),
            _ => None,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Unmonitor => "unmonitor",
            Self::Start => "start",
            Self::Monitor => "monitor",
        }
    }
}

/// The process that a service is; none when it is something else, or its name cannot be an address.
pub(crate) fn read(service: &Service) -> Option<Process> {
    if service.kind != Some(KIND_PROCESS) {
        return None;
    }
    let pid = pid(service);
    let mut extra = vec![("monitored".to_owned(), is_monitored(service).to_string())];
    if service.groups.len() > 1 {
        extra.push(("groups".to_owned(), service.groups.join(", ")));
    }
    Some(Process {
        id: id(service)?,
        state: state(service),
        native_state: native_state(service),
        pid,
        // monit counts in whole seconds from its last look, so a start computed from that would waver.
        started_ms: None,
        uptime_ms: service.uptime.filter(|_| pid.is_some()).and_then(|seconds| seconds.checked_mul(1000)),
        exit_status: None,
        message: message(service),
        extra,
    })
}

/// `group:name`. A service in no group is a group of its own, as with supervisord; of several groups the first by name
/// counts. An address ends its group at the first colon, so groups that hold one cannot be used.
fn id(service: &Service) -> Option<ProcessId> {
    let is_fit = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    let is_group = |text: &&str| is_fit(text) && !text.contains(':');
    let groups = service.groups.iter().map(String::as_str);
    let group = groups.chain([service.name.as_str(), "monit"]).find(is_group)?;
    is_fit(&service.name).then(|| ProcessId { group: group.to_owned(), name: service.name.clone() })
}

/// True while monit watches it, or is about to.
pub(crate) fn is_monitored(service: &Service) -> bool {
    service.monitor.is_some_and(|monitor| monitor != 0)
}

/// Its number while monit believes it to be alive.
pub(crate) fn pid(service: &Service) -> Option<u32> {
    service.pid.filter(|&pid| pid > 0).and_then(|pid| u32::try_from(pid).ok())
}

/// What it does, as far as monit says. Of a service that it does not watch monit says nothing, not even after a stop of
/// its own: whether that worked, it does not look.
fn state(service: &Service) -> ProcessState {
    let status = service.status.unwrap_or_default();
    let monitor = service.monitor.unwrap_or_default();
    let is_up = pid(service).is_some();
    match Pending::of(service) {
        Some(Pending::Stop) => return ProcessState::Stopping,
        Some(Pending::Start | Pending::Restart) if !is_up => return ProcessState::Starting,
        Some(Pending::Start | Pending::Restart | Pending::Monitor | Pending::Unmonitor) | None => {}
    }
    if is_up {
        return ProcessState::Running;
    }
    if monitor == 0 {
        return ProcessState::Unknown;
    }
    if status & EXECUTION_FAILED != 0 {
        return ProcessState::Backoff; // it is tried again with the next cycle
    }
    if monitor & MONITOR_INIT != 0 {
        return ProcessState::Starting;
    }
    if monitor & MONITOR_WAITING != 0 || status & DATA_ERROR != 0 {
        return ProcessState::Unknown;
    }
    if status == 0 { ProcessState::Starting } else { ProcessState::Exited }
}

/// The words of monit's own status page.
///
/// Source: `get_service_status` in monit's `util.c`, 5.33, as its page shows it.
fn native_state(service: &Service) -> String {
    let monitor = service.monitor.unwrap_or_default();
    let mut words = match (monitor, service.status.unwrap_or_default()) {
        (0, _) => "Not monitored".to_owned(),
        (monitor, _) if monitor & MONITOR_INIT != 0 => "Initializing".to_owned(),
        (monitor, _) if monitor & MONITOR_WAITING != 0 => "Waiting".to_owned(),
        (_, 0) => "OK".to_owned(),
        (_, status) => failures(status),
    };
    // What is pending is the news, so it is never cut.
    let pending = Pending::of(service).map(|pending| format!(" - {} pending", pending.word())).unwrap_or_default();
    words.truncate(words.floor_char_boundary(NATIVE_STATE_BYTES_MAX - pending.len()));
    words + &pending
}

fn message(service: &Service) -> String {
    match service.status {
        _ if !is_monitored(service) && pid(service).is_none() && Pending::of(service).is_none() => {
            "monit does not watch it, and so does not know whether it runs".to_owned()
        }
        Some(status) if status != 0 => failures(status),
        Some(_) | None => String::new(),
    }
}

fn failures(status: u64) -> String {
    let known: Vec<&str> = FAILURES.iter().filter(|(bit, _)| status & bit != 0).map(|(_, words)| *words).collect();
    if known.is_empty() { format!("Failed (status {status})") } else { known.join(" | ") }
}

#[cfg(test)]
mod tests;
