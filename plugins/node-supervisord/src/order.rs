use crate::fault::{ALREADY_STARTED, RpcFault};
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use crate::{name, process};
use plugin_sdk::adapter::{Operation, Outcome, ProcessId, ProcessState};
use plugin_sdk::{Exchange, Fault};

/// Gives one order, once, to one process, and does not wait for its effect.
pub(crate) fn run(link: &mut dyn Exchange, operation: &Operation, id: &ProcessId) -> Result<Outcome, Fault> {
    let method = match operation {
        Operation::Start => "supervisor.startProcess",
        Operation::Stop => "supervisor.stopProcess",
        Operation::Restart => return Err(unknown("restart")),
        Operation::Monitor => return Err(unknown("monitor")),
        Operation::Unmonitor => return Err(unknown("unmonitor")),
        Operation::Other(word) => return Err(unknown(word)),
    };
    let name = name::literal(id)?;
    let order = Call::new(method, vec![Parameter::Text(name.clone()), Parameter::Bool(false)]);
    // Asked in the same request, because a start while the process is still stopping is answered with "true", does
    // nothing, and leaves no other trace (the fault of S6 comes only to those who wait).
    let after = Call::new("supervisor.getProcessInfo", vec![Parameter::Text(name)]);
    let replies = rpc::send(link, &[order, after])?;
    let document = replies.document();
    let [order, after] = <[Answer<'_>; 2]>::try_from(replies.answers(&document)?)
        .map_err(|_| rpc::bad_reply("it holds another number of answers"))?;
    match order {
        Ok(Value::Bool(true)) if matches!(operation, Operation::Start) && is_down(&after) => {
            Err(Fault::caller("process.stopping", "the process had not ended yet, so the order to start did nothing"))
        }
        Ok(Value::Bool(true)) => Ok(Outcome::Accepted),
        Ok(_) => Err(rpc::bad_reply("an order to one process was not answered with yes")),
        Err(fault) if fault.code == ALREADY_STARTED => Ok(Outcome::Unchanged),
        Err(fault) => Err(explain(fault, &after)),
    }
}

fn unknown(word: &str) -> Fault {
    Fault::unsupported("operation.unknown", format!("supervisord is not asked to `{word}`"))
}

/// True when the process is stopping, or just ended a stop: right after an order to start, neither is its effect.
fn is_down(after: &Answer<'_>) -> bool {
    let state = after.as_ref().ok().and_then(|info| info.member("state")).and_then(Value::as_int).map(process::state);
    matches!(state, Some(ProcessState::Stopping | ProcessState::Stopped))
}

/// The fault, with supervisord's explanation of why a program did not start when it has one.
fn explain(fault: RpcFault, after: &Answer<'_>) -> Fault {
    let why = after.as_ref().ok().and_then(process::read).map(|process| process.message).unwrap_or_default();
    let mut fault = fault.into_fault();
    if fault.code == "process.spawn_error" && !why.is_empty() {
        fault.message = format!("the program did not start: {why}");
    }
    fault
}

#[cfg(test)]
mod tests;
