//! Node adapter: supervisord over its XML-RPC interface (S1 to S27 of the project's notes on supervisord 4.3).
//!
//! Everything is sent as one `system.multicall` to `POST /RPC2`, so that one observation costs the node one request and
//! what belongs together is read at one moment: supervisord works such a request off without serving anything else in
//! between. It must not know where the node is or how it is entered; that is the host's.

mod daemon;
mod fault;
mod group;
mod hints;
mod logs;
mod name;
mod order;
mod process;
mod rpc;
#[cfg(test)]
mod script;
mod snapshot;
mod xml;

use plugin_sdk::adapter::{
    Ability, AdapterInfo, ConfigurationChanges, GroupOperation, Hints, LogChannel, LogRange, LogSlice, MemberOutcome,
    NodeOperation, Operation, Outcome, Process, ProcessId, Snapshot, StreamRequest,
};
use plugin_sdk::{Exchange, Fault, NodeAdapter};

/// The adapter.
#[derive(Debug)]
pub struct Supervisord;

impl NodeAdapter for Supervisord {
    fn describe() -> AdapterInfo {
        AdapterInfo {
            kind: "supervisord".to_owned(),
            abilities: vec![
                Ability::Start,
                Ability::Stop,
                Ability::Signal,
                Ability::SendInput,
                Ability::ClearLogs,
                Ability::GroupStart,
                Ability::GroupStop,
                Ability::Reread,
                Ability::AddGroup,
                Ability::RemoveGroup,
                Ability::RestartNode,
                Ability::ShutdownNode,
                Ability::Hints,
                Ability::FollowLogs,
                Ability::NodeLog,
            ],
            log_channels: vec![LogChannel::Stdout, LogChannel::Stderr],
            // Its loop reaps and writes its log when anything wakes it, and half a request does.
            extra: vec![("wakes-at-bytes".to_owned(), "true".to_owned())],
        }
    }

    fn observe(link: &mut dyn Exchange) -> Result<Snapshot, Fault> {
        snapshot::everything(link)
    }

    fn observe_some(link: &mut dyn Exchange, ids: Vec<ProcessId>) -> Result<Vec<Process>, Fault> {
        snapshot::some(link, &ids)
    }

    fn run(link: &mut dyn Exchange, operation: Operation, id: ProcessId) -> Result<Outcome, Fault> {
        order::run(link, &operation, &id)
    }

    fn run_group(
        link: &mut dyn Exchange,
        operation: GroupOperation,
        group: String,
    ) -> Result<Vec<MemberOutcome>, Fault> {
        group::run(link, &operation, &group)
    }

    fn run_node(link: &mut dyn Exchange, operation: NodeOperation) -> Result<Outcome, Fault> {
        daemon::run(link, &operation)
    }

    fn reread(link: &mut dyn Exchange) -> Result<ConfigurationChanges, Fault> {
        daemon::reread(link)
    }

    fn follow_request(id: ProcessId, channel: LogChannel) -> Option<StreamRequest> {
        logs::follow(&id, &channel)
    }

    fn read_node_log(link: &mut dyn Exchange, bytes_max: u32) -> Result<Vec<u8>, Fault> {
        logs::own(link, bytes_max)
    }

    fn read_log(
        link: &mut dyn Exchange,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> Result<LogSlice, Fault> {
        logs::read(link, &id, &channel, &range)
    }

    fn hint_request() -> Option<StreamRequest> {
        Some(StreamRequest { path: "/mainlogtail".to_owned(), headers: Vec::new() })
    }

    fn read_hints(rest: Vec<u8>, piece: Vec<u8>) -> Hints {
        hints::read(rest, &piece)
    }
}

plugin_sdk::export_node_adapter!(Supervisord);
