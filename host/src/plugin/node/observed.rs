//! What an adapter returned, checked and in the model's words. A plugin may lie about every process, so every length
//! has a bound here; equal names stay, for what they mean is the node room's to decide.

use super::v0_2::wit;
use crate::model::{
    Ability, AdapterInfo, ConfigChanges, LogChannel, LogRange, LogSlice, MemberOutcome, Observation, Operation,
    Process, ProcessId, ProcessState,
};

use crate::plugin::bindings::types::ProcessState as State;
use crate::plugin::ending::Refused;
use crate::plugin::exchange::check_target;
use crate::plugin::fault::{accepted, at_most, nonsense};
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean, cut};
use crate::plugin::{HintsRead, StreamRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What an adapter adds to its description when its supervisor wakes at every byte.
const WAKES_AT_BYTES: &str = "wakes-at-bytes";
const PROCESSES_MAX: usize = 10_000;
const NAMES_MAX: usize = 10_000;
const NATIVE_STATE_BYTES_MAX: usize = 64;
const TITLE_BYTES_MAX: usize = 255;
const REST_BYTES_MAX: usize = 8_192;
const KIND_BYTES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 255;

/// What an adapter says about itself; the flag says whether it knows a hint stream.
pub(super) fn info(info: wit::AdapterInfo) -> Result<(AdapterInfo, bool), String> {
    let is_word = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    if info.kind.is_empty() || info.kind.len() > KIND_BYTES_MAX || !info.kind.chars().all(is_word) {
        return Err("its kind has to be 1 to 64 characters of `a-z 0-9 -`".to_owned());
    }
    // An ability or channel of a later version is one that this host cannot ask for.
    let mut operations: Vec<Operation> = Vec::new();
    let mut abilities: BTreeSet<Ability> = BTreeSet::new();
    let mut has_hints = false;
    for ability in info.abilities {
        match told(&ability) {
            Told::Operation(operation) if !operations.contains(&operation) => operations.push(operation),
            Told::Operation(_) | Told::Unknown => {}
            Told::Ability(ability) => drop(abilities.insert(ability)),
            Told::Hints => has_hints = true,
        }
    }
    let mut log_channels: Vec<String> = Vec::new();
    for channel in info.log_channels {
        let known = match channel {
            wit::LogChannel::Stdout => LogChannel::Stdout.as_str(),
            wit::LogChannel::Stderr => LogChannel::Stderr.as_str(),
            wit::LogChannel::Other(_) => continue,
        };
        if !log_channels.iter().any(|channel| channel == known) {
            log_channels.push(known.to_owned());
        }
    }
    let wakes_at_bytes = info.extra.iter().any(|(key, value)| key == WAKES_AT_BYTES && value == "true");
    Ok((AdapterInfo { kind: info.kind, operations, abilities, log_channels, wakes_at_bytes }, has_hints))
}

/// What the host makes of an ability.
enum Told {
    Operation(Operation),
    Ability(Ability),
    Hints,
    Unknown,
}

const fn told(ability: &wit::Ability) -> Told {
    match ability {
        wit::Ability::Start => Told::Operation(Operation::Start),
        wit::Ability::Stop => Told::Operation(Operation::Stop),
        wit::Ability::Restart => Told::Operation(Operation::Restart),
        wit::Ability::Monitor => Told::Operation(Operation::Monitor),
        wit::Ability::Unmonitor => Told::Operation(Operation::Unmonitor),
        wit::Ability::Signal => Told::Ability(Ability::Signal),
        wit::Ability::SendInput => Told::Ability(Ability::SendInput),
        wit::Ability::ClearLogs => Told::Ability(Ability::ClearLogs),
        wit::Ability::GroupStart => Told::Ability(Ability::GroupStart),
        wit::Ability::GroupStop => Told::Ability(Ability::GroupStop),
        wit::Ability::Reread => Told::Ability(Ability::Reread),
        wit::Ability::AddGroup => Told::Ability(Ability::AddGroup),
        wit::Ability::RemoveGroup => Told::Ability(Ability::RemoveGroup),
        wit::Ability::RestartNode => Told::Ability(Ability::RestartNode),
        wit::Ability::ShutdownNode => Told::Ability(Ability::ShutdownNode),
        wit::Ability::FollowLogs => Told::Ability(Ability::FollowLogs),
        wit::Ability::NodeLog => Told::Ability(Ability::NodeLog),
        wit::Ability::Hints => Told::Hints,
        wit::Ability::Other(_) => Told::Unknown,
    }
}

/// True when the supervisor took an order, false when all was as asked already.
pub(super) const fn is_accepted(outcome: &wit::Outcome) -> bool {
    match outcome {
        wit::Outcome::Accepted | wit::Outcome::Other(_) => true,
        wit::Outcome::Unchanged => false,
    }
}

/// What became of an order to a group.
pub(super) fn members(told: Vec<wit::MemberOutcome>) -> Result<Vec<MemberOutcome>, Refused> {
    at_most(told.len(), PROCESSES_MAX, "processes of a group")?;
    let member = |member: wit::MemberOutcome| {
        let group = cut(member.id.group, ProcessId::BYTES_MAX);
        let name = cut(member.id.name, ProcessId::BYTES_MAX);
        let outcome = match member.outcome.map_err(accepted) {
            Ok(outcome) => Ok(is_accepted(&outcome)),
            Err(Refused::Fault(fault)) => Err(fault),
            Err(too_much @ Refused::TooMuch(_)) => return Err(too_much),
        };
        Ok(MemberOutcome { id: ProcessId::reported(&group, &name), outcome })
    };
    told.into_iter().map(member).collect()
}

/// How the files of a node differ from what runs. Each name once, in order.
pub(super) fn changes(told: wit::ConfigurationChanges) -> Result<ConfigChanges, Refused> {
    at_most(told.added.len() + told.changed.len() + told.removed.len(), NAMES_MAX, "groups")?;
    let names = |names: Vec<String>| {
        let names: BTreeSet<String> = names.into_iter().map(|name| cut(name, ProcessId::BYTES_MAX)).collect();
        names.into_iter().collect()
    };
    Ok(ConfigChanges { added: names(told.added), changed: names(told.changed), removed: names(told.removed) })
}

/// The last so many bytes.
pub(super) fn end_of(mut bytes: Vec<u8>, bytes_max: u32) -> Vec<u8> {
    let beyond = bytes.len().saturating_sub(bytes_max as usize);
    bytes.drain(..beyond);
    bytes
}

pub(super) fn observation(snapshot: wit::Snapshot) -> Result<Observation, Refused> {
    // What an adapter leaves out it says in the member `skipped`; nothing is cut in silence.
    let skipped = snapshot.extra.iter().find(|(key, _)| key == "skipped").and_then(|(_, count)| count.parse().ok());
    Ok(Observation {
        skipped: skipped.unwrap_or(0),
        version: cut(snapshot.version, TITLE_BYTES_MAX),
        identification: cut(snapshot.identification, TITLE_BYTES_MAX),
        processes: processes(snapshot.processes)?,
    })
}

pub(super) fn processes(processes: Vec<wit::Process>) -> Result<Vec<Process>, Refused> {
    at_most(processes.len(), PROCESSES_MAX, "processes")?;
    processes.into_iter().map(process).collect()
}

fn process(process: wit::Process) -> Result<Process, Refused> {
    let group = cut(process.id.group, ProcessId::BYTES_MAX);
    let name = cut(process.id.name, ProcessId::BYTES_MAX);
    Ok(Process {
        id: ProcessId::reported(&group, &name),
        state: state(&process.state),
        native_state: cut(process.native_state, NATIVE_STATE_BYTES_MAX),
        pid: process.pid,
        started_ms: process.started_ms,
        uptime: process.uptime_ms.map(Duration::from_millis),
        exit_status: process.exit_status,
        message: cut(process.message, MESSAGE_BYTES_MAX),
        attributes: attributes(process.extra)?,
    })
}

/// What an adapter has to say beyond the contract's own words. Of a key said twice the last counts.
fn attributes(extra: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Refused> {
    at_most(extra.len(), Process::ATTRIBUTES_MAX, "attributes of a process")?;
    let is_word = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    let is_key = |key: &str| !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.chars().all(is_word);
    if let Some((key, _)) = extra.iter().find(|(key, _)| !is_key(key)) {
        let shown = clean(key, KEY_BYTES_MAX);
        let rule = "has to be 1 to 64 characters of `a-z 0-9 _ -`";
        return Err(nonsense(format!("an attribute's key {rule}, and `{shown}` is not")));
    }
    Ok(extra.into_iter().map(|(key, value)| (key, cut(value, VALUE_BYTES_MAX))).collect())
}

const fn state(state: &State) -> ProcessState {
    match state {
        State::Stopped => ProcessState::Stopped,
        State::Starting => ProcessState::Starting,
        State::Running => ProcessState::Running,
        State::Backoff => ProcessState::Backoff,
        State::Stopping => ProcessState::Stopping,
        State::Exited => ProcessState::Exited,
        State::Fatal => ProcessState::Fatal,
        State::Unknown | State::Other(_) => ProcessState::Unknown,
    }
}

/// A piece of a log. Bytes beyond what was asked for are cut: at the front of a tail, at the end of anything else.
pub(super) fn slice(slice: wit::LogSlice, range: LogRange) -> Result<LogSlice, Refused> {
    let wit::LogSlice { mut start, mut bytes, size, has_gap } = slice;
    match range {
        LogRange::Tail { bytes_max } => {
            let beyond = bytes.len().saturating_sub(bytes_max as usize);
            bytes.drain(..beyond);
            start = start.saturating_add(beyond as u64);
        }
        LogRange::From { bytes_max, .. } => bytes.truncate(bytes_max as usize),
    }
    if start.checked_add(bytes.len() as u64).is_none() {
        return Err(nonsense("a piece of a log ends beyond any file".to_owned()));
    }
    Ok(LogSlice { start, bytes, size, has_gap })
}

pub(super) fn stream(request: Option<wit::StreamRequest>, what: &str) -> Result<Option<StreamRequest>, Refused> {
    let Some(wit::StreamRequest { path, headers }) = request else { return Ok(None) };
    check_target(&path, &headers).map_err(|rule| nonsense(format!("the request for {what} is not allowed: {rule}")))?;
    Ok(Some(StreamRequest { path, headers }))
}

pub(super) fn hints(hints: wit::Hints) -> Result<HintsRead, Refused> {
    at_most(hints.names.len(), NAMES_MAX, "names")?;
    at_most(hints.rest.len(), REST_BYTES_MAX, "bytes of an unfinished line")?;
    let names = hints.names.into_iter().map(|name| cut(name, ProcessId::BYTES_MAX)).collect();
    Ok(HintsRead { names, everything: hints.everything, rest: hints.rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::bindings::types::ProcessId as Id;

    fn told(name: &str, state: State) -> wit::Process {
        wit::Process {
            id: Id { group: "g".to_owned(), name: name.to_owned() },
            state,
            native_state: "N".repeat(100),
            pid: Some(7),
            started_ms: Some(u64::MAX),
            uptime_ms: Some(u64::MAX),
            exit_status: Some(-1),
            message: "m".repeat(2_000),
            extra: vec![],
        }
    }

    #[test]
    fn texts_are_cut_and_states_of_later_versions_are_unknown() {
        let processes = processes(vec![told(&"ä".repeat(200), State::Other("dreaming".to_owned()))]).expect("one");
        let process = processes.first().expect("one");
        assert_eq!(process.state, ProcessState::Unknown);
        assert_eq!(process.id.name().len(), 254, "no half character");
        assert_eq!((process.native_state.len(), process.message.len()), (64, 1_024));
    }

    #[test]
    fn more_processes_than_the_contract_says_are_refused() {
        let many = vec![told("x", State::Running); PROCESSES_MAX + 1];
        assert_eq!(processes(many), Err(Refused::TooMuch("10001 processes, at most 10000".to_owned())));
        let same = vec![told("x", State::Running); 2];
        assert_eq!(processes(same).map(|all| all.len()), Ok(2), "equal names are not ours to judge");
    }

    #[test]
    fn attributes_are_few_short_and_have_plain_keys() {
        let read = |extra: Vec<(String, String)>| {
            processes(vec![wit::Process { extra, ..told("x", State::Running) }]).map(|mut all| all.remove(0).attributes)
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let seen = read(vec![pair("monitored", "true"), pair("long", &"v".repeat(300))]).expect("fits");
        assert_eq!(seen.get("monitored").map(String::as_str), Some("true"));
        assert_eq!(seen.get("long").map(String::len), Some(VALUE_BYTES_MAX));
        let many: Vec<_> = (0..=Process::ATTRIBUTES_MAX).map(|at| pair(&format!("k{at}"), "v")).collect();
        assert!(matches!(read(many), Err(Refused::TooMuch(_))));
        for bad in ["", "Key", "a b", "a\u{1b}", &"k".repeat(65)] {
            assert!(matches!(read(vec![pair(bad, "v")]), Err(Refused::Fault(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_log_slice_is_never_longer_than_asked_for() {
        let told = || wit::LogSlice { start: 10, bytes: b"abcdef".to_vec(), size: 16, has_gap: false };
        let tail = slice(told(), LogRange::Tail { bytes_max: 4 }).expect("fits");
        assert_eq!((tail.start, tail.bytes.as_slice()), (12, b"cdef".as_slice()));
        let from = slice(told(), LogRange::From { offset: 10, bytes_max: 4 }).expect("fits");
        assert_eq!((from.start, from.bytes.as_slice()), (10, b"abcd".as_slice()));
        let absurd = wit::LogSlice { start: u64::MAX, ..told() };
        assert!(slice(absurd, LogRange::Tail { bytes_max: 4 }).is_err());
    }

    #[test]
    fn an_adapter_describes_itself_in_known_words() {
        let described = |kind: &str| wit::AdapterInfo {
            kind: kind.to_owned(),
            abilities: vec![
                wit::Ability::Stop,
                wit::Ability::Stop,
                wit::Ability::Signal,
                wit::Ability::Restart,
                wit::Ability::Hints,
                wit::Ability::Other("sing".to_owned()),
                wit::Ability::Unmonitor,
                wit::Ability::Monitor,
                wit::Ability::Signal,
            ],
            log_channels: vec![wit::LogChannel::Stderr, wit::LogChannel::Other("audit".to_owned())],
            extra: vec![("wakes-at-bytes".to_owned(), "true".to_owned())],
        };
        let (known, has_hints) = info(described("supervisord")).expect("a word");
        assert!(has_hints && known.wakes_at_bytes);
        let expected = vec![Operation::Stop, Operation::Restart, Operation::Unmonitor, Operation::Monitor];
        assert_eq!((known.operations, known.log_channels), (expected, vec!["stderr".to_owned()]));
        assert_eq!(known.abilities, BTreeSet::from([Ability::Signal]));
        for bad in ["", "Super", "a b", &"x".repeat(65)] {
            assert!(info(described(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_node_says_of_groups_keeps_to_its_bounds() {
        let told = |names: usize| wit::ConfigurationChanges {
            added: vec![],
            changed: (0..names).rev().map(|at| format!("g{at}")).collect(),
            removed: vec!["r".repeat(300), "r".repeat(301)],
        };
        let known = changes(told(2)).expect("fits");
        assert_eq!((known.changed, known.removed), (vec!["g0".to_owned(), "g1".to_owned()], vec!["r".repeat(255)]));
        assert!(matches!(changes(told(9_999)), Err(Refused::TooMuch(_))));
        let member = |outcome| wit::MemberOutcome { id: Id { group: "g".to_owned(), name: "p".to_owned() }, outcome };
        let known = members(vec![member(Ok(wit::Outcome::Accepted)), member(Ok(wit::Outcome::Unchanged))]);
        let outcomes: Vec<_> = known.expect("fits").into_iter().map(|member| member.outcome).collect();
        assert_eq!(outcomes, [Ok(true), Ok(false)]);
        assert!(matches!(members(vec![member(Ok(wit::Outcome::Accepted)); 10_001]), Err(Refused::TooMuch(_))));
        assert_eq!(end_of(b"abcdef".to_vec(), 4), b"cdef");
    }

    #[test]
    fn hints_and_streams_keep_to_their_bounds() {
        let told =
            |names, rest| wit::Hints { names: vec!["n".repeat(300); names], everything: false, rest: vec![0; rest] };
        assert_eq!(hints(told(1, 8_192)).expect("fits").names, vec!["n".repeat(255)]);
        assert!(matches!(hints(told(10_001, 0)), Err(Refused::TooMuch(_))));
        assert!(matches!(hints(told(0, 8_193)), Err(Refused::TooMuch(_))));
        assert_eq!(stream(None, "x"), Ok(None));
        let evil = wit::StreamRequest { path: "/\r\nhost: x".to_owned(), headers: vec![] };
        assert!(matches!(stream(Some(evil), "x"), Err(Refused::Fault(_))));
    }
}
