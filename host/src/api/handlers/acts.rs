//! What is done to one process at once, without a state to wait for.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::orders::note_reason;
use crate::api::handlers::record::{Deed, on_record};
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Asked, Input, Segments, json, optional_json};
use crate::api::wire::Problem;
use crate::api::wire::order::{ActRequest, ActResult, InputRequest, SignalRequest};
use crate::auth::Action;
use crate::model::{ProcessAct, ProcessId, Signal};
use crate::node::Patience;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Uri};
use std::sync::Arc;
use tokio::time::Instant;

type Parts = (State<Arc<Edge>>, Extension<Caller>, Extension<Facts>, Segments<(String, String)>, Uri, HeaderMap);

/// Sends a signal to a process
///
/// By its name: HUP, INT, QUIT, TERM, KILL, USR1, USR2, CONT, STOP, TSTP, WINCH, ALRM, ABRT or PIPE. Sent at most once,
/// also while another order to the process is under way. Only where the node's `abilities` list `signal`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/processes/{process}/signal", tag = "processes",
    params(("node" = String, Path, description = "The node's name"),
        ("process" = String, Path, description = "The process, as `group:name`")),
    request_body = SignalRequest,
    responses((status = 200, body = ActResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn signal(asked: Parts, body: Body) -> Result<Json<ActResult>, ApiError> {
    let (State(edge), caller, facts, Segments((node, process)), uri, headers) = asked;
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    let wish: SignalRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    input.body("signal", &wish.signal);
    let signal = Signal::parse(&wish.signal);
    if signal.is_none() {
        let message = format!("one of {} was expected", Signal::NAMES.join(", "));
        input.problem("/body/signal", "invalid", message);
    }
    note_reason(&mut input, wish.r#override.as_deref());
    let (asked, (process, signal)) = checked(input, id.zip(signal))?;
    let wish = Wish { node, process, act: ProcessAct::Signal(signal), reason: wish.r#override };
    carry_out(edge, (caller.0, facts.0), asked, wish).await
}

/// Writes to a process's standard input
///
/// At most 16 KiB at once, sent at most once. Validators and the audit see how much it is, and not what. Only where the
/// node's `abilities` list `send-input`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/processes/{process}/input", tag = "processes",
    params(("node" = String, Path, description = "The node's name"),
        ("process" = String, Path, description = "The process, as `group:name`")),
    request_body = InputRequest,
    responses((status = 200, body = ActResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn input(asked: Parts, body: Body) -> Result<Json<ActResult>, ApiError> {
    let (State(edge), caller, facts, Segments((node, process)), uri, headers) = asked;
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    let wish: InputRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let reason = wish.r#override.clone();
    note_reason(&mut input, reason.as_deref());
    let bytes = bytes(&mut input, wish);
    let (asked, (process, bytes)) = checked(input, id.zip(bytes))?;
    let wish = Wish { node, process, act: ProcessAct::SendInput(bytes), reason };
    carry_out(edge, (caller.0, facts.0), asked, wish).await
}

/// Empties a process's logs
///
/// Only where the node's `abilities` list `clear-logs`. What was in them is gone.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/processes/{process}/clear-logs", tag = "logs",
    params(("node" = String, Path, description = "The node's name"),
        ("process" = String, Path, description = "The process, as `group:name`")),
    request_body(content = Option<ActRequest>, content_type = "application/json"),
    responses((status = 200, body = ActResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn clear_logs(asked: Parts, body: Body) -> Result<Json<ActResult>, ApiError> {
    let (State(edge), caller, facts, Segments((node, process)), uri, headers) = asked;
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    let wish: ActRequest = optional_json(&headers, body, &edge.snapshot().config.server).await?;
    note_reason(&mut input, wish.r#override.as_deref());
    let (asked, process) = checked(input, id)?;
    let wish = Wish { node, process, act: ProcessAct::ClearLogs, reason: wish.r#override };
    carry_out(edge, (caller.0, facts.0), asked, wish).await
}

/// The bytes that are meant. Of what they are only the length is noted.
fn bytes(input: &mut Input, wish: InputRequest) -> Option<Vec<u8>> {
    let (field, bytes) = match (wish.text, wish.base64) {
        (Some(text), None) => ("text", text.into_bytes()),
        (None, Some(text)) => {
            let Ok(bytes) = STANDARD.decode(text) else {
                input.problem("/body/base64", "invalid", "base64 was expected, with its padding".into());
                return None;
            };
            ("base64", bytes)
        }
        (Some(_), Some(_)) | (None, None) => {
            input.problem("/body", "conflict", "either `text` or `base64` was expected".into());
            return None;
        }
    };
    input.body(&format!("{field}/length"), &bytes.len().to_string());
    if !(1..=ProcessAct::INPUT_BYTES_MAX).contains(&bytes.len()) {
        let message = format!("1 to {} bytes were expected", ProcessAct::INPUT_BYTES_MAX);
        input.problem(&format!("/body/{field}"), "out_of_range", message);
        return None;
    }
    Some(bytes)
}

struct Wish {
    node: String,
    process: ProcessId,
    act: ProcessAct,
    reason: Option<String>,
}

async fn carry_out(
    edge: Arc<Edge>,
    who: (Caller, Facts),
    asked: Asked,
    wish: Wish,
) -> Result<Json<ActResult>, ApiError> {
    let Wish { node, process, act, reason } = wish;
    let (action, operation) = match &act {
        ProcessAct::Signal(_) => (Action::ProcessSignal, "process.signal"),
        ProcessAct::SendInput(_) => (Action::ProcessInput, "process.input"),
        ProcessAct::ClearLogs => (Action::LogClear, "log.clear"),
    };
    // Which signal it was is a part of what was done.
    let detail = match &act {
        ProcessAct::Signal(signal) => signal.as_str(),
        ProcessAct::SendInput(_) | ProcessAct::ClearLogs => "",
    };
    let result = ActResult {
        node: node.clone(),
        process: process.to_string(),
        operation: act.as_str().to_owned(),
        outcome: "done".to_owned(),
    };
    let target = format!("{node}/{process}");
    let patience = Patience::until(Instant::now() + edge.snapshot().config.server.request_timeout);
    let deed = Deed { action, operation, target, detail, reason, node };
    on_record(&edge, who, asked, deed, patience, move |handle, patience| async move {
        handle.act(process, act, patience).await
    })
    .await?;
    Ok(Json(result))
}
