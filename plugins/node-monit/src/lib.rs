//! Node adapter: Monit over its HTTP interface (`docs/monit.md` tells what was learned from a real one).
//!
//! One document, `/_status2`, describes everything, and one form, `/_doaction`, takes every order. Of monit's services
//! only the processes are shown: a file or a program that is run as a check has no life to steer. It must not know where
//! the node is or how it is entered; that is the host's.

mod link;
mod order;
mod process;
mod report;
#[cfg(test)]
mod script;
mod snapshot;

use plugin_sdk::adapter::{
    Ability, AdapterInfo, LogChannel, LogRange, LogSlice, Operation, Outcome, Process, ProcessId, Snapshot,
};
use plugin_sdk::{Exchange, Fault, NodeAdapter};

/// The adapter.
#[derive(Debug)]
pub struct Monit;

impl NodeAdapter for Monit {
    fn describe() -> AdapterInfo {
        AdapterInfo {
            kind: "monit".to_owned(),
            abilities: vec![Ability::Start, Ability::Stop, Ability::Restart, Ability::Monitor, Ability::Unmonitor],
            log_channels: Vec::new(),
            extra: Vec::new(),
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

    fn read_log(_: &mut dyn Exchange, _: ProcessId, _: LogChannel, _: LogRange) -> Result<LogSlice, Fault> {
        Err(Fault::unsupported("log.unsupported", "monit does not keep what its processes print"))
    }
}

plugin_sdk::export_node_adapter!(Monit);
