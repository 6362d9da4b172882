//! Version 0.1.0: knows orders to single processes alone, whether there are hints, and nothing of groups or of the
//! supervisor itself. What it says is put in the words of 0.2.0.

use super::Said;
use super::v0_2::wit as now;
use crate::plugin::bindings::adapter_v0_1::NodeAdapterPre;
use crate::plugin::bindings::adapter_v0_1::exports::omnivisor::adapter::node as wit;
use crate::plugin::bindings::types::{Fault, FaultKind, ProcessId};
use crate::plugin::state::CallState;
use wasmtime::Store;

pub(super) type Linked = NodeAdapterPre<CallState>;

pub(super) async fn describe(linked: &Linked, store: &mut Store<CallState>) -> wasmtime::Result<now::AdapterInfo> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    Ok(info(plugin.omnivisor_adapter_node().call_describe(store).await?))
}

pub(super) async fn observe(linked: &Linked, store: &mut Store<CallState>) -> Said<now::Snapshot> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_adapter_node().call_observe(store).await?;
    Ok(said.map(|snapshot| now::Snapshot {
        version: snapshot.version,
        identification: snapshot.identification,
        processes: snapshot.processes.into_iter().map(process).collect(),
        extra: snapshot.extra,
    }))
}

pub(super) async fn observe_some(
    linked: &Linked,
    store: &mut Store<CallState>,
    ids: &[ProcessId],
) -> Said<Vec<now::Process>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_adapter_node().call_observe_some(store, ids).await?;
    Ok(said.map(|processes| processes.into_iter().map(process).collect()))
}

pub(super) async fn run(
    linked: &Linked,
    store: &mut Store<CallState>,
    operation: &now::Operation,
    id: &ProcessId,
) -> Said<now::Outcome> {
    let operation = match operation {
        now::Operation::Start => wit::Operation::Start,
        now::Operation::Stop => wit::Operation::Stop,
        now::Operation::Restart => wit::Operation::Restart,
        now::Operation::Monitor => wit::Operation::Monitor,
        now::Operation::Unmonitor => wit::Operation::Unmonitor,
        now::Operation::Signal(_)
        | now::Operation::SendInput(_)
        | now::Operation::ClearLogs
        | now::Operation::Other(_) => return Ok(Err(unknown())),
    };
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_adapter_node().call_run(store, &operation, id).await?;
    Ok(said.map(|outcome| match outcome {
        wit::Outcome::Accepted => now::Outcome::Accepted,
        wit::Outcome::Unchanged => now::Outcome::Unchanged,
        wit::Outcome::Other(word) => now::Outcome::Other(word),
    }))
}

pub(super) async fn read_log(
    linked: &Linked,
    store: &mut Store<CallState>,
    id: &ProcessId,
    channel: &now::LogChannel,
    range: now::LogRange,
) -> Said<now::LogSlice> {
    let channel = match channel {
        now::LogChannel::Stdout => wit::LogChannel::Stdout,
        now::LogChannel::Stderr => wit::LogChannel::Stderr,
        now::LogChannel::Other(word) => wit::LogChannel::Other(word.clone()),
    };
    let range = match range {
        now::LogRange::Tail(bytes_max) => wit::LogRange::Tail(bytes_max),
        now::LogRange::From(from) => wit::LogRange::From(from),
    };
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_adapter_node().call_read_log(store, id, &channel, range).await?;
    Ok(said.map(|wit::LogSlice { start, bytes, size, has_gap }| now::LogSlice { start, bytes, size, has_gap }))
}

pub(super) async fn hint_request(
    linked: &Linked,
    store: &mut Store<CallState>,
) -> wasmtime::Result<Option<now::StreamRequest>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_adapter_node().call_hint_request(store).await?;
    Ok(said.map(|wit::StreamRequest { path, headers }| now::StreamRequest { path, headers }))
}

pub(super) async fn read_hints(
    linked: &Linked,
    store: &mut Store<CallState>,
    rest: &[u8],
    piece: &[u8],
) -> wasmtime::Result<now::Hints> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let wit::Hints { names, everything, rest } =
        plugin.omnivisor_adapter_node().call_read_hints(store, rest, piece).await?;
    Ok(now::Hints { names, everything, rest })
}

/// What a component of this version answers to what only later versions have. It is never asked: it names no such
/// ability.
pub(super) fn unknown() -> Fault {
    Fault {
        kind: FaultKind::Unsupported,
        code: "operation.unsupported".to_owned(),
        message: "the adapter is of contract 0.1.0, which does not have this".to_owned(),
        extra: Vec::new(),
    }
}

fn info(info: wit::AdapterInfo) -> now::AdapterInfo {
    let ability = |operation: wit::Operation| match operation {
        wit::Operation::Start => now::Ability::Start,
        wit::Operation::Stop => now::Ability::Stop,
        wit::Operation::Restart => now::Ability::Restart,
        wit::Operation::Monitor => now::Ability::Monitor,
        wit::Operation::Unmonitor => now::Ability::Unmonitor,
        wit::Operation::Other(word) => now::Ability::Other(word),
    };
    let channel = |channel: wit::LogChannel| match channel {
        wit::LogChannel::Stdout => now::LogChannel::Stdout,
        wit::LogChannel::Stderr => now::LogChannel::Stderr,
        wit::LogChannel::Other(word) => now::LogChannel::Other(word),
    };
    let hints = info.has_hints.then_some(now::Ability::Hints);
    now::AdapterInfo {
        kind: info.kind,
        abilities: info.operations.into_iter().map(ability).chain(hints).collect(),
        log_channels: info.log_channels.into_iter().map(channel).collect(),
        extra: info.extra,
    }
}

fn process(process: wit::Process) -> now::Process {
    now::Process {
        id: process.id,
        state: process.state,
        native_state: process.native_state,
        pid: process.pid,
        started_ms: process.started_ms,
        uptime_ms: process.uptime_ms,
        exit_status: process.exit_status,
        message: process.message,
        extra: process.extra,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_description_says_the_same_in_new_words() {
        let told = info(wit::AdapterInfo {
            kind: "x".to_owned(),
            operations: vec![wit::Operation::Stop, wit::Operation::Other("signal".to_owned())],
            log_channels: vec![wit::LogChannel::Stderr],
            has_hints: true,
            extra: vec![],
        });
        // Its own word stays its own, even where a later version has the same.
        let [now::Ability::Stop, now::Ability::Other(word), now::Ability::Hints] = told.abilities.as_slice() else {
            panic!("{:?}", told.abilities)
        };
        assert_eq!(word, "signal");
        assert!(matches!(told.log_channels.as_slice(), [now::LogChannel::Stderr]));
    }
}
