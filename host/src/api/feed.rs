//! The feed's route: who may open it.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::Asked;
use crate::api::socket::{self, FeedContext};
use crate::api::wire::Problem;
use crate::auth::Action;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use std::sync::Arc;
use std::time::SystemTime;

/// The live feed
///
/// Upgrades to a WebSocket with the subprotocol `feed.v1`; `docs/api.md` describes its frames.
#[utoipa::path(get, path = "/api/v1/feed", tag = "feed",
    responses((status = 101, description = "The feed"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn open(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    request: Request,
) -> Result<Response, ApiError> {
    edge.admit(&caller, Action::FeedRead, "feed.open", Asked::default()).await?;
    let watch = edge.auth.watch(&caller.0, &facts.peer(), SystemTime::now());
    let context = FeedContext {
        hub: edge.hub.clone(),
        tracker: edge.tracker.clone(),
        stop: edge.stop.clone(),
        ended: watch.ended.clone(),
        hold: Arc::new((caller, watch)),
        allowed_origins: Arc::from([]),
    };
    Ok(socket::upgrade(request, context).await?)
}
