//! Node adapter: supervisord over its XML-RPC interface (S1 to S27 of the project's notes on supervisord 4.3).
//!
//! Everything is sent as one `system.multicall` to `POST /RPC2`, so that one observation costs the node one request and
//! what belongs together is read at one moment: supervisord works such a request off without serving anything else in
//! between. It must not know where the node is or how it is entered; that is the host's.

mod fault;
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
    AdapterInfo, Hints, LogChannel, LogRange, LogSlice, Operation, Outcome, Process, ProcessId, Snapshot, StreamRequest,
};
use plugin_sdk::{Exchange, Fault, NodeAdapter};

/// The adapter.
#[derive(Debug)]
pub struct Supervisord;

impl NodeAdapter for Supervisord {
    fn describe() -> AdapterInfo {
        AdapterInfo {
            kind: "supervisord".to_owned(),
            operations: vec![Operation::Start, Operation::Stop],
            log_channels: vec![LogChannel::Stdout, LogChannel::Stderr],
            has_hints: true,
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
