//! One linked adapter, whatever version of the contract it was built for.

use super::{v0_1, v0_2, v0_2::wit};
use crate::plugin::bindings::types::{Fault, ProcessId};
use crate::plugin::class::NODE_V0_2;
use crate::plugin::state::CallState;
use wasmtime::Store;
use wasmtime::component::InstancePre;

/// A linked component, by the version of the contract that it was built for.
pub(crate) enum Linked {
    /// 0.1.0
    V0_1(v0_1::Linked),
    /// 0.2.0
    V0_2(v0_2::Linked),
}

/// What an adapter says: its result, or its fault.
pub(super) type Said<T> = wasmtime::Result<Result<T, Fault>>;

impl Linked {
    /// Checks the component's types against its version of the contract. One that exports several is taken by the newest.
    pub(crate) fn new(linked: InstancePre<CallState>) -> wasmtime::Result<Self> {
        if linked.component().get_export_index(None, NODE_V0_2).is_some() {
            return Ok(Self::V0_2(v0_2::Linked::new(linked)?));
        }
        Ok(Self::V0_1(v0_1::Linked::new(linked)?))
    }

    pub(super) async fn describe(&self, store: &mut Store<CallState>) -> wasmtime::Result<wit::AdapterInfo> {
        match self {
            Self::V0_1(linked) => v0_1::describe(linked, store).await,
            Self::V0_2(linked) => v0_2::describe(linked, store).await,
        }
    }

    pub(super) async fn observe(&self, store: &mut Store<CallState>) -> Said<wit::Snapshot> {
        match self {
            Self::V0_1(linked) => v0_1::observe(linked, store).await,
            Self::V0_2(linked) => v0_2::observe(linked, store).await,
        }
    }

    pub(super) async fn observe_some(
        &self,
        store: &mut Store<CallState>,
        ids: &[ProcessId],
    ) -> Said<Vec<wit::Process>> {
        match self {
            Self::V0_1(linked) => v0_1::observe_some(linked, store, ids).await,
            Self::V0_2(linked) => v0_2::observe_some(linked, store, ids).await,
        }
    }

    pub(super) async fn run(
        &self,
        store: &mut Store<CallState>,
        operation: &wit::Operation,
        id: &ProcessId,
    ) -> Said<wit::Outcome> {
        match self {
            Self::V0_1(linked) => v0_1::run(linked, store, operation, id).await,
            Self::V0_2(linked) => v0_2::run(linked, store, operation, id).await,
        }
    }

    pub(super) async fn run_group(
        &self,
        store: &mut Store<CallState>,
        operation: &wit::GroupOperation,
        group: &str,
    ) -> Said<Vec<wit::MemberOutcome>> {
        match self {
            Self::V0_1(_) => Ok(Err(v0_1::unknown())),
            Self::V0_2(linked) => v0_2::run_group(linked, store, operation, group).await,
        }
    }

    pub(super) async fn run_node(
        &self,
        store: &mut Store<CallState>,
        operation: &wit::NodeOperation,
    ) -> Said<wit::Outcome> {
        match self {
            Self::V0_1(_) => Ok(Err(v0_1::unknown())),
            Self::V0_2(linked) => v0_2::run_node(linked, store, operation).await,
        }
    }

    pub(super) async fn reread(&self, store: &mut Store<CallState>) -> Said<wit::ConfigurationChanges> {
        match self {
            Self::V0_1(_) => Ok(Err(v0_1::unknown())),
            Self::V0_2(linked) => v0_2::reread(linked, store).await,
        }
    }

    pub(super) async fn read_log(
        &self,
        store: &mut Store<CallState>,
        id: &ProcessId,
        channel: &wit::LogChannel,
        range: wit::LogRange,
    ) -> Said<wit::LogSlice> {
        match self {
            Self::V0_1(linked) => v0_1::read_log(linked, store, id, channel, range).await,
            Self::V0_2(linked) => v0_2::read_log(linked, store, id, channel, range).await,
        }
    }

    pub(super) async fn follow_request(
        &self,
        store: &mut Store<CallState>,
        id: &ProcessId,
        channel: &wit::LogChannel,
    ) -> wasmtime::Result<Option<wit::StreamRequest>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(linked) => v0_2::follow_request(linked, store, id, channel).await,
        }
    }

    pub(super) async fn read_node_log(&self, store: &mut Store<CallState>, bytes_max: u32) -> Said<Vec<u8>> {
        match self {
            Self::V0_1(_) => Ok(Err(v0_1::unknown())),
            Self::V0_2(linked) => v0_2::read_node_log(linked, store, bytes_max).await,
        }
    }

    pub(super) async fn hint_request(
        &self,
        store: &mut Store<CallState>,
    ) -> wasmtime::Result<Option<wit::StreamRequest>> {
        match self {
            Self::V0_1(linked) => v0_1::hint_request(linked, store).await,
            Self::V0_2(linked) => v0_2::hint_request(linked, store).await,
        }
    }

    pub(super) async fn read_hints(
        &self,
        store: &mut Store<CallState>,
        rest: &[u8],
        piece: &[u8],
    ) -> wasmtime::Result<wit::Hints> {
        match self {
            Self::V0_1(linked) => v0_1::read_hints(linked, store, rest, piece).await,
            Self::V0_2(linked) => v0_2::read_hints(linked, store, rest, piece).await,
        }
    }
}
