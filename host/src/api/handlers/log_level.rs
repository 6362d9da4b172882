//! What the host's own log lets through, for a while.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::checked;
use crate::api::handlers::record::carry_out;
use crate::api::input::{Input, json};
use crate::api::log_control::{LogControl, LogLevels};
use crate::api::view::timestamp;
use crate::api::wire::Problem;
use crate::api::wire::log_level::{LogLevelRequest, LogLevelView};
use crate::auth::Action;
use crate::config::LogFilter;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Uri};
use std::sync::Arc;
use std::time::Duration;

/// What the audit and validators call them.
const SET: &str = "log-level.set";
const RESET: &str = "log-level.reset";
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
    let target = format!("{} for {seconds} s", filter.as_str());
    edge.admit_deed((&caller, &facts), Action::ConfigManage, (SET, &target), asked).await?;
    let by = caller.principal().name.clone();
    let setting = {
        let edge = Arc::clone(&edge);
        async move { control(&edge)?.set_for(&filter, Duration::from_secs(seconds), &by).map_err(broken) }
    };
    Ok(Json(view(carry_out(&edge, (caller, facts), (SET, target), setting).await?)))
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
    edge.admit_deed((&caller, &facts), Action::ConfigManage, (RESET, ""), Input::new(&uri).finish()?).await?;
    let resetting = {
        let edge = Arc::clone(&edge);
        async move { control(&edge)?.reset().map_err(broken) }
    };
    Ok(Json(view(carry_out(&edge, (caller, facts), (RESET, String::new()), resetting).await?)))
}

fn control(edge: &Edge) -> Result<&dyn LogControl, ApiError> {
    edge.log_control.as_deref().ok_or(ApiError::NoLog)
}

fn broken(what: String) -> ApiError {
    ApiError::Internal { what }
}

fn view(levels: LogLevels) -> LogLevelView {
    let LogLevels { in_force, configured, until, by } = levels;
    LogLevelView { level: in_force, configured, until: until.map(timestamp), by }
}
