use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::accounts::{Who, admit_edit, settled, tagged};
use crate::api::input::{Input, Segments, json};
use crate::api::view;
use crate::api::wire::Problem;
use crate::api::wire::account::{PermissionList, RoleEdit, RoleList, RoleRequest, RoleView};
use crate::auth::{Action, check_role_name};
use crate::model::Actions;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::SystemTime;

/// Every permission there is
///
/// With what it allows, where it may be granted, and which built-in roles have it.
#[utoipa::path(get, path = "/api/v1/permissions", tag = "roles",
    responses((status = 200, body = PermissionList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn permissions(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<PermissionList>, ApiError> {
    edge.validate(Some(caller.principal()), "permission.list", Input::new(&uri).finish()?).await?;
    Ok(Json(PermissionList { items: view::permissions() }))
}

/// Roles
///
/// The built-in ones, then the others by their names; at most 256 of these.
#[utoipa::path(get, path = "/api/v1/roles", tag = "roles",
    responses((status = 200, body = RoleList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<RoleList>, ApiError> {
    edge.admit(&caller, Action::AccountRead, "role.list", Input::new(&uri).finish()?).await?;
    Ok(Json(RoleList { items: edge.auth.roles().await?.iter().map(view::role_facts).collect() }))
}

/// One role
///
/// With its `etag`, which changes of it have to name.
#[utoipa::path(get, path = "/api/v1/roles/{name}", tag = "roles",
    params(("name" = String, Path, description = "The role's name")),
    responses((status = 200, body = RoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    edge.admit(&caller, Action::AccountRead, "role.read", input.finish()?).await?;
    let role = edge.auth.role(&name)?;
    let document = view::role_facts(&role);
    Ok(role.revision.map_or_else(|| Json(document.clone()).into_response(), |revision| tagged(revision, &document)))
}

/// Creates a role
///
/// What it may do has to be within the caller's own rights over everything.
#[utoipa::path(post, path = "/api/v1/roles", tag = "roles",
    request_body = RoleRequest,
    responses((status = 201, body = RoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wish: RoleRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.body("name", &wish.name);
    if !check_role_name(&wish.name) {
        let message = "1 to 64 of a-z 0-9 - _, beginning with a letter, and no built-in role, were expected";
        input.problem("/body/name", "invalid", message.into());
    }
    let actions = note_actions(&mut input, &wish.actions);
    let who = Who { caller: &caller, facts: &facts, name: "role.create", target: &wish.name };
    edge.admit_deed(who.pair(), Action::AccountManage, who.what(), input.finish()?).await?;
    let (which, now) = ((wish.name.as_str(), None), SystemTime::now());
    let made = edge.auth.put_role(caller.principal(), which, actions, &facts.peer(), now).await;
    let role = settled(&edge, &who, made).await?;
    let document = tagged(role.revision.unwrap_or_default(), view::role_facts(&role));
    Ok((StatusCode::CREATED, document).into_response())
}

/// Replaces a role
///
/// What it may do, before and after, has to be within the caller's own rights over everything. Open connections follow before
/// this answers.
#[utoipa::path(put, path = "/api/v1/roles/{name}", tag = "roles",
    params(("name" = String, Path, description = "The role's name"),
        ("if-match" = String, Header, description = "The `etag` that was read")),
    request_body = RoleEdit,
    responses((status = 200, body = RoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn replace(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wish: RoleEdit = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.path("name", &name);
    let actions = note_actions(&mut input, &wish.actions);
    let who = Who { caller: &caller, facts: &facts, name: "role.replace", target: &name };
    let revision = admit_edit(&edge, &who, Action::AccountManage, input.finish()?, &headers).await?;
    let (which, now) = ((name.as_str(), Some(revision)), SystemTime::now());
    let replaced = edge.auth.put_role(caller.principal(), which, actions, &facts.peer(), now).await;
    let role = settled(&edge, &who, replaced).await?;
    Ok(tagged(role.revision.unwrap_or_default(), view::role_facts(&role)))
}

/// Removes a role
///
/// One that no account has.
#[utoipa::path(delete, path = "/api/v1/roles/{name}", tag = "roles",
    params(("name" = String, Path, description = "The role's name"),
        ("if-match" = String, Header, description = "The `etag` that was read")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn remove(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    let who = Who { caller: &caller, facts: &facts, name: "role.remove", target: &name };
    let revision = admit_edit(&edge, &who, Action::AccountManage, input.finish()?, &headers).await?;
    let which = (name.as_str(), revision);
    let removed = edge.auth.remove_role(caller.principal(), which, &facts.peer(), SystemTime::now()).await;
    settled(&edge, &who, removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes what a role is to allow, and which words are no action.
fn note_actions(input: &mut Input, words: &[String]) -> Actions {
    if words.len() > Action::ALL.len() {
        input.problem("/body/actions", "too_many", format!("at most {} actions were expected", Action::ALL.len()));
        return Actions::default();
    }
    for (index, word) in words.iter().enumerate() {
        input.body(&format!("actions/{index}"), word);
        if Action::parse(word).is_none() {
            let message = "there is no such action; GET /api/v1/permissions lists them".to_owned();
            input.problem(&format!("/body/actions/{index}"), "unknown_action", message);
        }
    }
    words.iter().filter_map(|word| Action::parse(word)).collect()
}
