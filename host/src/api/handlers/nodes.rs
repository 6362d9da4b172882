use crate::api::documents::Form;
use crate::api::edge::{Caller, Edge};
use crate::api::error::ApiError;
use crate::api::handlers::{checked, process_id};
use crate::api::input::{Asked, Input, Segments};
use crate::api::page::{Page, by_group};
use crate::api::view;
use crate::api::wire::{NodeList, NodeView, Problem, ProcessList, ProcessView};
use crate::auth::Action;
use crate::node::{NodeError, NodeHandle};
use crate::task::TaskKind;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::{Json, http::Uri};
use http::HeaderMap;
use std::sync::Arc;

/// All nodes
///
/// Sorted by name. With `include=processes` each with its processes. Page by page with `limit`, else all.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes",
    params(("include" = Option<String>, Query, description = "`processes`: each node with its processes", pattern = "^processes$"),
        ("limit" = Option<u64>, Query, description = "Nodes of a page; all unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before", min_length = 1)),
    responses((status = 200, body = NodeList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    let page = Page::of(&mut input);
    let include = input.text("include");
    if include.as_deref().is_some_and(|value| value != "processes") {
        input.problem("/query/include", "invalid", "`processes` was expected".into());
    }
    edge.admit(&caller, Action::NodeRead, "node.list", input.finish()?).await?;
    let form = if include.is_some() { Form::Full } else { Form::Short };
    let here = edge.pool.nodes();
    let nodes = here.iter().filter_map(|handle| edge.seen(&caller, handle));
    let (nodes, next) = page.cut(nodes, str::cmp, |seen| seen.status().id.to_string());
    let list = edge.documents.list(form, &nodes, next.as_deref(), &mut here.iter().map(NodeHandle::id))?;
    Ok(list.answer(&headers, &edge.tasks.group(TaskKind::Request)).await)
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
///
/// Sorted by group, then name. Page by page with `limit`, else all.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/processes", tag = "processes",
    params(("node" = String, Path, description = "The node's name"),
        ("limit" = Option<u64>, Query, description = "Processes of a page; all unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before", min_length = 1)),
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
    let page = Page::of(&mut input);
    let asked = Asked { is_of_parts: true, ..input.finish()? };
    edge.admit(&caller, Action::ProcessRead, "process.list", asked).await?;
    let seen = edge.parts(&caller, &edge.pool.node(&node)?);
    let status = seen.status();
    let (items, next) = page.cut(status.processes.iter(), by_group, |observed| observed.process.id.to_string());
    Ok(Json(ProcessList { node: view::node(status), items: items.into_iter().map(view::process).collect(), next }))
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
