use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::delivery::Delivery;
use crate::api::input::{Input, json};
use crate::api::view;
use crate::api::wire::{LoginRequest, LoginResult, PrincipalView, Problem, SetupRequest};
use crate::auth::AuthRefusal;
use crate::model::{Credential, Secret};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::SystemTime;

/// Logs in
///
/// Tells nothing about why a login failed; the server's audit does. With `cookie` the token comes as a cookie for this browser,
/// and not in the answer.
#[utoipa::path(post, path = "/api/v1/login", tag = "session", security(()), request_body = LoginRequest,
    responses((status = 200, body = LoginResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn login(
    State(edge): State<Arc<Edge>>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked: LoginRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let delivery = Delivery::of(&edge, &facts, asked.cookie, (&headers, &uri)).await?;
    let mut input = Input::new(&uri);
    input.body("username", &asked.username);
    input.body("password/length", &asked.password.len().to_string());
    edge.admit_stranger(&facts, "session.login", input.finish()?).await?;
    let credential = Credential::Password { username: asked.username, password: Secret::new(asked.password) };
    let login = edge.auth.login(credential, facts.peer(), SystemTime::now()).await?;
    delivery.deliver(&edge, &facts, &login).await
}

/// Creates the first administrator
///
/// Against the setup token that a server without accounts prints when it starts.
#[utoipa::path(post, path = "/api/v1/setup", tag = "session", security(()), request_body = SetupRequest,
    responses((status = 200, body = LoginResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn setup(
    State(edge): State<Arc<Edge>>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked: SetupRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let delivery = Delivery::of(&edge, &facts, asked.cookie, (&headers, &uri)).await?;
    let mut input = Input::new(&uri);
    input.body("username", &asked.username);
    input.body("password/length", &asked.password.len().to_string());
    input.body("token/length", &asked.token.len().to_string());
    edge.admit_stranger(&facts, "session.setup", input.finish()?).await?;
    let (token, password) = (Secret::new(asked.token), Secret::new(asked.password));
    let login = edge.auth.setup(token, asked.username, password, facts.peer(), SystemTime::now()).await?;
    delivery.deliver(&edge, &facts, &login).await
}

/// Ends this session
///
/// A request that was let in by an API key or the like has none; revoke the credential instead.
#[utoipa::path(post, path = "/api/v1/logout", tag = "session",
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn logout(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    edge.admit_deed((&caller, &facts), None, ("session.logout", ""), Input::new(&uri).finish()?).await?;
    let session = caller.0.session().ok_or(AuthRefusal::NoSession)?;
    edge.auth.logout(session, facts.peer(), SystemTime::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I
///
/// And what does this credential allow, and for how long.
#[utoipa::path(get, path = "/api/v1/me", tag = "session",
    responses((status = 200, body = PrincipalView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn me(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<PrincipalView>, ApiError> {
    edge.validate(Some(caller.principal()), "session.read", Input::new(&uri).finish()?).await?;
    Ok(Json(view::principal(caller.principal(), caller.0.expires)))
}
