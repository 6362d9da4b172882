use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::config::Change;
use crate::api::input::{Input, Segments, json};
use crate::api::wire::config::{ConfigAppliedView, ManagedNodeRequest};
use crate::api::wire::secret::SecretField;
use crate::api::wire::{FieldProblem, Problem};
use crate::auth::Action;
use crate::config::ManagedNode;
use crate::reload::{NodeWish, PasswordWish, ReloadError};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;

/// Adds a node
///
/// One that the API owns, beside those that the configuration's file declares. It outlives a restart. A `password` is kept
/// sealed, where the server has a key, and never answered.
#[utoipa::path(post, path = "/api/v1/nodes", tag = "nodes", request_body = ManagedNodeRequest,
    responses((status = 201, body = ConfigAppliedView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn add(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ConfigAppliedView>), ApiError> {
    let mut input = Input::new(&uri);
    let request = read(&edge, &headers, body, &mut input).await?;
    let Some(name) = request.name.clone() else {
        input.problem("/body/name", "missing", "a name was expected, unique among the nodes".into());
        return Err(input.finish().err().unwrap_or(ApiError::NoRoute));
    };
    let change = Change { name: "node.add", action: Action::NodeManage, target: name.clone() };
    let author = change.admit(&edge, &caller, &facts, input.finish()?).await?;
    let applied = edge.reloader.add_node(wish(name.clone(), request), author).await;
    let ended = change.end(&edge, &caller, &facts, applied).await;
    Ok((StatusCode::CREATED, ended.map_err(|error| at_fields(error, &name))?))
}

/// Replaces a node
///
/// One that the API owns. It is watched as before where only its environment differs; else it is connected anew. All that is
/// left out is as if it was never there, but the password, which nobody could read to send it back.
#[utoipa::path(put, path = "/api/v1/nodes/{node}", tag = "nodes", request_body = ManagedNodeRequest,
    params(("node" = String, Path, description = "The node's name")),
    responses((status = 200, body = ConfigAppliedView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn replace(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ConfigAppliedView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &name);
    let request = read(&edge, &headers, body, &mut input).await?;
    if request.name.as_ref().is_some_and(|other| *other != name) {
        input.problem("/body/name", "invalid", "it differs from the address; nodes are not renamed".into());
    }
    let change = Change { name: "node.replace", action: Action::NodeManage, target: name.clone() };
    let author = change.admit(&edge, &caller, &facts, input.finish()?).await?;
    let applied = edge.reloader.replace_node(wish(name.clone(), request), author).await;
    change.end(&edge, &caller, &facts, applied).await.map_err(|error| at_fields(error, &name))
}

/// Removes a node
///
/// One that the API owns. Calls to it end, orders that wait for it are answered `node.removed`.
#[utoipa::path(delete, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    responses((status = 200, body = ConfigAppliedView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn remove(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(name): Segments<String>,
    uri: Uri,
) -> Result<Json<ConfigAppliedView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &name);
    let change = Change { name: "node.remove", action: Action::NodeManage, target: name.clone() };
    let author = change.admit(&edge, &caller, &facts, input.finish()?).await?;
    let applied = edge.reloader.remove_node(&name, author).await;
    change.end(&edge, &caller, &facts, applied).await
}

async fn read(edge: &Edge, headers: &HeaderMap, body: Body, input: &mut Input) -> Result<ManagedNodeRequest, ApiError> {
    let request: ManagedNodeRequest = json(headers, body, &edge.snapshot().config.server).await?;
    // Not the password: no validator sees it.
    let fields = [
        ("name", request.name.as_ref()),
        ("url", Some(&request.url)),
        ("environment", request.environment.as_ref()),
        ("adapter", request.adapter.as_ref()),
        ("username", request.username.as_ref()),
        ("password_env", request.password_env.as_ref()),
        ("password_file", request.password_file.as_ref()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            input.body(name, value);
        }
    }
    if let Some(enabled) = request.enabled {
        input.body("enabled", &enabled.to_string());
    }
    Ok(request)
}

fn wish(name: String, request: ManagedNodeRequest) -> NodeWish {
    let ManagedNodeRequest {
        name: _,
        url,
        environment,
        adapter,
        username,
        password,
        password_env,
        password_file,
        enabled,
    } = request;
    let password = match password {
        SecretField::Left => PasswordWish::Keep,
        SecretField::Null => PasswordWish::Remove,
        SecretField::Given(secret) => PasswordWish::Set(secret),
    };
    let node = ManagedNode {
        name,
        url,
        environment,
        adapter,
        username,
        password_env,
        password_file,
        // Whether one is kept follows from the wish, and from what was kept before.
        has_kept_password: false,
        enabled,
    };
    NodeWish { node, password }
}

/// Faults of the very node that was asked for are told at the fields of the body.
fn at_fields(error: ApiError, name: &str) -> ApiError {
    let ApiError::Reload(reload) = &error else { return error };
    let ReloadError::Faulty(faults) = reload.as_ref() else { return error };
    let beginning = format!("managed.{name}.");
    let told: Option<Vec<FieldProblem>> = faults
        .iter()
        .map(|fault| {
            let key = fault.key.strip_prefix(&beginning)?;
            let message = format!("{}; {}", fault.problem, fault.advice);
            Some(FieldProblem { pointer: format!("/body/{key}"), code: "invalid".to_owned(), message })
        })
        .collect();
    told.map_or(error, ApiError::Invalid)
}
