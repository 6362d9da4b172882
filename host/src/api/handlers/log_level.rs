//! What the host's own log lets through, for a while.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::checked;
use crate::api::input::{Input, json};
use crate::api::log_control::{LogControl, LogLevels};
use crate::api::view::timestamp;
use crate::api::wire::Problem;
use crate::api::wire::log_level::{LogLevelRequest, LogLevelView};
use crate::auth::Action;
use crate::config::LogFilter;
use crate::store::AuditOutcome;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Uri};
use std::sync::Arc;
use std::time::Duration;

/// How long another level counts when nothing is said, and at most.
const LASTS_S: u64 = 600;
const LASTS_S_MAX: u64 = 86_400;

/// The log's level
///
/// Which of the server's own log lines are written now, what the configuration says, and when that counts again.
#[utoipa::path(get, path = "/api/v1/log-level", tag = "configuration",
    responses((status = 200, body = LogLevelView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<LogLevelView>, ApiError> {
    edge.admit(&caller, Action::ConfigRead, "log-level.read", Input::new(&uri).finish()?).await?;
    Ok(Json(view(control(&edge)?.levels())))
}

/// Changes the log's level for a while
///
/// From the next line on, and until its time is over, the level is reset, or the server ends. A configuration that is read
/// meanwhile counts afterwards.
#[utoipa::path(put, path = "/api/v1/log-level", tag = "configuration", request_body = LogLevelRequest,
    responses((status = 200, body = LogLevelView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn set(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogLevelView>, ApiError> {
    let mut input = Input::new(&uri);
    let wish: LogLevelRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    input.body("level", &wish.level);
    let seconds = wish.for_seconds.unwrap_or(LASTS_S);
    if !(1..=LASTS_S_MAX).contains(&seconds) {
        let message = format!("a whole number from 1 to {LASTS_S_MAX} was expected");
        input.problem("/body/for_seconds", "out_of_range", message);
    }
    let filter = LogFilter::parse(&wish.level);
    if filter.is_err() {
        let message = format!("{} was expected, {} characters at most", LogFilter::EXPECTED, LogFilter::CHARS_MAX);
        input.problem("/body/level", "invalid", message);
    }
    let (asked, filter) = checked(input, filter.ok())?;
    let deed = ("log-level.set", format!("{} for {seconds} s", filter.as_str()));
    let (name, target) = (deed.0, deed.1.as_str());
    edge.admit_deed((&caller, &facts), Action::ConfigManage, (name, target), asked).await?;
    edge.record(&caller, &facts, name, target, AuditOutcome::Intended, "").await?;
    let done = control(&edge).and_then(|control| {
        control.set_for(&filter, Duration::from_secs(seconds), &caller.principal().name).map_err(broken)
    });
    end(&edge, (&caller, &facts), (name, target), done).await
}

/// Goes back to the configuration's level
///
/// At once. Nothing happens where it counts already.
#[utoipa::path(delete, path = "/api/v1/log-level", tag = "configuration",
    responses((status = 200, body = LogLevelView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn reset(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Json<LogLevelView>, ApiError> {
    let deed = ("log-level.reset", "");
    edge.admit_deed((&caller, &facts), Action::ConfigManage, deed, Input::new(&uri).finish()?).await?;
    edge.record(&caller, &facts, deed.0, deed.1, AuditOutcome::Intended, "").await?;
    let done = control(&edge).and_then(|control| control.reset().map_err(broken));
    end(&edge, (&caller, &facts), deed, done).await
}

fn control(edge: &Edge) -> Result<&dyn LogControl, ApiError> {
    edge.log_control.as_deref().ok_or(ApiError::NoLog)
}

fn broken(what: String) -> ApiError {
    ApiError::Internal { what }
}

/// Puts what came of it on record, and answers it.
async fn end(
    edge: &Edge,
    who: (&Caller, &Facts),
    (name, target): (&str, &str),
    done: Result<LogLevels, ApiError>,
) -> Result<Json<LogLevelView>, ApiError> {
    let levels = edge.on_record(who, (name, target), done, AuditOutcome::Failed).await?;
    edge.record(who.0, who.1, name, target, AuditOutcome::Done, "").await?;
    Ok(Json(view(levels)))
}

fn view(levels: LogLevels) -> LogLevelView {
    let LogLevels { in_force, configured, until, by } = levels;
    LogLevelView { level: in_force, configured, until: until.map(timestamp), by }
}
