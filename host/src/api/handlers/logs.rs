use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Input, Segments};
use crate::api::view;
use crate::api::wire::{LogView, Problem};
use crate::auth::Action;
use crate::model::{LogChannel, LogRange, LogSlice};
use crate::node::Patience;
use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use std::sync::Arc;
use tokio::time::Instant;

const TAIL_DEFAULT: u32 = 16 << 10;
const BYTES_MAX: u64 = 1 << 20;

/// A piece of a process's log
///
/// The last bytes with `tail`, or from an offset on with `offset` and `bytes`. With `Accept: application/octet-stream`
/// the answer is the file's bytes themselves, with the other facts in headers.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/processes/{process}/logs/{channel}", tag = "logs",
    params(("node" = String, Path, description = "The node's name"),
        ("process" = String, Path, description = "The process, as `group:name`"),
        ("channel" = String, Path, description = "`stdout` or `stderr`"),
        ("tail" = Option<u64>, Query, description = "The last bytes, at most so many; 16,384 unless given", minimum = 1, maximum = 1_048_576),
        ("offset" = Option<u64>, Query, description = "The first byte wanted; not with `tail`", minimum = 0),
        ("bytes" = Option<u64>, Query, description = "With `offset`: at most so many; 16,384 unless given", minimum = 1, maximum = 1_048_576)),
    responses((status = 200, content((LogView = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn read(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments((node, process, channel)): Segments<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    input.path("channel", &channel);
    let known = [LogChannel::Stdout, LogChannel::Stderr].into_iter().find(|known| known.as_str() == channel);
    if known.is_none() {
        input.problem("/path/channel", "invalid", "`stdout` or `stderr` was expected".into());
    }
    let range = range(&mut input);
    let (asked, (id, channel)) = checked(input, id.zip(known))?;
    edge.admit(&caller, Action::LogRead, "log.read", asked).await?;
    let handle = edge.pool.node(&node)?;
    let patience = Patience::until(Instant::now() + edge.snapshot().config.server.request_timeout).of(facts.behalf());
    let slice = handle.read_log(id.clone(), channel, range, patience).await?;
    if wants_bytes(&headers) {
        return Ok(raw(slice));
    }
    let view: LogView = view::log(handle.id(), &id, channel, &slice);
    Ok(Json(view).into_response())
}

fn range(input: &mut Input) -> LogRange {
    let small = |number: Option<u64>| number.and_then(|n| u32::try_from(n).ok());
    let tail = small(input.number("tail", 1..=BYTES_MAX));
    let offset = input.number("offset", 0..=u64::MAX);
    let bytes = small(input.number("bytes", 1..=BYTES_MAX));
    match (tail, offset, bytes) {
        (Some(_), Some(_), _) => {
            input.problem("/query/tail", "conflict", "either `tail` or `offset` was expected, not both".into());
        }
        (_, None, Some(_)) => {
            input.problem("/query/bytes", "conflict", "`bytes` goes with `offset`".into());
        }
        (_, None, None) | (None, Some(_), _) => {}
    }
    match offset {
        Some(offset) => LogRange::From { offset, bytes_max: bytes.unwrap_or(TAIL_DEFAULT) },
        None => LogRange::Tail { bytes_max: tail.unwrap_or(TAIL_DEFAULT) },
    }
}

fn wants_bytes(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.split(';').next().unwrap_or_default().trim() == "application/octet-stream")
}

fn raw(slice: LogSlice) -> Response {
    let next = slice.start + slice.bytes.len() as u64;
    let facts = [
        ("x-log-start", slice.start.to_string()),
        ("x-log-next", next.to_string()),
        ("x-log-size", slice.size.to_string()),
        ("x-log-gap", slice.has_gap.to_string()),
    ];
    ([(CONTENT_TYPE, "application/octet-stream")], facts, slice.bytes).into_response()
}
