use crate::process::{self, Pending};
use crate::report::Report;
use crate::{link, snapshot};
use plugin_sdk::adapter::{Operation, Outcome, ProcessId};
use plugin_sdk::{Exchange, Fault};

/// Gives one order, once, to one process, and does not wait for its effect.
///
/// monit keeps one pending action for each service, and a further one takes the place of what it had not finished: so
/// it is looked at first, and an order that would make another go away is refused.
pub(crate) fn run(link: &mut dyn Exchange, operation: &Operation, id: &ProcessId) -> Result<Outcome, Fault> {
    let action = match operation {
        Operation::Start => Pending::Start,
        Operation::Stop => Pending::Stop,
        Operation::Restart => Pending::Restart,
        Operation::Monitor => Pending::Monitor,
        Operation::Unmonitor => Pending::Unmonitor,
        Operation::Signal(_) => return Err(unknown("signal")),
        Operation::SendInput(_) => return Err(unknown("send-input")),
        Operation::ClearLogs => return Err(unknown("clear-logs")),
        Operation::Other(word) => return Err(unknown(word)),
    };
    let report = snapshot::report(link)?;
    let is_meant = |process: &plugin_sdk::adapter::Process| process.id == *id;
    let found = report.services.iter().find(|service| process::read(service).is_some_and(|it| is_meant(&it)));
    let Some(service) = found else {
        return Err(Fault::caller("process.not_found", "monit has no such process"));
    };
    match Pending::of(service) {
        Some(pending) if pending == action => return Ok(Outcome::Accepted), // somebody was faster
        Some(Pending::Stop) => {
            return Err(Fault::caller("process.stopping", "monit has not finished stopping it"));
        }
        Some(pending) => {
            let message = format!("monit has not finished its last order, which is to {} it", pending.word());
            return Err(Fault::caller("process.action_pending", message));
        }
        None => {}
    }
    let is_monitored = process::is_monitored(service);
    let is_as_asked = match action {
        Pending::Start => process::pid(service).is_some(),
        Pending::Monitor => is_monitored,
        Pending::Unmonitor => !is_monitored,
        // monit takes such an order and lets the process run on: for a restart it only watches it again.
        Pending::Stop | Pending::Restart if !is_monitored => {
            let message = "monit stops only what it watches, and it does not watch this: monitor or start it first";
            return Err(Fault::caller("process.not_monitored", message));
        }
        Pending::Stop | Pending::Restart => false,
    };
    if is_as_asked {
        return Ok(Outcome::Unchanged);
    }
    link::act(link, action.word(), &spelled(&report, &service.name))?;
    Ok(Outcome::Accepted)
}

fn unknown(word: &str) -> Fault {
    Fault::unsupported("operation.unknown", format!("monit is not asked to `{word}`"))
}

/// A name in the bytes in which monit gave it.
fn spelled(report: &Report, name: &str) -> Vec<u8> {
    if report.is_bytewise {
        return name.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    }
    name.as_bytes().to_vec()
}

#[cfg(test)]
mod tests;
