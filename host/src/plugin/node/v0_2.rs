//! Version 0.2.0, in whose words the host speaks.

use super::Said;
use crate::plugin::bindings::adapter_v0_2::NodeAdapterPre;
use crate::plugin::bindings::types::ProcessId;
use crate::plugin::state::CallState;
use wasmtime::Store;

pub(super) use crate::plugin::bindings::adapter_v0_2::exports::omnivisor::adapter::node as wit;

pub(super) type Linked = NodeAdapterPre<CallState>;

pub(super) async fn describe(linked: &Linked, store: &mut Store<CallState>) -> wasmtime::Result<wit::AdapterInfo> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_describe(store).await
}

pub(super) async fn observe(linked: &Linked, store: &mut Store<CallState>) -> Said<wit::Snapshot> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_observe(store).await
}

pub(super) async fn observe_some(
    linked: &Linked,
    store: &mut Store<CallState>,
    ids: &[ProcessId],
) -> Said<Vec<wit::Process>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_observe_some(store, ids).await
}

pub(super) async fn run(
    linked: &Linked,
    store: &mut Store<CallState>,
    operation: &wit::Operation,
    id: &ProcessId,
) -> Said<wit::Outcome> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_run(store, operation, id).await
}

pub(super) async fn run_group(
    linked: &Linked,
    store: &mut Store<CallState>,
    operation: &wit::GroupOperation,
    group: &str,
) -> Said<Vec<wit::MemberOutcome>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_run_group(store, operation, group).await
}

pub(super) async fn run_node(
    linked: &Linked,
    store: &mut Store<CallState>,
    operation: &wit::NodeOperation,
) -> Said<wit::Outcome> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_run_node(store, operation).await
}

pub(super) async fn reread(linked: &Linked, store: &mut Store<CallState>) -> Said<wit::ConfigurationChanges> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_reread(store).await
}

pub(super) async fn read_log(
    linked: &Linked,
    store: &mut Store<CallState>,
    id: &ProcessId,
    channel: &wit::LogChannel,
    range: wit::LogRange,
) -> Said<wit::LogSlice> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_read_log(store, id, channel, range).await
}

pub(super) async fn follow_request(
    linked: &Linked,
    store: &mut Store<CallState>,
    id: &ProcessId,
    channel: &wit::LogChannel,
) -> wasmtime::Result<Option<wit::StreamRequest>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_follow_request(store, id, channel).await
}

pub(super) async fn read_node_log(linked: &Linked, store: &mut Store<CallState>, bytes_max: u32) -> Said<Vec<u8>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_read_node_log(store, bytes_max).await
}

pub(super) async fn hint_request(
    linked: &Linked,
    store: &mut Store<CallState>,
) -> wasmtime::Result<Option<wit::StreamRequest>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_hint_request(store).await
}

pub(super) async fn read_hints(
    linked: &Linked,
    store: &mut Store<CallState>,
    rest: &[u8],
    piece: &[u8],
) -> wasmtime::Result<wit::Hints> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    plugin.omnivisor_adapter_node().call_read_hints(store, rest, piece).await
}
