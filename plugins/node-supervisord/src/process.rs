use crate::xml::Value;
use plugin_sdk::adapter::{Process, ProcessId, ProcessState};

const NAME_BYTES_MAX: usize = 255;
const NATIVE_STATE_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 1024;

/// One process from a struct of `getProcessInfo` (S10); none when it does not say which process it is.
///
/// Everything else may be missing or senseless: the process is then shown as far as it makes sense, and as unknown.
pub(crate) fn read(info: &Value<'_>) -> Option<Process> {
    let name = text(info, "name").filter(|name| is_name(name))?;
    let group = text(info, "group").unwrap_or_else(|| name.clone());
    if !is_name(&group) {
        return None;
    }
    let code = int(info, "state");
    let state = code.map_or(ProcessState::Unknown, state);
    let native = text(info, "statename").filter(|name| !name.is_empty());
    let native_state = native.or(code.map(|code| code.to_string())).unwrap_or_default();
    let (start, stop, now) = (int(info, "start"), int(info, "stop"), int(info, "now"));
    let is_up = matches!(state, ProcessState::Starting | ProcessState::Running | ProcessState::Stopping);
    let started = start.filter(|&start| start > 0);
    // Both ends from one reply: the node's clock need not agree with anybody else's, and may be turned back.
    let up = started.zip(now).filter(|_| is_up).map(|(start, now)| now.saturating_sub(start).max(0));
    // Before the first end and while it runs supervisord says 0, and BACKOFF forgets the status.
    let has_ended = match state {
        ProcessState::Exited => true,
        ProcessState::Stopped => stop.is_some_and(|stop| stop > 0),
        ProcessState::Starting
        | ProcessState::Running
        | ProcessState::Backoff
        | ProcessState::Stopping
        | ProcessState::Fatal
        | ProcessState::Unknown
        | ProcessState::Other(_) => false,
    };
    Some(Process {
        id: ProcessId { group, name },
        pid: int(info, "pid").filter(|&pid| pid > 0).and_then(|pid| u32::try_from(pid).ok()),
        started_ms: started.and_then(milliseconds),
        uptime_ms: up.and_then(milliseconds),
        exit_status: int(info, "exitstatus").filter(|_| has_ended).and_then(|status| i32::try_from(status).ok()),
        message: cut(text(info, "spawnerr").unwrap_or_default(), MESSAGE_BYTES_MAX),
        native_state: cut(native_state, NATIVE_STATE_BYTES_MAX),
        state,
        extra: Vec::new(),
    })
}

/// The state of a code. A code of a later version is unknown, with supervisord's word beside it.
///
/// Source: supervisor's `ProcessStates`.
pub(crate) fn state(code: i64) -> ProcessState {
    match code {
        0 => ProcessState::Stopped,
        10 => ProcessState::Starting,
        20 => ProcessState::Running,
        30 => ProcessState::Backoff,
        40 => ProcessState::Stopping,
        100 => ProcessState::Exited,
        200 => ProcessState::Fatal,
        _ => ProcessState::Unknown,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX
}

fn text(info: &Value<'_>, member: &str) -> Option<String> {
    info.member(member).and_then(Value::as_text).map(std::borrow::Cow::into_owned)
}

fn int(info: &Value<'_>, member: &str) -> Option<i64> {
    info.member(member).and_then(Value::as_int)
}

fn milliseconds(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(1000)
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
