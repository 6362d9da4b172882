use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::accounts::{Who, settled};
use crate::api::input::{Input, Segments};
use crate::api::view;
use crate::api::wire::Problem;
use crate::api::wire::account::{SessionList, SessionsEnded};
use crate::auth::{Action, AuthRefusal, SessionFacts};
use crate::store::StoreError;
use axum::Json;
use axum::extract::{Extension, State};
use http::{StatusCode, Uri};
use std::sync::Arc;
use std::time::SystemTime;

const END: &str = "session.end";

fn listed(sessions: &[SessionFacts]) -> Json<SessionList> {
    Json(SessionList { items: sessions.iter().map(view::session).collect() })
}

fn counted(ended: usize) -> Json<SessionsEnded> {
    Json(SessionsEnded { ended: ended as u64 })
}

/// Somebody who is mistyped has no sessions either. People known elsewhere have no account; their sessions alone show them.
fn somebody(edge: &Edge, name: &str, sessions: usize) -> Result<(), AuthRefusal> {
    if sessions == 0 && edge.store.account(name)?.is_none() {
        return Err(StoreError::NoAccount { name: name.to_owned() }.into());
    }
    Ok(())
}

/// Whoever pastes a token instead of the id must not find it in an answer, an audit or a log.
fn note_id(input: &mut Input, id: &str) {
    input.path("id", id);
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        input.problem("/path/id", "invalid", "the 16 hexadecimal digits of an id were expected".into());
    }
}

/// One's own sessions
///
/// Those that are not over, newest first.
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "session",
    responses((status = 200, body = SessionList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn own(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<SessionList>, ApiError> {
    edge.validate(Some(caller.principal()), "session.list", Input::new(&uri).finish()?).await?;
    Ok(listed(&edge.auth.own_sessions(&caller.0, SystemTime::now()).await?))
}

/// Ends all of one's own sessions
///
/// This one too.
#[utoipa::path(delete, path = "/api/v1/me/sessions", tag = "session",
    responses((status = 200, body = SessionsEnded), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn end_own_all(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Json<SessionsEnded>, ApiError> {
    let who = Who { caller: &caller, facts: &facts, name: END, target: &caller.principal().name };
    edge.admit_deed(who.pair(), None, who.what(), Input::new(&uri).finish()?).await?;
    let ended = edge.auth.end_own_sessions(&caller.0, None, &facts.peer(), SystemTime::now()).await;
    Ok(counted(settled(&edge, &who, ended).await?))
}

/// Ends one of one's own sessions
#[utoipa::path(delete, path = "/api/v1/me/sessions/{id}", tag = "session",
    params(("id" = String, Path, description = "The session's id, not its token")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn end_own(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(id): Segments<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let mut input = Input::new(&uri);
    note_id(&mut input, &id);
    let who = Who { caller: &caller, facts: &facts, name: END, target: &caller.principal().name };
    edge.admit_deed(who.pair(), None, who.what(), input.finish()?).await?;
    let ended = edge.auth.end_own_sessions(&caller.0, Some(&id), &facts.peer(), SystemTime::now()).await;
    settled(&edge, &who, ended).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody's sessions
///
/// Those that are not over, newest first. The name is an account's, or `STRATEGY/NAME` of somebody known elsewhere.
#[utoipa::path(get, path = "/api/v1/users/{name}/sessions", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 200, body = SessionList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Json<SessionList>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    edge.admit(&caller, Action::AccountRead, "session.list", input.finish()?).await?;
    let sessions = edge.auth.sessions_of(&caller.0, &name, SystemTime::now()).await?;
    somebody(&edge, &name, sessions.len())?;
    Ok(listed(&sessions))
}

/// Ends all of somebody's sessions
#[utoipa::path(delete, path = "/api/v1/users/{name}/sessions", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 200, body = SessionsEnded), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn end_all(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Json<SessionsEnded>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    let who = Who { caller: &caller, facts: &facts, name: END, target: &name };
    edge.admit_deed(who.pair(), Action::AccountManage, who.what(), input.finish()?).await?;
    let now = SystemTime::now();
    let ended = edge.auth.end_sessions_of(caller.principal(), &name, None, &facts.peer(), now).await;
    let ended = ended.and_then(|ended| somebody(&edge, &name, ended).map(|()| ended));
    Ok(counted(settled(&edge, &who, ended).await?))
}

/// Ends one of somebody's sessions
#[utoipa::path(delete, path = "/api/v1/users/{name}/sessions/{id}", tag = "accounts",
    params(("name" = String, Path, description = "The account's name"),
        ("id" = String, Path, description = "The session's id, not its token")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn end(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments((name, id)): Segments<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    note_id(&mut input, &id);
    let who = Who { caller: &caller, facts: &facts, name: END, target: &name };
    edge.admit_deed(who.pair(), Action::AccountManage, who.what(), input.finish()?).await?;
    let now = SystemTime::now();
    let ended = edge.auth.end_sessions_of(caller.principal(), &name, Some(&id), &facts.peer(), now).await;
    settled(&edge, &who, ended).await?;
    Ok(StatusCode::NO_CONTENT)
}
