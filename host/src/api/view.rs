//! From what the host knows to what the API says.

use crate::api::wire::account::{GrantView, PermissionView, RightsView, RoleView, SessionView, UserView};
use crate::api::wire::audit::{AuditRecordView, AuditVerdictView};
use crate::api::wire::log::LogEvent;
use crate::api::wire::order::{GroupResult, GroupUpdateView, UpdateResult};
use crate::api::wire::{
    ApiKeyView, CommandResult, FieldProblem, GenerationView, LogView, NodeView, PluginCountersView, PluginFailureView,
    PluginView, PrincipalView, ProcessView,
};
use crate::auth::{RoleFacts, SessionFacts};
use crate::model::{
    Ability, Action, ActionKind, Actions, CommandReport, FollowState, GroupReport, LogChannel, LogNews, LogNewsBody,
    LogSlice, LogTopic, NodeId, NodeStatus, ObservedProcess, Operation, Principal, ProcessId, ProcessState, Rights,
    Role, RoleGrant, Scope, UpdateReport, Violation,
};
use crate::plugin::{FailureNote, GenerationReport, PluginReport};
use crate::store::{Account, AuditEntry, AuditRecord, AuditVerdict, IssuedKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::time::{Duration, SystemTime};

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    // Only a clock millions of years off is out of range; the start of the epoch says "unknown" plainly enough.
    jiff::Timestamp::try_from(at).map_or_else(|_| "1970-01-01T00:00:00.000Z".to_owned(), |at| format!("{at:.3}"))
}

/// A node, without its processes.
#[must_use]
pub fn node(status: &NodeStatus) -> NodeView {
    let info = status.info.as_deref();
    NodeView {
        name: status.id.to_string(),
        environment: status.environment.clone(),
        adapter: status.adapter.clone(),
        state: status.state.as_str().to_owned(),
        reason: status.reason.clone(),
        since: timestamp(status.since),
        observed_at: status.observed_at.map(timestamp),
        version: status.version.clone(),
        identification: status.identification.clone(),
        operations: info.map(|info| operations(&info.operations)).unwrap_or_default(),
        abilities: info.map(|info| Ability::words(&info.abilities)).unwrap_or_default(),
        log_channels: info.map(|info| info.log_channels.clone()).unwrap_or_default(),
        process_count: Some(status.processes.len()),
        running_count: Some(status.processes.iter().filter(|p| p.process.state == ProcessState::Running).count()),
        processes: None,
    }
}

/// A node on the feed: without what changes when its processes do, since they are told by themselves.
#[must_use]
pub fn node_on_feed(status: &NodeStatus) -> NodeView {
    let observed_at = status.observed_at.filter(|_| !status.state.is_live()).map(timestamp);
    NodeView { observed_at, process_count: None, running_count: None, ..node(status) }
}

/// A node with its processes.
#[must_use]
pub fn node_in_full(status: &NodeStatus) -> NodeView {
    NodeView { processes: Some(processes(status)), ..node(status) }
}

/// All processes of a node.
#[must_use]
pub fn processes(status: &NodeStatus) -> Vec<ProcessView> {
    status.processes.iter().map(process).collect()
}

/// One process.
#[must_use]
pub fn process(observed: &ObservedProcess) -> ProcessView {
    let process = &observed.process;
    ProcessView {
        id: process.id.to_string(),
        group: process.id.group().to_owned(),
        name: process.id.name().to_owned(),
        state: process.state.as_str().to_owned(),
        native_state: process.native_state.clone(),
        pid: process.pid,
        started_at: observed.started_at.map(timestamp),
        exit_status: process.exit_status,
        message: process.message.clone(),
        attributes: process.attributes.clone(),
    }
}

/// What became of an order.
#[must_use]
pub fn command(report: &CommandReport) -> CommandResult {
    CommandResult {
        node: report.node.to_string(),
        process: report.process.to_string(),
        operation: report.operation.as_str().to_owned(),
        outcome: report.outcome.as_str().to_owned(),
        state: report.state.as_str().to_owned(),
        message: report.message.clone(),
        took_ms: milliseconds(report.took),
    }
}

/// What became of an order to a group.
#[must_use]
pub fn group(report: &GroupReport) -> GroupResult {
    GroupResult {
        node: report.node.to_string(),
        group: report.group.clone(),
        operation: report.operation.as_str().to_owned(),
        outcome: report.outcome.as_str().to_owned(),
        items: report.items.iter().map(command).collect(),
        took_ms: milliseconds(report.took),
    }
}

/// What became of an update.
#[must_use]
pub fn update(report: &UpdateReport) -> UpdateResult {
    let group = |group: &crate::model::GroupUpdate| GroupUpdateView {
        group: group.group.clone(),
        change: group.change.as_str().to_owned(),
        outcome: group.outcome.as_str().to_owned(),
        message: group.message.clone(),
    };
    UpdateResult {
        node: report.node.to_string(),
        outcome: report.outcome.as_str().to_owned(),
        groups: report.groups.iter().map(group).collect(),
        took_ms: milliseconds(report.took),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A piece of a log, decoded for display.
#[must_use]
pub fn log(node: &NodeId, process: &ProcessId, channel: LogChannel, slice: &LogSlice) -> LogView {
    LogView {
        node: node.to_string(),
        process: process.to_string(),
        channel: channel.as_str().to_owned(),
        start: slice.start,
        next: slice.start + slice.bytes.len() as u64,
        size: slice.size,
        has_gap: slice.has_gap,
        text: String::from_utf8_lossy(&slice.bytes).into_owned(),
    }
}

/// What became of a followed log, as the feed says it.
#[must_use]
pub fn log_event(log: &LogTopic, news: &LogNews) -> LogEvent {
    let event = LogEvent {
        node: log.node.to_string(),
        process: log.process.to_string(),
        channel: log.channel.as_str().to_owned(),
        at: timestamp(news.at),
        ..LogEvent::default()
    };
    match &news.body {
        LogNewsBody::Piece(piece) => {
            let (text, base64) = match std::str::from_utf8(&piece.bytes) {
                Ok(text) => (Some(text.to_owned()), None),
                Err(_) => (None, Some(BASE64.encode(&piece.bytes))),
            };
            let next = piece.start + piece.bytes.len() as u64;
            let continued = piece.is_continued;
            LogEvent { start: Some(piece.start), next: Some(next), text, base64, continued, ..event }
        }
        LogNewsBody::Gap(gap) => {
            LogEvent { gap: Some(gap.why.as_str().to_owned()), lost: gap.bytes, next: Some(gap.next), ..event }
        }
        LogNewsBody::Follow(state) => {
            let follow = Some(state.as_str().to_owned());
            match state {
                FollowState::Following { next, is_told } => {
                    let by = if *is_told { "stream" } else { "poll" };
                    LogEvent { follow, next: Some(*next), by: Some(by.to_owned()), ..event }
                }
                FollowState::Waiting { why } | FollowState::Refused { why } => {
                    LogEvent { follow, why: Some(why.clone()), ..event }
                }
            }
        }
    }
}

/// Who asks, and until when.
#[must_use]
pub fn principal(principal: &Principal, expires: Option<SystemTime>) -> PrincipalView {
    PrincipalView {
        name: principal.name.clone(),
        role: role(principal).to_owned(),
        strategy: principal.strategy.clone(),
        scopes: principal.scopes.clone(),
        rights: rights(&principal.rights),
        expires_at: expires.map(timestamp),
    }
}

/// A principal's role in one word.
fn role(principal: &Principal) -> &'static str {
    match principal.role {
        Some(role) => role.as_str(),
        None if principal.rights.is_empty() => "none",
        None => "custom",
    }
}

/// What may be done, by scope. What a scope names and does not allow is left out: a client shows what it reads here.
#[must_use]
pub fn rights(rights: &Rights) -> Vec<RightsView> {
    let counts = |scope: &Scope, action: &Action| *scope == Scope::Everything || action.kind() != ActionKind::Server;
    let view = |(scope, actions): (&Scope, Actions)| {
        let actions: Actions = actions.iter().filter(|action| counts(scope, action)).collect();
        RightsView { scope: scope.to_string(), actions: actions.words() }
    };
    rights.iter().map(view).filter(|right| !right.actions.is_empty()).collect()
}

/// An account, without anything that its password could be guessed by.
#[must_use]
pub fn user(account: &Account) -> UserView {
    UserView {
        name: account.name.clone(),
        grants: account.grants.iter().map(grant).collect(),
        disabled: account.is_disabled,
        created_at: timestamp(account.created),
        revision: account.revision,
    }
}

fn grant(grant: &RoleGrant) -> GrantView {
    GrantView { role: grant.role.clone(), scope: grant.scope.to_string() }
}

/// A role.
#[must_use]
pub fn role_facts(role: &RoleFacts) -> RoleView {
    RoleView {
        name: role.name.clone(),
        actions: role.actions.words(),
        built_in: role.revision.is_none(),
        revision: role.revision,
    }
}

/// A session.
#[must_use]
pub fn session(facts: &SessionFacts) -> SessionView {
    let session = &facts.session;
    SessionView {
        id: facts.id.clone(),
        account: session.account.clone(),
        strategy: session.strategy.clone(),
        scopes: session.scopes.clone(),
        created_at: timestamp(session.created),
        last_used_at: timestamp(session.last_used),
        expires_at: timestamp(session.expires),
        current: facts.is_own,
    }
}

/// Every action there is.
#[must_use]
pub fn permissions() -> Vec<PermissionView> {
    let view = |action: Action| PermissionView {
        name: action.as_str().to_owned(),
        description: action.said().to_owned(),
        scope: match action.kind() {
            ActionKind::Fleet => "any",
            ActionKind::Own => "own",
            ActionKind::Server => "everything",
        }
        .to_owned(),
        roles: Role::ALL.iter().filter(|role| **role >= action.needs()).map(|role| role.as_str().to_owned()).collect(),
    };
    Action::ALL.into_iter().map(view).collect()
}

/// An API key, without its text.
#[must_use]
pub fn api_key(key: &IssuedKey) -> ApiKeyView {
    ApiKeyView {
        id: key.id.clone(),
        account: key.account.clone(),
        label: key.label.clone(),
        scopes: key.scopes.clone(),
        created_at: timestamp(key.created),
        expires_at: key.expires.map(timestamp),
        last_used_at: key.last_used.map(timestamp),
        revoked_at: key.revoked.map(timestamp),
    }
}

/// A plugin.
#[must_use]
pub fn plugin(report: &PluginReport) -> PluginView {
    let totals = &report.totals;
    let counters = PluginCountersView {
        calls: totals.outcomes.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect(),
        running: totals.running,
        fuel: totals.fuel_total,
        memory_bytes_peak: totals.memory_bytes_peak,
        time_us: u64::try_from(totals.time_total.as_micros()).unwrap_or(u64::MAX),
        swaps: report.swaps.iter().map(|(result, count)| (result.as_str().to_owned(), *count)).collect(),
    };
    let failure = |failure: &FailureNote| PluginFailureView {
        at: timestamp(failure.at),
        generation: failure.generation,
        code: failure.code.to_owned(),
        message: failure.message.clone(),
    };
    let failures = report.failures.iter().map(failure).collect();
    PluginView { counters: Some(counters), failures: Some(failures), ..plugin_on_feed(report) }
}

/// A plugin on the feed: without what changes with each call.
#[must_use]
pub fn plugin_on_feed(report: &PluginReport) -> PluginView {
    let active = &report.active;
    let kept = || {
        report.previous_digest.clone().map(|digest| GenerationView {
            generation: None,
            digest,
            state: "kept".to_owned(),
            in_flight: 0,
            drain_ms: None,
            permille: None,
        })
    };
    PluginView {
        name: report.name.clone(),
        class: report.class.as_str().to_owned(),
        generation: active.id,
        digest: active.digest.clone(),
        version: active.version.clone(),
        size: active.size_bytes,
        state: active.state.as_str().to_owned(),
        since: timestamp(active.since),
        on_probation: active.is_on_probation,
        quarantine: report.quarantine.as_str().to_owned(),
        verifying: report.is_verifying,
        canary: report.canary.as_ref().map(|(canary, permille)| generation(canary, Some(*permille))),
        previous: report.previous.as_ref().map(|previous| generation(previous, None)).or_else(kept),
        refused: report.refused.clone(),
        counters: None,
        failures: None,
    }
}

fn generation(report: &GenerationReport, permille: Option<u32>) -> GenerationView {
    GenerationView {
        generation: Some(report.id),
        digest: report.digest.clone(),
        state: report.state.as_str().to_owned(),
        in_flight: report.in_flight as u64,
        drain_ms: report.drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX)),
        permille,
    }
}

/// A rule that a field breaks.
#[must_use]
pub fn violation(violation: &Violation) -> FieldProblem {
    FieldProblem {
        pointer: violation.pointer.clone(),
        code: violation.code.clone(),
        message: violation.message.clone(),
    }
}

fn operations(native: &[Operation]) -> Vec<String> {
    let can_restart = native.contains(&Operation::Start) && native.contains(&Operation::Stop);
    let restart = (can_restart && !native.contains(&Operation::Restart)).then_some(Operation::Restart);
    native.iter().copied().chain(restart).map(|operation| operation.as_str().to_owned()).collect()
}

/// A record of the audit.
#[must_use]
pub fn audit_record(entry: &AuditEntry) -> AuditRecordView {
    let AuditRecord { at, who, what, target, outcome, reason, request_id, address } = entry.record.clone();
    AuditRecordView {
        number: entry.number,
        at: timestamp(at),
        who,
        what,
        target,
        outcome: outcome.as_str().to_owned(),
        reason,
        request_id,
        address: address.map(|address| address.to_string()),
        link: entry.link.to_string(),
    }
}

/// What going through the audit showed.
#[must_use]
pub fn audit_verdict(verdict: &AuditVerdict) -> AuditVerdictView {
    AuditVerdictView {
        intact: verdict.fault.is_none(),
        fault: verdict.fault.map(|fault| fault.to_string()),
        records: verdict.records,
        removed: verdict.removed.number,
        head: verdict.head.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(1_500)), "1970-01-01T00:00:01.500Z");
    }
}
