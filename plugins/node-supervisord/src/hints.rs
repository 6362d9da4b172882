use plugin_sdk::adapter::Hints;

/// Bytes of an unfinished line that are kept, as in `wit/adapter`.
const REST_BYTES_MAX: usize = 8192;

/// Reads whole lines of supervisord's own log, e.g. `2026-01-01 10:00:00,123 INFO spawned: 'web' with pid 42`.
///
/// A line is a hint: its wording is no interface, it leaves the group out, and the stream begins with up to 1 KiB of what
/// was said before. Whatever is not understood is passed over. A line longer than the bound may hide a hint, so it
/// counts as "anything may have changed".
///
/// Source: the messages of supervisor's `process.py`, `supervisord.py` and `rpcinterface.py`.
pub(crate) fn read(mut rest: Vec<u8>, piece: &[u8]) -> Hints {
    rest.extend_from_slice(piece);
    let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut unfinished = rest.split_off(whole);
    let mut hints = Hints { names: Vec::new(), everything: false, rest: Vec::new() };
    for line in rest.split(|&byte| byte == b'\n') {
        match meaning(&String::from_utf8_lossy(line)) {
            Some(Meaning::Process(name)) if !hints.names.contains(&name) => hints.names.push(name),
            Some(Meaning::Everything) => hints.everything = true,
            Some(Meaning::Process(_)) | None => {}
        }
    }
    if unfinished.len() > REST_BYTES_MAX {
        unfinished.clear();
        hints.everything = true;
    }
    hints.rest = unfinished;
    hints
}

enum Meaning {
    Process(String),
    Everything,
}

fn meaning(line: &str) -> Option<Meaning> {
    let message = message(line.trim_end());
    if let Some(name) = process(message) {
        return Some(Meaning::Process(name.to_owned())).filter(|_| !name.is_empty() && name.len() <= 255);
    }
    EVERYTHING.iter().any(|beginning| message.starts_with(beginning)).then_some(Meaning::Everything)
}

/// Lines after which anything may be different: supervisord begins or ends, the stream lost its place, or a program did
/// not start and the line does not say which. That groups come and go is never logged; the `spawned` of a name that
/// nobody knows yet is its only trace.
const EVERYTHING: [&str; 5] =
    ["received SIG", "supervisord started", "waiting for ", "spawnerr: ", "==> File truncated <=="];

/// What follows the date, the time and the level.
fn message(line: &str) -> &str {
    const LEVELS: [&str; 7] = [" CRIT ", " ERRO ", " WARN ", " INFO ", " DEBG ", " TRAC ", " BLAT "];
    let head = line.floor_char_boundary(40);
    let (start, _) = line.split_at(head);
    let at = LEVELS.iter().filter_map(|level| start.find(level).map(|at| at + level.len())).min();
    at.and_then(|at| line.get(at..)).unwrap_or(line)
}

/// The process that a message names. Names may hold blanks and colons, so each message is cut where its own words stand.
fn process(message: &str) -> Option<&str> {
    if let Some(rest) = message.strip_prefix("spawned: '") {
        return rest.rsplit_once("' with pid ").map(|(name, _)| name);
    }
    if let Some(rest) = message.strip_prefix("exited: ").or_else(|| message.strip_prefix("stopped: ")) {
        return rest.rsplit_once(" (").map(|(name, _)| name);
    }
    if let Some(rest) = message.strip_prefix("success: ") {
        return rest.rsplit_once(" entered RUNNING state").map(|(name, _)| name);
    }
    if let Some(rest) = message.strip_prefix("gave up: ") {
        return rest.rsplit_once(" entered FATAL state").map(|(name, _)| name);
    }
    if let Some(rest) = message.strip_prefix("waiting for ") {
        return rest.strip_suffix(" to stop");
    }
    let rest = message.strip_prefix("killing '")?;
    rest.rsplit_once("' (").map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
