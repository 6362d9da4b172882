use crate::fault::{ALREADY_STARTED, RpcFault};
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use crate::{name, process};
use plugin_sdk::adapter::{Operation, Outcome, Process, ProcessId, ProcessState};
use plugin_sdk::{Exchange, Fault};

/// Gives one order, once, to one process, and does not wait for its effect.
pub(crate) fn run(link: &mut dyn Exchange, operation: &Operation, id: &ProcessId) -> Result<Outcome, Fault> {
    let name = Parameter::Text(name::literal(id)?);
    match operation {
        Operation::Start => change(link, true, name),
        Operation::Stop => change(link, false, name),
        Operation::Signal(signal) => act(link, "supervisor.signalProcess", vec![name, Parameter::Text(signal.clone())]),
        Operation::SendInput(bytes) => send_input(link, name, bytes),
        Operation::ClearLogs => act(link, "supervisor.clearProcessLogs", vec![name]),
        Operation::Restart => Err(unknown("restart")),
        Operation::Monitor => Err(unknown("monitor")),
        Operation::Unmonitor => Err(unknown("unmonitor")),
        Operation::Other(word) => Err(unknown(word)),
    }
}

/// Starts or stops it.
fn change(link: &mut dyn Exchange, is_start: bool, name: Parameter) -> Result<Outcome, Fault> {
    let method = if is_start { "supervisor.startProcess" } else { "supervisor.stopProcess" };
    let order = Call::new(method, vec![name.clone(), Parameter::Bool(false)]);
    // Asked in the same request, because a start while the process is still stopping is answered with "true", does
    // nothing, and leaves no other trace (the fault of S6 comes only to those who wait).
    let after = Call::new("supervisor.getProcessInfo", vec![name]);
    let replies = rpc::send(link, &[order, after])?;
    let document = replies.document();
    let [order, after] = <[Answer<'_>; 2]>::try_from(replies.answers(&document)?)
        .map_err(|_| rpc::bad_reply("it holds another number of answers"))?;
    let seen = after.ok().as_ref().and_then(process::read);
    match order {
        Ok(Value::Bool(true)) if is_start && seen.as_ref().is_some_and(is_down) => {
            Err(Fault::caller("process.stopping", "the process had not ended yet, so the order to start did nothing"))
        }
        Ok(Value::Bool(true)) => Ok(Outcome::Accepted),
        Ok(_) => Err(rpc::bad_reply("an order to one process was not answered with yes")),
        Err(fault) if fault.code == ALREADY_STARTED => Ok(Outcome::Unchanged),
        Err(fault) => Err(explain(fault, seen)),
    }
}

/// Does what has no effect on the state.
fn act(link: &mut dyn Exchange, method: &'static str, parameters: Vec<Parameter>) -> Result<Outcome, Fault> {
    let replies = rpc::send(link, &[Call::new(method, parameters)])?;
    let document = replies.document();
    match replies.answers(&document)?.into_iter().next() {
        Some(Ok(Value::Bool(true))) => Ok(Outcome::Accepted),
        Some(Ok(_)) | None => Err(rpc::bad_reply("an order to one process was not answered with yes")),
        Some(Err(fault)) => Err(fault.into_fault()),
    }
}

/// supervisord takes bytes only as text, and text only as UTF-8; in base64 it takes every character.
fn send_input(link: &mut dyn Exchange, name: Parameter, bytes: &[u8]) -> Result<Outcome, Fault> {
    if std::str::from_utf8(bytes).is_err() {
        let message = "supervisord passes on UTF-8 only, and the input is not: nothing was sent";
        return Err(Fault::caller("process.input_not_text", message));
    }
    let sent = act(link, "supervisor.sendProcessStdin", vec![name, Parameter::Bytes(bytes.to_vec())]);
    // Here "no file" is about what the program has closed.
    sent.map_err(|fault| match fault.code.as_str() {
        "process.no_file" => Fault::caller("process.no_input", "the process does not read its standard input"),
        _ => fault,
    })
}

fn unknown(word: &str) -> Fault {
    Fault::unsupported("operation.unknown", format!("supervisord is not asked to `{word}`"))
}

/// True when the process is stopping, or just ended a stop: right after an order to start, neither is its effect.
pub(crate) fn is_down(after: &Process) -> bool {
    matches!(after.state, ProcessState::Stopping | ProcessState::Stopped)
}

/// The fault, with supervisord's explanation of why a program did not start when it has one.
fn explain(fault: RpcFault, after: Option<Process>) -> Fault {
    let why = after.map(|process| process.message).unwrap_or_default();
    let mut fault = fault.into_fault();
    if fault.code == "process.spawn_error" && !why.is_empty() {
        fault.message = format!("the program did not start: {why}");
    }
    fault
}

#[cfg(test)]
mod tests;
