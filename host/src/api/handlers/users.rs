use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::accounts::{Who, admit_edit, note_grants, note_password, settled, tagged};
use crate::api::input::{Input, Segments, json};
use crate::api::view;
use crate::api::wire::Problem;
use crate::api::wire::account::{GrantsRequest, PasswordRequest, UserEdit, UserList, UserRequest, UserView};
use crate::auth::{AccessEdit, Action, NewAccount, check_name};
use crate::model::Secret;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::SystemTime;

const PAGE_DEFAULT: u64 = 100;
const PAGE_MAX: u64 = 1_000;

/// Accounts
///
/// By their names, page by page.
#[utoipa::path(get, path = "/api/v1/users", tag = "accounts",
    params(("limit" = Option<u64>, Query, description = "Accounts of a page; 100 unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before")),
    responses((status = 200, body = UserList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<UserList>, ApiError> {
    let mut input = Input::new(&uri);
    let limit = input.number("limit", 1..=PAGE_MAX).unwrap_or(PAGE_DEFAULT);
    let after = input.text("cursor").map(|cursor| after(&cursor));
    if after == Some(None) {
        input.problem("/query/cursor", "invalid", "the `next` of an earlier page was expected".into());
    }
    edge.admit(&caller, Action::AccountRead, "account.list", input.finish()?).await?;
    let limit = usize::try_from(limit).unwrap_or(1);
    let mut accounts = edge.auth.accounts(after.flatten(), limit + 1).await?;
    let has_more = accounts.len() > limit;
    accounts.truncate(limit);
    let next = accounts.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(&last.name));
    Ok(Json(UserList { items: accounts.iter().map(view::user).collect(), next }))
}

fn after(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// One account
///
/// With its `etag`, which changes of it have to name.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    input.path("name", &name);
    edge.admit(&caller, Action::AccountRead, "account.read", input.finish()?).await?;
    let account = edge.auth.account(&name)?;
    Ok(tagged(account.revision, view::user(&account)))
}

/// Creates an account
///
/// Its grants have to be within the caller's own rights.
#[utoipa::path(post, path = "/api/v1/users", tag = "accounts",
    request_body = UserRequest,
    responses((status = 201, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wish: UserRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.body("name", &wish.name);
    if let Err(fault) = check_name(&wish.name) {
        input.problem("/body/name", fault.code(), fault.to_string());
    }
    note_password(&mut input, "password", &wish.password);
    let grants = note_grants(&edge, &mut input, &wish.grants)?;
    let who = Who { caller: &caller, facts: &facts, name: "account.create", target: &wish.name };
    edge.admit_deed(who.pair(), Action::AccountManage, who.what(), input.finish()?).await?;
    let new = NewAccount {
        name: wish.name.clone(),
        password: Secret::new(wish.password),
        grants,
        is_disabled: wish.disabled,
    };
    let made = edge.auth.create_account(caller.principal(), new, &facts.peer(), SystemTime::now()).await;
    let account = settled(&edge, &who, made).await?;
    Ok((StatusCode::CREATED, tagged(account.revision, view::user(&account))).into_response())
}

/// Changes an account's password or disables it
///
/// Either ends its sessions; its API keys stay. What it may do has to be within the caller's own rights.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "accounts",
    params(("name" = String, Path, description = "The account's name"),
        ("if-match" = String, Header, description = "The `etag` that was read")),
    request_body = UserEdit,
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn edit(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wish: UserEdit = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.path("name", &name);
    if let Some(password) = &wish.password {
        note_password(&mut input, "password", password);
    }
    if let Some(disabled) = wish.disabled {
        input.body("disabled", &disabled.to_string());
    }
    if wish.password.is_none() && wish.disabled.is_none() {
        input.problem("/body", "missing", "`password` or `disabled` was expected".into());
    }
    let who = Who { caller: &caller, facts: &facts, name: "account.edit", target: &name };
    let revision = admit_edit(&edge, &who, Action::AccountManage, input.finish()?, &headers).await?;
    let edit = AccessEdit { password: wish.password.map(Secret::new), is_disabled: wish.disabled };
    let (which, now) = ((name.as_str(), revision), SystemTime::now());
    let edited = edge.auth.set_access(caller.principal(), which, edit, &facts.peer(), now).await;
    let account = settled(&edge, &who, edited).await?;
    Ok(tagged(account.revision, view::user(&account)))
}

/// Sets an account's grants
///
/// All of them at once. What they were and what they become has to be within the caller's own rights. Open connections follow
/// before this answers.
#[utoipa::path(put, path = "/api/v1/users/{name}/grants", tag = "accounts",
    params(("name" = String, Path, description = "The account's name"),
        ("if-match" = String, Header, description = "The `etag` that was read")),
    request_body = GrantsRequest,
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn grant(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wish: GrantsRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.path("name", &name);
    let grants = note_grants(&edge, &mut input, &wish.grants)?;
    let who = Who { caller: &caller, facts: &facts, name: "account.grant", target: &name };
    let revision = admit_edit(&edge, &who, Action::AccountManage, input.finish()?, &headers).await?;
    let (which, now) = ((name.as_str(), revision), SystemTime::now());
    let granted = edge.auth.set_grants(caller.principal(), which, grants, &facts.peer(), now).await;
    let account = settled(&edge, &who, granted).await?;
    Ok(tagged(account.revision, view::user(&account)))
}

/// Removes an account
///
/// With its sessions and API keys.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "accounts",
    params(("name" = String, Path, description = "The account's name"),
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
    let who = Who { caller: &caller, facts: &facts, name: "account.remove", target: &name };
    let revision = admit_edit(&edge, &who, Action::AccountManage, input.finish()?, &headers).await?;
    let which = (name.as_str(), revision);
    let removed = edge.auth.remove_account(caller.principal(), which, &facts.peer(), SystemTime::now()).await;
    settled(&edge, &who, removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes one's own password
///
/// Against the old one. Ends the account's other sessions; its API keys stay.
#[utoipa::path(post, path = "/api/v1/me/password", tag = "session",
    request_body = PasswordRequest,
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn own_password(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let wish: PasswordRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.body("old/length", &wish.old.len().to_string());
    note_password(&mut input, "new", &wish.new);
    let who = Who { caller: &caller, facts: &facts, name: "account.password", target: &caller.principal().name };
    edge.admit_deed(who.pair(), None, who.what(), input.finish()?).await?;
    let words = (Secret::new(wish.old), Secret::new(wish.new));
    let changed = edge.auth.set_own_password(&caller.0, words, &facts.peer(), SystemTime::now()).await;
    settled(&edge, &who, changed).await?;
    Ok(StatusCode::NO_CONTENT)
}
