use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::{Input, Segments, json};
use crate::api::page::Page;
use crate::api::view;
use crate::api::wire::{ApiKeyCreated, ApiKeyList, ApiKeyRequest, Problem};
use crate::auth::{Action, KeyWish};
use crate::store::{AuditOutcome, IssuedKey};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a key may be asked to last.
const LIFETIME_MIN_S: u64 = 60;
const LIFETIME_MAX_S: u64 = 10 * 365 * 86_400;

/// Creates an API key
///
/// It acts for the caller's account, with the caller's rights or fewer. The text is shown this once.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", request_body = ApiKeyRequest,
    responses((status = 201, body = ApiKeyCreated), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ApiKeyCreated>), ApiError> {
    let asked: ApiKeyRequest = json(&headers, body, &edge.snapshot().config.server).await?;
    let mut input = Input::new(&uri);
    input.body("label", &asked.label);
    for (index, scope) in asked.scopes.iter().enumerate() {
        input.body(&format!("scopes/{index}"), scope);
    }
    if let Some(seconds) = asked.expires_in_s {
        input.body("expires_in_s", &seconds.to_string());
        if !(LIFETIME_MIN_S..=LIFETIME_MAX_S).contains(&seconds) {
            let message = format!("a whole number from {LIFETIME_MIN_S} to {LIFETIME_MAX_S} was expected");
            input.problem("/body/expires_in_s", "out_of_range", message);
        }
    }
    let who = (&caller, &facts);
    edge.admit_deed(who, Action::ApiKeyWrite, ("api-key.create", ""), input.finish()?).await?;
    let now = SystemTime::now();
    let expires = asked.expires_in_s.map(|seconds| now + Duration::from_secs(seconds));
    let wish = KeyWish { label: asked.label, scopes: asked.scopes, expires };
    let created = edge.auth.create_key(&caller.0, wish, &facts.peer(), now).await.map_err(ApiError::from);
    let (text, key) = edge.on_record(who, ("api-key.create", ""), created, AuditOutcome::Refused).await?;
    let created = ApiKeyCreated { text: text.reveal().to_owned(), key: view::api_key(&key) };
    Ok((StatusCode::CREATED, Json(created)))
}

/// API keys
///
/// Newest first: the caller's own, and everybody's for administrators. Revoked and expired ones stay listed for a while. Page
/// by page with `limit`, else all.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys",
    params(("limit" = Option<u64>, Query, description = "Keys of a page; all unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before", min_length = 1, max_length = 1024)),
    responses((status = 200, body = ApiKeyList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<ApiKeyList>, ApiError> {
    let mut input = Input::new(&uri);
    let page = Page::of(&mut input);
    edge.admit(&caller, Action::ApiKeyRead, "api-key.list", input.finish()?).await?;
    let keys = edge.auth.keys(caller.principal()).await?;
    let (keys, next) = page.cut(keys, str::cmp, place);
    Ok(Json(ApiKeyList { items: keys.iter().map(view::api_key).collect(), next }))
}

/// Where a key stands: the later it was made, the sooner.
fn place(key: &IssuedKey) -> String {
    let since = key.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:020}-{}", u64::MAX - u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), key.id)
}

/// Revokes an API key
///
/// It is refused from the next request on. One that was revoked before is left as it is.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path, description = "The key's id, not its text")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn revoke(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(id): Segments<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let mut input = Input::new(&uri);
    input.path("id", &id);
    // Whoever pastes the text instead of the id must not find it in an answer, an audit or a log.
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        input.problem("/path/id", "invalid", "the 16 hexadecimal digits of an id were expected".into());
    }
    let who = (&caller, &facts);
    edge.admit_deed(who, Action::ApiKeyWrite, ("api-key.revoke", &id), input.finish()?).await?;
    let revoked = edge.auth.revoke_key(caller.principal(), &id, &facts.peer(), SystemTime::now()).await;
    edge.on_record(who, ("api-key.revoke", &id), revoked.map_err(ApiError::from), AuditOutcome::Refused).await?;
    Ok(StatusCode::NO_CONTENT)
}
