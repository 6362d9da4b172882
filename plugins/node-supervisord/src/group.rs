use crate::fault::{ALREADY_STARTED, BAD_NAME, NOT_RUNNING, RpcFault, SUCCESS};
use crate::order::is_down;
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use crate::{name, process};
use plugin_sdk::adapter::{GroupOperation, MemberOutcome, Outcome, Process, ProcessId};
use plugin_sdk::{Exchange, Fault};

/// Gives one order, once, to all processes of a group, and does not wait for its effect. supervisord keeps to their
/// priorities and leaves out those that are as asked already.
pub(crate) fn run(
    link: &mut dyn Exchange,
    operation: &GroupOperation,
    group: &str,
) -> Result<Vec<MemberOutcome>, Fault> {
    let method = match operation {
        GroupOperation::Start => "supervisor.startProcessGroup",
        GroupOperation::Stop => "supervisor.stopProcessGroup",
        GroupOperation::Other(word) => {
            return Err(Fault::unsupported(
                "operation.unknown",
                format!("supervisord is not asked to `{word}` a group"),
            ));
        }
    };
    let group = name::group(group)?;
    let order = Call::new(method, vec![Parameter::Text(group), Parameter::Bool(false)]);
    // Asked in the same request for the same reason as in `order`: a start that does nothing is answered with "OK".
    let after = Call::new("supervisor.getAllProcessInfo", Vec::new());
    let replies = rpc::send(link, &[order, after])?;
    let document = replies.document();
    let [order, after] = <[Answer<'_>; 2]>::try_from(replies.answers(&document)?)
        .map_err(|_| rpc::bad_reply("it holds another number of answers"))?;
    let members = order.map_err(not_taken)?;
    let members = members.as_array().ok_or_else(|| rpc::bad_reply("it holds no list of outcomes"))?;
    let after: Vec<Process> =
        after.ok().as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(process::read).collect();
    let is_start = matches!(operation, GroupOperation::Start);
    let member = |member: &Value<'_>| -> Option<MemberOutcome> {
        let text = |key: &str| member.member(key).and_then(Value::as_text).map(std::borrow::Cow::into_owned);
        let id = ProcessId { group: text("group")?, name: text("name")? };
        let status = member.member("status").and_then(Value::as_int)?;
        let seen = after.iter().find(|process| process.id == id);
        let outcome = match status {
            SUCCESS if is_start && seen.is_some_and(is_down) => {
                let message = "the process had not ended yet, so the order to start did nothing";
                Err(Fault::caller("process.stopping", message))
            }
            SUCCESS => Ok(Outcome::Accepted),
            ALREADY_STARTED if is_start => Ok(Outcome::Unchanged),
            NOT_RUNNING if !is_start => Ok(Outcome::Unchanged),
            code => Err(RpcFault { code, text: text("description").unwrap_or_default() }.into_fault()),
        };
        Some(MemberOutcome { id, outcome })
    };
    Ok(members.iter().filter_map(member).collect())
}

/// The fault of an order to a group as a whole: what it names is a group, and no process.
pub(crate) fn not_taken(fault: RpcFault) -> Fault {
    if fault.code == BAD_NAME {
        return Fault::caller("group.not_found", "supervisord has no such group").with("text", fault.text);
    }
    fault.into_fault()
}

#[cfg(test)]
mod tests;
