//! Node adapter for a process manager with two routes: `GET /processes`, and `POST /processes/NAME/start` or `/stop`.
//!
//! It sends requests to the node of each call and makes sense of the replies. Where the node is and how it is entered is
//! the host's business. Every call has a fresh instance: nothing in memory lasts from one to the next.

use plugin_sdk::adapter::{
    Ability, AdapterInfo, LogChannel, LogRange, LogSlice, Operation, Outcome, Process, ProcessId, ProcessState, Snapshot,
};
use plugin_sdk::{Exchange, Fault, NodeAdapter, Request, Response, log};
use serde::Deserialize;

/// The adapter.
#[derive(Debug)]
pub struct Adapter;

/// What `GET /processes` answers.
#[derive(Deserialize)]
struct Listing {
    manager: String,
    processes: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    state: String,
    pid: Option<u32>,
}

impl NodeAdapter for Adapter {
    fn describe() -> AdapterInfo {
        AdapterInfo {
            kind: "toy".to_owned(),
            abilities: vec![Ability::Start, Ability::Stop],
            log_channels: Vec::new(),
            extra: Vec::new(),
        }
    }

    fn observe(link: &mut dyn Exchange) -> Result<Snapshot, Fault> {
        let response = send(link, "GET", "/processes")?;
        let listing: Listing = match response.status {
            200 => serde_json::from_slice(&response.body).map_err(|error| bad_reply(&error))?,
            401 | 403 => return Err(Fault::node("node.unauthenticated", "the node refuses the configured password")),
            404 => return Err(Fault::node("node.wrong_endpoint", "nothing at this node serves /processes")),
            status => return Err(bad_reply(&format!("HTTP {status}"))),
        };
        Ok(Snapshot {
            version: listing.manager,
            identification: String::new(),
            processes: listing.processes.into_iter().map(process).collect(),
            extra: Vec::new(),
        })
    }

    fn observe_some(link: &mut dyn Exchange, ids: Vec<ProcessId>) -> Result<Vec<Process>, Fault> {
        // This manager has no cheaper question. Those that it does not have are left out.
        let mut processes = Self::observe(link)?.processes;
        processes.retain(|process| ids.contains(&process.id));
        Ok(processes)
    }

    fn run(link: &mut dyn Exchange, operation: Operation, id: ProcessId) -> Result<Outcome, Fault> {
        let word = match operation {
            Operation::Start => "start",
            Operation::Stop => "stop",
            _ => return Err(Fault::unsupported("operation.unknown", "this manager starts and stops, no more")),
        };
        let response = send(link, "POST", &format!("/processes/{}/{word}", encoded(&id.name)))?;
        match response.status {
            200..=299 => Ok(Outcome::Accepted),
            404 => Err(Fault::caller("process.not_found", "the node has no such process")),
            409 => Ok(Outcome::Unchanged),
            status => Err(bad_reply(&format!("HTTP {status}"))),
        }
    }

    fn read_log(_: &mut dyn Exchange, _: ProcessId, _: LogChannel, _: LogRange) -> Result<LogSlice, Fault> {
        Err(Fault::unsupported("log.not_found", "this manager keeps no logs"))
    }
}

fn send(link: &mut dyn Exchange, method: &str, path: &str) -> Result<Response, Fault> {
    let request =
        Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    // Without a reply there is nothing to add: `?` turns it into the fault that the host expects.
    let response = link.send(request)?;
    log::debug!("asked the node", path = path, status = response.status);
    Ok(response)
}

/// A process as the host knows it. This manager has no groups, so each process is in one of its own name.
fn process(entry: Entry) -> Process {
    let state = match entry.state.as_str() {
        "running" => ProcessState::Running,
        "stopped" => ProcessState::Stopped,
        _ => ProcessState::Unknown,
    };
    Process {
        id: ProcessId { group: entry.name.clone(), name: entry.name },
        state,
        native_state: entry.state,
        pid: entry.pid,
        started_ms: None,
        uptime_ms: None,
        exit_status: None,
        message: String::new(),
        extra: Vec::new(),
    }
}

fn bad_reply(why: &dyn std::fmt::Display) -> Fault {
    Fault::node("node.bad_reply", format!("the node's reply makes no sense: {why}"))
}

/// A part of a path: all but letters, digits and `-._~` percent-encoded (RFC 3986, section 2.3).
fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

plugin_sdk::export_node_adapter!(Adapter);

#[cfg(test)]
mod tests;
