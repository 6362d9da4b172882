use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::Input;
use crate::api::wire::Problem;
use crate::api::wire::feed::FeedTicket;
use crate::auth::{Action, Page, TICKET_TTL};
use crate::store::AuditOutcome;
use axum::Json;
use axum::extract::{Extension, State};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;

/// A ticket for the feed
///
/// Lets one connection in, to the feed or its event stream, within 30 seconds, from the page that asks. For pages, whose
/// WebSockets and event streams cannot set headers. The connection stands on what asked for the ticket, and ends with it.
#[utoipa::path(post, path = "/api/v1/feed/tickets", tag = "feed",
    responses((status = 201, body = FeedTicket), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn issue(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<FeedTicket>), ApiError> {
    const WHAT: (&str, &str) = ("feed.ticket", "");
    edge.admit_deed((&caller, &facts), Action::FeedRead, WHAT, Input::new(&uri).finish()?).await?;
    let issued = match edge.ours(&facts).page(&headers, &uri) {
        // Nobody could bring it.
        Page::Foreign => Err(ApiError::CrossSite),
        page @ (Page::None | Page::Named(_) | Page::Own) => {
            edge.auth.issue_ticket(&caller.0, page).map_err(ApiError::from)
        }
    };
    let ticket = edge.on_record((&caller, &facts), WHAT, issued, AuditOutcome::Refused).await?;
    let view = FeedTicket { ticket: ticket.reveal().to_owned(), expires_in_s: TICKET_TTL.as_secs() };
    Ok((StatusCode::CREATED, Json(view)))
}
