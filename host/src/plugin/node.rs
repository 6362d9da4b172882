use crate::model::{AdapterInfo, LogChannel, LogRange, LogSlice, Observation, Operation, Process, ProcessId};
use crate::plugin::bindings::adapter::NodeAdapterPre;
use crate::plugin::bindings::adapter::exports::omnivisor::adapter::node as wit;
use crate::plugin::bindings::types::ProcessId as Id;
use crate::plugin::call::{Callee, Given};
use crate::plugin::ending::Ending;
use crate::plugin::fault::accepted;
use crate::plugin::observed;
use crate::plugin::state::CallState;
use crate::plugin::{Adapter, AdapterError, BoxFuture, Exchange, HintsRead, LoadError, StreamRequest};
use std::sync::Arc;
use tokio::time::Instant;

type Linked = NodeAdapterPre<CallState>;

/// A node adapter that is a component.
pub(super) struct NodeAdapter {
    callee: Callee<Linked>,
    info: Arc<AdapterInfo>,
    has_hints: bool,
}

impl NodeAdapter {
    /// Asks a linked component what it is.
    pub(super) async fn describe(callee: Callee<Linked>) -> Result<Self, LoadError> {
        let said = callee
            .call(
                Given::to_describe(),
                |linked, store| {
                    Box::pin(async move {
                        let plugin = linked.instantiate_async(&mut *store).await?;
                        plugin.omnivisor_adapter_node().call_describe(store).await
                    })
                },
                Ok,
            )
            .await;
        let plugin = || callee.name.to_string();
        let info = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        let (info, has_hints) =
            observed::info(info).map_err(|reason| LoadError::Description { plugin: plugin(), reason })?;
        Ok(Self { callee, info: Arc::new(info), has_hints })
    }
}

fn about(link: Arc<dyn Exchange>, deadline: Instant) -> Given {
    Given { link: Some(link), deadline: Some(deadline), ..Given::default() }
}

fn without_node(deadline: Instant) -> Given {
    Given { deadline: Some(deadline), ..Given::default() }
}

fn named(id: &ProcessId) -> Id {
    Id { group: id.group().to_owned(), name: id.name().to_owned() }
}

impl Adapter for NodeAdapter {
    fn name(&self) -> &str {
        &self.callee.name
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        &self.info
    }

    fn observe(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        let call = self.callee.call(
            about(link, deadline),
            |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_adapter_node().call_observe(store).await
                })
            },
            |said| said.map_err(accepted).and_then(observed::observation),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn observe_some(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        ids: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        let named: Vec<Id> = ids.iter().map(named).collect();
        let call = self.callee.call(
            about(link, deadline),
            |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_adapter_node().call_observe_some(store, &named).await
                })
            },
            |said| said.map_err(accepted).and_then(observed::processes),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn run(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let asked = match operation {
            Operation::Start => wit::Operation::Start,
            Operation::Stop => wit::Operation::Stop,
            Operation::Restart => wit::Operation::Restart,
            Operation::Monitor => wit::Operation::Monitor,
            Operation::Unmonitor => wit::Operation::Unmonitor,
        };
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_adapter_node().call_run(store, &asked, &named(&id)).await
                })
            },
            |said| match said.map_err(accepted)? {
                wit::Outcome::Accepted | wit::Outcome::Other(_) => Ok(true),
                wit::Outcome::Unchanged => Ok(false),
            },
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        let channel = match channel {
            LogChannel::Stdout => wit::LogChannel::Stdout,
            LogChannel::Stderr => wit::LogChannel::Stderr,
        };
        let asked = match range {
            LogRange::Tail { bytes_max } => wit::LogRange::Tail(bytes_max),
            LogRange::From { offset, bytes_max } => wit::LogRange::From((offset, bytes_max)),
        };
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    let node = plugin.omnivisor_adapter_node();
                    node.call_read_log(store, &named(&id), &channel, asked).await
                })
            },
            move |said| said.map_err(accepted).and_then(|slice| observed::slice(slice, range)),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn hint_request(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        if !self.has_hints {
            return Box::pin(async { Ok(None) });
        }
        let call = self.callee.call(
            without_node(deadline),
            |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_adapter_node().call_hint_request(store).await
                })
            },
            observed::stream,
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn read_hints(
        &self,
        deadline: Instant,
        rest: Vec<u8>,
        piece: Vec<u8>,
    ) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        let call = self.callee.call(
            without_node(deadline),
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_adapter_node().call_read_hints(store, &rest, &piece).await
                })
            },
            observed::hints,
        );
        Box::pin(async move { Ok(call.await?) })
    }
}

impl LoadError {
    /// A `describe` that gave no answer; its only fault is a failure, for it returns no result.
    pub(super) fn describe(plugin: String, ending: Ending) -> Self {
        match ending {
            Ending::Failure(source) => Self::Describe { plugin, source },
            Ending::Fault(fault) => Self::Description { plugin, reason: fault.message },
        }
    }
}
