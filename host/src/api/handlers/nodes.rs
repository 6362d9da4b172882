use crate::api::documents::Form;
use crate::api::edge::{Caller, Edge};
use crate::api::error::ApiError;
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Asked, Input, Segments};
use crate::api::view;
use crate::api::wire::{NodeList, NodeView, Problem, ProcessList, ProcessView};
use crate::auth::Action;
use crate::node::{NodeError, NodeHandle};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::Uri};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::sync::Arc;

/// All nodes
///
/// Sorted by name. With `include=processes` each with its processes.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes",
    params(("include" = Option<String>, Query, description = "`processes`: each node with its processes", pattern = "^processes$")),
    responses((status = 200, body = NodeList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    let include = input.text("include");
    if include.as_deref().is_some_and(|value| value != "processes") {
        input.problem("/query/include", "invalid", "`processes` was expected".into());
    }
    edge.admit(&caller, Action::NodeRead, "node.list", input.finish()?).await?;
    let form = if include.is_some() { Form::Full } else { Form::Short };
    let here = edge.pool.nodes();
    let nodes: Vec<_> = here.iter().filter_map(|handle| edge.seen(&caller, handle)).collect();
    let list = edge.documents.list(form, &nodes, &mut here.iter().map(NodeHandle::id))?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], list).into_response())
}

/// One node, with its processes
#[utoipa::path(get, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    responses((status = 200, body = NodeView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(node): Segments<String>,
    uri: Uri,
) -> Result<Json<NodeView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    edge.admit(&caller, Action::NodeRead, "node.read", input.finish()?).await?;
    Ok(Json(view::node_in_full(edge.parts(&caller, &edge.pool.node(&node)?).status())))
}

/// The processes of one node
#[utoipa::path(get, path = "/api/v1/nodes/{node}/processes", tag = "processes",
    params(("node" = String, Path, description = "The node's name")),
    responses((status = 200, body = ProcessList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn processes(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(node): Segments<String>,
    uri: Uri,
) -> Result<Json<ProcessList>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let asked = Asked { is_of_parts: true, ..input.finish()? };
    edge.admit(&caller, Action::ProcessRead, "process.list", asked).await?;
    let seen = edge.parts(&caller, &edge.pool.node(&node)?);
    Ok(Json(ProcessList { node: view::node(seen.status()), items: view::processes(seen.status()) }))
}

/// One process
#[utoipa::path(get, path = "/api/v1/nodes/{node}/processes/{process}", tag = "processes",
    params(("node" = String, Path, description = "The node's name"),
        ("process" = String, Path, description = "The process, as `group:name`")),
    responses((status = 200, body = ProcessView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn process(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments((node, process)): Segments<(String, String)>,
    uri: Uri,
) -> Result<Json<ProcessView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let id = process_id(&mut input, &process);
    let (asked, id) = checked(input, id)?;
    edge.admit(&caller, Action::ProcessRead, "process.read", asked).await?;
    let status = edge.pool.node(&node)?.status();
    let found = status.processes.iter().find(|p| p.process.id == id);
    let unknown = || NodeError::UnknownProcess { node: status.id.clone(), process: id.clone() };
    Ok(Json(view::process(found.ok_or_else(unknown)?)))
}
