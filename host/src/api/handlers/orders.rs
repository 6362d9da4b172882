use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::error::node_code;
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Asked, Input, Segments, optional_json};
use crate::api::view;
use crate::api::wire::{CommandRequest, CommandResult, Problem};
use crate::auth::Action;
use crate::model::{Command, CommandReport, FaultKind, Operation, Outcome, ProcessId};
use crate::node::{NodeError, Patience};
use crate::store::AuditOutcome;
use crate::task::TaskKind;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer waits for the process to settle, unless asked otherwise; or `wait_max_ms` if that is less.
pub(super) const WAIT_DEFAULT: Duration = Duration::from_secs(15);
/// Bytes of the reason for an override.
const OVERRIDE_BYTES_MAX: usize = 256;
/// What the audit calls an override that was asked for and admitted.
const OVERRIDE: &str = "change.override";

/// What every order is given, in the order in which axum takes it apart.
type Parts = (State<Arc<Edge>>, Extension<Caller>, Extension<Facts>, Segments<(String, String)>, Uri, HeaderMap);

/// The handler of one operation. They differ in their address and in what they say of themselves.
macro_rules! order {
    ($(#[$said:meta])* $name:ident, $path:literal, $operation:expr) => {
        $(#[$said])*
        #[utoipa::path(post, path = $path, tag = "processes",
            params(("node" = String, Path, description = "The node's name"),
                ("process" = String, Path, description = "The process, as `group:name`")),
            request_body(content = Option<CommandRequest>, content_type = "application/json"),
            responses((status = 200, body = CommandResult),
                (status = 202, body = CommandResult, description = "Still on its way"),
                (status = "4XX", body = Problem, content_type = "application/problem+json"),
                (status = "5XX", body = Problem, content_type = "application/problem+json")))]
        pub(in crate::api) async fn $name(asked: Parts, body: Body) -> Result<Response, ApiError> {
            carry_out($operation, asked, body).await
        }
    };
}

order! {
    /// Starts a process
    ///
    /// Sent to the supervisor at most once. A process that runs already is left alone (`unchanged`).
    start, "/api/v1/nodes/{node}/processes/{process}/start", Operation::Start
}

order! {
    /// Stops a process
    ///
    /// A slow stop is `in-progress`, not a failure. A process that is stopped already is left alone (`unchanged`).
    stop, "/api/v1/nodes/{node}/processes/{process}/stop", Operation::Stop
}

order! {
    /// Restarts a process
    ///
    /// By the supervisor's own means where it has them. Else stops it, sees it stopped, starts it; the start is sent even
    /// if the caller leaves in between.
    restart, "/api/v1/nodes/{node}/processes/{process}/restart", Operation::Restart
}

order! {
    /// Has a process watched
    ///
    /// Its supervisor brings it up again when it ends. Only where the node's `operations` list it.
    monitor, "/api/v1/nodes/{node}/processes/{process}/monitor", Operation::Monitor
}

order! {
    /// Has a process left alone
    ///
    /// Its supervisor does nothing about it, whatever becomes of it. Only where the node's `operations` list it.
    unmonitor, "/api/v1/nodes/{node}/processes/{process}/unmonitor", Operation::Unmonitor
}

async fn carry_out(operation: Operation, asked: Parts, body: Body) -> Result<Response, ApiError> {
    let (State(edge), Extension(caller), Extension(facts), Segments((node, process)), uri, headers) = asked;
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    let limits = edge.snapshot();
    let server = &limits.config.server;
    let wish: CommandRequest = optional_json(&headers, body, server).await?;
    let wait_max = limits.config.orders.wait_max;
    let wait_ms = wish.wait_ms.unwrap_or(millis(WAIT_DEFAULT.min(wait_max)));
    input.body("wait_ms", &wait_ms.to_string());
    if wait_ms > millis(wait_max) {
        let message = format!("a whole number from 0 to {} was expected", millis(wait_max));
        input.problem("/body/wait_ms", "out_of_range", message);
    }
    if let Some(reason) = &wish.r#override {
        note_override(&mut input, reason);
    }
    let (asked, id) = checked(input, id)?;
    let wish = Wish {
        operation,
        node,
        process: id,
        wait: Duration::from_millis(wait_ms),
        reason: wish.r#override,
        patience: Patience::until(Instant::now() + server.request_timeout),
    };
    let report = give(&edge, &caller, &facts, asked, wish).await?;
    let status = if report.outcome == Outcome::InProgress { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(view::command(&report))).into_response())
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One order that somebody wants carried out.
pub(super) struct Wish {
    pub(super) operation: Operation,
    pub(super) node: String,
    pub(super) process: ProcessId,
    /// How long the answer waits for the process to settle.
    pub(super) wait: Duration,
    /// Why it has to be done in spite of a validator.
    pub(super) reason: Option<String>,
    pub(super) patience: Patience,
}

/// Asks everybody who has a say, gives the order, and writes down what became of it.
///
/// # Cancel safety
/// Dropped before the order was sent, it is not sent. Dropped later, the order goes on. Either is on the record.
pub(super) async fn give(
    edge: &Arc<Edge>,
    caller: &Caller,
    facts: &Facts,
    asked: Asked,
    wish: Wish,
) -> Result<CommandReport, ApiError> {
    let Wish { operation, node, process, wait, reason, patience } = wish;
    let name = format!("process.{operation}");
    let target = format!("{node}/{process}");
    if let Err(error) = edge.admit(caller, Action::ProcessControl, &name, asked).await {
        edge.record(caller, facts, &name, &target, AuditOutcome::Refused, error.code()).await?;
        return Err(error);
    }
    let handle = edge.pool.node(&node)?;
    if let Some(reason) = &reason {
        // Whether it was needed is known to the validators alone; that it was asked for, and why, is on the record.
        edge.record(caller, facts, OVERRIDE, &target, AuditOutcome::Done, reason).await?;
    }
    // The intent is durable before the node hears of it, so that no order goes out that the audit does not know.
    edge.record(caller, facts, &name, &target, AuditOutcome::Intended, "").await?;
    let command = Command { operation, process, wait, request_id: facts.request_id.clone() };
    // On a task of its own: when the caller leaves, an order that was sent is still finished, and what became of it is
    // written down in any case.
    let _here = patience.left.clone().drop_guard();
    let (task, caller, facts) = (Arc::clone(edge), caller.clone(), facts.clone());
    let (done, report) = tokio::sync::oneshot::channel();
    edge.tasks.group(TaskKind::Request).named("order", async move {
        let result = handle.command(command, patience).await;
        let (outcome, reason) = verdict(&result);
        let audited = task.record(&caller, &facts, &name, &target, outcome, reason).await;
        drop(done.send(audited.and(result.map_err(ApiError::Node)))); // the caller may have left
    });
    report.await.map_err(|_| ApiError::ShuttingDown)?
}

pub(super) fn note_override(input: &mut Input, reason: &str) {
    input.body("override", reason);
    if reason.trim().is_empty() || reason.len() > OVERRIDE_BYTES_MAX {
        let message = format!("a reason of 1 to {OVERRIDE_BYTES_MAX} bytes was expected");
        input.problem("/body/override", "out_of_range", message);
    }
}

/// How the audit has it. `unknown` is an order whose answer never came: it may have been carried out.
fn verdict(result: &Result<CommandReport, NodeError>) -> (AuditOutcome, &'static str) {
    match result {
        Ok(report) => match report.outcome {
            Outcome::Done => (AuditOutcome::Done, ""),
            Outcome::Unchanged => (AuditOutcome::Done, "unchanged"),
            Outcome::InProgress => (AuditOutcome::Unknown, "in_progress"),
            Outcome::Failed => (AuditOutcome::Failed, "settled_elsewhere"),
        },
        Err(error) if is_lost(error) => (AuditOutcome::Unknown, node_code(error)),
        Err(error) => (AuditOutcome::Failed, node_code(error)),
    }
}

fn is_lost(error: &NodeError) -> bool {
    matches!(error, NodeError::Gone { .. } | NodeError::Adapter { .. } | NodeError::OutcomeUnknown { .. })
        || matches!(error, NodeError::Removed { was_sent, .. } | NodeError::Replaced { was_sent, .. }
            | NodeError::Disabled { was_sent, .. } if *was_sent)
        || matches!(error, NodeError::Answered { fault, .. } if fault.kind == FaultKind::Timeout)
}
