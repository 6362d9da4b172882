//! Node adapters, of every version of their contract that is served.
//!
//! The host speaks in the words of the newest version; the file of an older one translates. Which version a component is
//! of is told by what it exports, never by a number in a manifest.

mod linked;
mod observed;
mod v0_1;
mod v0_2;

use crate::model::{
    Ability, AdapterInfo, ConfigChanges, GroupOperation, LogChannel, LogRange, LogSlice, MemberOutcome, NodeOperation,
    Observation, Operation, Process, ProcessAct, ProcessId,
};
use crate::plugin::bindings::types::ProcessId as Id;
use crate::plugin::call::{Callee, Given};
use crate::plugin::ending::{Ending, Refused};
use crate::plugin::fault::accepted;
use crate::plugin::{Adapter, AdapterError, BoxFuture, Exchange, HintsRead, LoadError, StreamRequest};
use linked::Said;
use std::sync::Arc;
use tokio::time::Instant;
use v0_2::wit;

pub(super) use linked::Linked;

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
            .call(Given::to_describe(), |linked, store| Box::pin(async move { linked.describe(store).await }), Ok)
            .await;
        let plugin = || callee.name.to_string();
        let info = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        let (info, has_hints) =
            observed::info(info).map_err(|reason| LoadError::Description { plugin: plugin(), reason })?;
        Ok(Self { callee, info: Arc::new(info), has_hints })
    }

    /// Gives an order to one process.
    fn order(
        &self,
        given: Given,
        operation: wit::Operation,
        id: &ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let id = named(id);
        let call = self.callee.call(
            given,
            move |linked, store| Box::pin(async move { linked.run(store, &operation, &id).await }),
            taken,
        );
        Box::pin(async move { Ok(call.await?) })
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

const fn channel_of(channel: LogChannel) -> wit::LogChannel {
    match channel {
        LogChannel::Stdout => wit::LogChannel::Stdout,
        LogChannel::Stderr => wit::LogChannel::Stderr,
    }
}

/// True when the supervisor took an order, false when all was as asked already.
fn taken(said: Result<wit::Outcome, crate::plugin::bindings::types::Fault>) -> Result<bool, Refused> {
    said.map(|outcome| observed::is_accepted(&outcome)).map_err(accepted)
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
            |linked, store| Box::pin(async move { linked.observe(store).await }),
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
            |linked, store| Box::pin(async move { linked.observe_some(store, &named).await }),
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
        self.order(about(link, deadline), asked, &id)
    }

    fn act(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        act: ProcessAct,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let asked = match act {
            ProcessAct::Signal(signal) => wit::Operation::Signal(signal.as_str().to_owned()),
            ProcessAct::SendInput(bytes) => wit::Operation::SendInput(bytes),
            ProcessAct::ClearLogs => wit::Operation::ClearLogs,
        };
        self.order(about(link, deadline), asked, &id)
    }

    fn run_group(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: GroupOperation,
        group: String,
    ) -> BoxFuture<'_, Result<Vec<MemberOutcome>, AdapterError>> {
        let asked = match operation {
            GroupOperation::Start => wit::GroupOperation::Start,
            GroupOperation::Stop => wit::GroupOperation::Stop,
        };
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| Box::pin(async move { linked.run_group(store, &asked, &group).await }),
            |said| said.map_err(accepted).and_then(observed::members),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn run_node(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: NodeOperation,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let asked = match operation {
            NodeOperation::AddGroup(group) => wit::NodeOperation::AddGroup(group),
            NodeOperation::RemoveGroup(group) => wit::NodeOperation::RemoveGroup(group),
            NodeOperation::Restart => wit::NodeOperation::Restart,
            NodeOperation::Shutdown => wit::NodeOperation::Shutdown,
        };
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| Box::pin(async move { linked.run_node(store, &asked).await }),
            taken,
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn reread(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<ConfigChanges, AdapterError>> {
        let call = self.callee.call(
            about(link, deadline),
            |linked, store| Box::pin(async move { linked.reread(store).await }),
            |said| said.map_err(accepted).and_then(observed::changes),
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
        let asked = match range {
            LogRange::Tail { bytes_max } => wit::LogRange::Tail(bytes_max),
            LogRange::From { offset, bytes_max } => wit::LogRange::From((offset, bytes_max)),
        };
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| {
                Box::pin(async move { linked.read_log(store, &named(&id), &channel_of(channel), asked).await })
            },
            move |said| said.map_err(accepted).and_then(|slice| observed::slice(slice, range)),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn follow_request(
        &self,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
    ) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        if !self.info.abilities.contains(&Ability::FollowLogs) {
            return Box::pin(async { Ok(None) });
        }
        let call = self.callee.call(
            without_node(deadline),
            move |linked, store| {
                Box::pin(async move { linked.follow_request(store, &named(&id), &channel_of(channel)).await })
            },
            |said| observed::stream(said, "the log stream"),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn read_node_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        bytes_max: u32,
    ) -> BoxFuture<'_, Result<Vec<u8>, AdapterError>> {
        let call = self.callee.call(
            about(link, deadline),
            move |linked, store| Box::pin(async move { linked.read_node_log(store, bytes_max).await }),
            move |said| said.map_err(accepted).map(|bytes| observed::end_of(bytes, bytes_max)),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn hint_request(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        if !self.has_hints {
            return Box::pin(async { Ok(None) });
        }
        let call = self.callee.call(
            without_node(deadline),
            |linked, store| Box::pin(async move { linked.hint_request(store).await }),
            |said| observed::stream(said, "the hint stream"),
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
            move |linked, store| Box::pin(async move { linked.read_hints(store, &rest, &piece).await }),
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
