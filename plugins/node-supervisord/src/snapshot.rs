use crate::fault::BAD_NAME;
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use crate::{name, process};
use plugin_sdk::adapter::{Process, ProcessId, Snapshot};
use plugin_sdk::{Exchange, Fault, log};

/// Processes in a snapshot, as in `wit/adapter`.
const PROCESSES_MAX: usize = 10_000;
/// Processes asked for in one request; a call in XML takes about 300 bytes and a name up to 511.
const ASKED_MAX: usize = 256;

/// Reads everything in one request.
pub(crate) fn everything(link: &mut dyn Exchange) -> Result<Snapshot, Fault> {
    let calls = [
        Call::new("supervisor.getState", Vec::new()),
        Call::new("supervisor.getSupervisorVersion", Vec::new()),
        Call::new("supervisor.getIdentification", Vec::new()),
        Call::new("supervisor.getAllProcessInfo", Vec::new()),
    ];
    let replies = rpc::send(link, &calls)?;
    let document = replies.document();
    let [state, version, identification, infos] = <[Answer<'_>; 4]>::try_from(replies.answers(&document)?)
        .map_err(|_| rpc::bad_reply("it holds another number of answers"))?;
    check_state(state)?;
    let infos = infos.map_err(crate::fault::RpcFault::into_fault)?;
    let infos = infos.as_array().ok_or_else(|| rpc::bad_reply("it holds no list of processes"))?;
    let processes: Vec<Process> = infos.iter().filter_map(process::read).take(PROCESSES_MAX).collect();
    let skipped = infos.len() - processes.len();
    let mut extra = Vec::new();
    if skipped > 0 {
        log::warn!("some processes are not shown: they have no usable name, or there are too many", skipped = skipped);
        extra.push(("skipped".to_owned(), skipped.to_string()));
    }
    Ok(Snapshot { version: word(version), identification: word(identification), processes, extra })
}

fn nudge(link: &mut dyn Exchange) -> Result<Vec<Process>, Fault> {
    let replies = rpc::send(link, &[Call::new("supervisor.getState", Vec::new())])?;
    let document = replies.document();
    let [state] = <[Answer<'_>; 1]>::try_from(replies.answers(&document)?)
        .map_err(|_| rpc::bad_reply("it holds another number of answers"))?;
    check_state(state)?;
    Ok(Vec::new())
}

/// supervisord's own state: 1 running, 2 fatal (it still answers), 0 restarting, -1 shutting down.
fn check_state(state: Answer<'_>) -> Result<(), Fault> {
    let state = state.map_err(crate::fault::RpcFault::into_fault)?;
    match state.member("statecode").and_then(Value::as_int) {
        Some(0 | -1) => Err(Fault::node("node.shutting_down", "supervisord is shutting down or restarting")),
        _ => Ok(()),
    }
}

/// A text that is good to have and no reason to fail.
fn word(answer: Answer<'_>) -> String {
    answer.ok().as_ref().and_then(Value::as_text).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// Reads some processes, in as few requests as their number allows. Those that do not exist are left out. Nobody asked
/// for is a nudge: any request wakes supervisord's loop, which otherwise sleeps up to a second over a child's end.
pub(crate) fn some(link: &mut dyn Exchange, ids: &[ProcessId]) -> Result<Vec<Process>, Fault> {
    if ids.is_empty() {
        return nudge(link);
    }
    let names: Vec<String> = ids.iter().filter_map(|id| name::literal(id).ok()).collect();
    let mut processes = Vec::with_capacity(names.len());
    for names in names.chunks(ASKED_MAX) {
        let calls: Vec<Call> = names
            .iter()
            .map(|name| Call::new("supervisor.getProcessInfo", vec![Parameter::Text(name.clone())]))
            .collect();
        let replies = rpc::send(link, &calls)?;
        let document = replies.document();
        for answer in replies.answers(&document)? {
            match answer {
                Ok(info) => processes.extend(process::read(&info)),
                Err(fault) if fault.code == BAD_NAME => {}
                Err(fault) => return Err(fault.into_fault()),
            }
        }
    }
    Ok(processes)
}

#[cfg(test)]
mod tests;
