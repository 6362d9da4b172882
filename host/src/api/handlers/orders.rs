use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::record::{Deed, on_record};
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Asked, Input, Segments, optional_json};
use crate::api::view;
use crate::api::wire::{CommandRequest, CommandResult, Problem};
use crate::auth::Action;
use crate::model::{Command, CommandReport, Operation, Outcome, ProcessId};
use crate::node::Patience;
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
    let wait = note_wait(&mut input, wish.wait_ms, limits.config.orders.wait_max);
    note_reason(&mut input, wish.r#override.as_deref());
    let (asked, id) = checked(input, id)?;
    let wish = Wish {
        operation,
        node,
        process: id,
        wait,
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
    let deed = Deed {
        action: Action::ProcessControl,
        operation: &format!("process.{operation}"),
        target: format!("{node}/{process}"),
        detail: "",
        reason,
        node,
    };
    let command = Command { operation, process, wait, request_id: facts.request_id.clone() };
    let who = (caller.clone(), facts.clone());
    on_record(edge, who, asked, deed, patience, move |handle, patience| async move {
        handle.command(command, patience).await
    })
    .await
}

/// Notes how long an answer may wait, at most `wait_max`.
pub(super) fn note_wait(input: &mut Input, wait_ms: Option<u64>, wait_max: Duration) -> Duration {
    let wait_ms = wait_ms.unwrap_or(millis(WAIT_DEFAULT.min(wait_max)));
    input.body("wait_ms", &wait_ms.to_string());
    if wait_ms > millis(wait_max) {
        let message = format!("a whole number from 0 to {} was expected", millis(wait_max));
        input.problem("/body/wait_ms", "out_of_range", message);
    }
    Duration::from_millis(wait_ms)
}

/// Notes why it has to be done in spite of a validator, if that is said.
pub(super) fn note_reason(input: &mut Input, reason: Option<&str>) {
    if let Some(reason) = reason {
        note_override(input, reason);
    }
}

pub(super) fn note_override(input: &mut Input, reason: &str) {
    input.body("override", reason);
    if reason.trim().is_empty() || reason.len() > OVERRIDE_BYTES_MAX {
        let message = format!("a reason of 1 to {OVERRIDE_BYTES_MAX} bytes was expected");
        input.problem("/body/override", "out_of_range", message);
    }
}
