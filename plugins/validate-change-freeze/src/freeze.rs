//! Whether an operation falls into a freeze, and who may do it all the same.

use crate::settings::Settings;
use crate::window::Window;
use jiff::{Timestamp, Zoned};
use plugin_sdk::validator::{Operation, Principal, Target, Violation};
use plugin_sdk::{Fault, log};
use std::collections::BTreeSet;

/// Where an order says why it has to be done now.
const OVERRIDE: &str = "/body/override";
/// Names that one message lists; what is beyond is counted.
const NAMES_SHOWN: usize = 5;

/// One violation for each window that is open and covers a target.
pub(crate) fn judge(settings: &Settings, operation: &Operation) -> Result<Vec<Violation>, Fault> {
    if !operation.is_mutating {
        return Ok(Vec::new());
    }
    let now = i64::try_from(operation.at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let now = now.ok_or_else(|| Fault::plugin("freeze.clock", format!("no such time: {} ms", operation.at_ms)))?;
    let mut frozen = Vec::new();
    for window in &settings.windows {
        let covered: Vec<&Target> =
            operation.targets.iter().filter(|target| window.covers(target.environment.as_deref())).collect();
        if covered.is_empty() {
            continue;
        }
        let beyond = |error| Fault::plugin("freeze.clock", format!("window {}: {error}", window.number));
        if let Some(end) = window.open_until(now).map_err(beyond)? {
            frozen.push((window, covered, end));
        }
    }
    if frozen.is_empty() {
        return Ok(Vec::new());
    }
    let plea = Plea::of(settings, operation);
    if let Plea::Granted { name, reason } = plea {
        log::info!("a freeze is overridden", operation = operation.name, who = name, reason = reason);
        return Ok(Vec::new());
    }
    let pointer = if has_field(operation, "/path/node") { "/path/node" } else { "" };
    let violation = |(window, covered, end): (&Window, Vec<&Target>, Zoned)| Violation {
        pointer: pointer.to_owned(),
        code: "change_freeze".to_owned(),
        message: format!(
            "{} frozen until {} by window {}{}; {}",
            subject(&covered),
            end.strftime("%Y-%m-%dT%H:%M%:z[%Q]"),
            window.number,
            window.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            plea.advice(&settings.override_permission)
        ),
    };
    Ok(frozen.into_iter().map(violation).collect())
}

/// How the request stands to an override.
enum Plea<'a> {
    /// Nobody asked for one; `may` says whether it would have helped.
    None { may: bool },
    /// It was asked for by somebody who may not.
    Refused,
    /// It was asked for by somebody who may.
    Granted { name: &'a str, reason: &'a str },
}

impl<'a> Plea<'a> {
    fn of(settings: &Settings, operation: &'a Operation) -> Self {
        let may = |who: &&Principal| who.permissions.contains(&settings.override_permission);
        let who = operation.principal.as_ref().filter(may);
        let reason = operation.fields.iter().find(|field| field.pointer == OVERRIDE).map(|field| field.value.as_str());
        match (who, reason.filter(|reason| !reason.trim().is_empty())) {
            (Some(who), Some(reason)) => Self::Granted { name: &who.name, reason },
            (None, Some(_)) => Self::Refused,
            (who, None) => Self::None { may: who.is_some() },
        }
    }

    fn advice(&self, permission: &str) -> String {
        match self {
            Self::None { may: true } => "you may override it: repeat with `override` and a reason".to_owned(),
            Self::None { may: false } => {
                format!("wait, or let somebody with the permission `{permission}` do it with `override` and a reason")
            }
            Self::Refused | Self::Granted { .. } => {
                format!("your `override` does not count: it needs the permission `{permission}`")
            }
        }
    }
}

fn has_field(operation: &Operation, pointer: &str) -> bool {
    operation.fields.iter().any(|field| field.pointer == pointer)
}

/// The environments that are frozen, and the nodes where the request names several.
fn subject(covered: &[&Target]) -> String {
    let environments: BTreeSet<&str> =
        covered.iter().map(|target| target.environment.as_deref().unwrap_or("no environment")).collect();
    let nodes: BTreeSet<&str> = covered.iter().map(|target| target.node.as_str()).collect();
    let verb = if environments.len() == 1 && nodes.len() == 1 { "is" } else { "are" };
    format!("{} ({}) {verb}", listed(&nodes), listed(&environments))
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(NAMES_SHOWN);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests;
