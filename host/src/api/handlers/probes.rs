use crate::api::edge::{Caller, Edge};
use crate::api::error::ApiError;
use crate::api::input::Input;
use crate::api::wire::Problem;
use crate::auth::Action;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::sync::Arc;

/// Alive
///
/// 200 as long as the process serves requests at all. Says nothing about nodes.
#[utoipa::path(get, path = "/livez", tag = "probes", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub(in crate::api) async fn livez() -> &'static str {
    "ok\n"
}

/// Ready
///
/// 200 while requests are taken, 503 once shutdown has begun.
#[utoipa::path(get, path = "/readyz", tag = "probes", security(()),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain")))]
pub(in crate::api) async fn readyz(State(edge): State<Arc<Edge>>) -> Response {
    if edge.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    "ok\n".into_response()
}

/// Metrics
///
/// In the OpenMetrics text format. They name all nodes and processes, so who asks needs `metrics.read`; where the
/// configuration says `open = true` in `[metrics]`, nobody is asked who he is.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn metrics(State(edge): State<Arc<Edge>>, request: Request) -> Result<Response, ApiError> {
    let (caller, asked) = (request.extensions().get::<Caller>().cloned(), Input::new(request.uri()).finish()?);
    // Without a caller nobody comes this far but where it is open.
    if let Some(caller) = caller {
        edge.admit(&caller, Action::MetricsRead, "metrics.read", asked).await?;
    }
    let text = edge.metrics.render(&edge)?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// This document
#[utoipa::path(get, path = "/api/openapi.json", tag = "probes", security(()),
    responses((status = 200, body = Object, content_type = "application/json")))]
pub(in crate::api) async fn openapi(State(edge): State<Arc<Edge>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], edge.openapi.clone()).into_response()
}

/// The feed's messages
///
/// As an AsyncAPI document.
#[utoipa::path(get, path = "/api/asyncapi.json", tag = "probes", security(()),
    responses((status = 200, body = Object, content_type = "application/json")))]
pub(in crate::api) async fn asyncapi(State(edge): State<Arc<Edge>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], edge.asyncapi.clone()).into_response()
}
