//! Orders to supervisord itself, and what its configuration files say (S13).

use crate::fault::{ALREADY_ADDED, CANT_REREAD};
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use crate::{group, name};
use plugin_sdk::adapter::{ConfigurationChanges, NodeOperation, Outcome};
use plugin_sdk::{Exchange, Fault};

/// Gives one order, once, and does not wait for its effect.
pub(crate) fn run(link: &mut dyn Exchange, operation: &NodeOperation) -> Result<Outcome, Fault> {
    let call = match operation {
        NodeOperation::AddGroup(added) => {
            Call::new("supervisor.addProcessGroup", vec![Parameter::Text(name::group(added)?)])
        }
        NodeOperation::RemoveGroup(removed) => {
            Call::new("supervisor.removeProcessGroup", vec![Parameter::Text(name::group(removed)?)])
        }
        NodeOperation::Restart => Call::new("supervisor.restart", Vec::new()),
        NodeOperation::Shutdown => Call::new("supervisor.shutdown", Vec::new()),
        NodeOperation::Other(word) => {
            return Err(Fault::unsupported(
                "operation.unknown",
                format!("supervisord is not asked to `{word}` itself"),
            ));
        }
    };
    let replies = rpc::send(link, &[call])?;
    let document = replies.document();
    match one(replies.answers(&document)?)? {
        Ok(Value::Bool(true)) => Ok(Outcome::Accepted),
        Ok(_) => Err(rpc::bad_reply("an order was not answered with yes")),
        Err(fault) if fault.code == ALREADY_ADDED => Ok(Outcome::Unchanged),
        Err(fault) => Err(group::not_taken(fault)),
    }
}

/// Has supervisord read its files. It changes nothing by that, and says the same until it is acted upon.
pub(crate) fn reread(link: &mut dyn Exchange) -> Result<ConfigurationChanges, Fault> {
    let replies = rpc::send(link, &[Call::new("supervisor.reloadConfig", Vec::new())])?;
    let document = replies.document();
    let said = one(replies.answers(&document)?)?.map_err(|fault| {
        if fault.code != CANT_REREAD {
            return fault.into_fault();
        }
        // Its own text is what somebody who writes such a file needs; whoever may ask for this may know it.
        let why = fault.text.strip_prefix("CANT_REREAD: ").unwrap_or(&fault.text);
        Fault::caller("node.cannot_reread", format!("supervisord cannot read its configuration: {why}"))
    })?;
    // `[[added, changed, removed]]`
    let lists = said.as_array().and_then(|outer| outer.first()).and_then(Value::as_array).unwrap_or_default();
    let [added, changed, removed] = lists else {
        return Err(rpc::bad_reply("it does not hold three lists of groups"));
    };
    let names = |list: &Value<'_>| -> Vec<String> {
        let names = list.as_array().unwrap_or_default();
        names.iter().filter_map(Value::as_text).map(std::borrow::Cow::into_owned).collect()
    };
    Ok(ConfigurationChanges { added: names(added), changed: names(changed), removed: names(removed) })
}

fn one(answers: Vec<Answer<'_>>) -> Result<Answer<'_>, Fault> {
    answers.into_iter().next().ok_or_else(|| rpc::bad_reply("it holds no answer"))
}

#[cfg(test)]
mod tests;
