//! Orders to groups and to a node's supervisor, and the supervisor's own log.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::checked;
use crate::api::handlers::orders::{note_reason, note_wait};
use crate::api::handlers::record::{Deed, Settled, on_record};
use crate::api::input::{Asked, Input, Segments, optional_json};
use crate::api::view;
use crate::api::wire::order::{GroupResult, GuardedRequest, NodeLogView, RereadResult, SupervisorResult, UpdateResult};
use crate::api::wire::{CommandRequest, Problem};
use crate::auth::Action;
use crate::model::{GroupCommand, Operation, Outcome, ProcessId};
use crate::node::{NodeError, NodeHandle, Patience};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LOG_DEFAULT: u64 = 16 << 10;
const LOG_BYTES_MAX: u64 = 1 << 20;

type GroupParts = (State<Arc<Edge>>, Extension<Caller>, Extension<Facts>, Segments<(String, String)>, Uri, HeaderMap);
type NodeParts = (State<Arc<Edge>>, Extension<Caller>, Extension<Facts>, Segments<String>, Uri, HeaderMap);

/// The handler of one order to a group.
macro_rules! group_order {
    ($(#[$said:meta])* $name:ident, $path:literal, $operation:expr) => {
        $(#[$said])*
        #[utoipa::path(post, path = $path, tag = "processes",
            params(("node" = String, Path, description = "The node's name"),
                ("group" = String, Path, description = "The group")),
            request_body(content = Option<CommandRequest>, content_type = "application/json"),
            responses((status = 200, body = GroupResult),
                (status = 202, body = GroupResult, description = "Still on its way"),
                (status = "4XX", body = Problem, content_type = "application/problem+json"),
                (status = "5XX", body = Problem, content_type = "application/problem+json")))]
        pub(in crate::api) async fn $name(asked: GroupParts, body: Body) -> Result<Response, ApiError> {
            order_group($operation, asked, body).await
        }
    };
}

group_order! {
    /// Starts a group
    ///
    /// All of it at once, in its supervisor's own order. Only where the node's `abilities` list `group-start`.
    start, "/api/v1/nodes/{node}/groups/{group}/start", Operation::Start
}

group_order! {
    /// Stops a group
    ///
    /// All of it at once, in its supervisor's own order. Only where the node's `abilities` list `group-stop`.
    stop, "/api/v1/nodes/{node}/groups/{group}/stop", Operation::Stop
}

group_order! {
    /// Restarts a group
    ///
    /// Stops all of it, sees it stopped, starts it; the start is sent even if the caller leaves in between. Only where the
    /// node's `abilities` list `group-restart`.
    restart, "/api/v1/nodes/{node}/groups/{group}/restart", Operation::Restart
}

async fn order_group(operation: Operation, asked: GroupParts, body: Body) -> Result<Response, ApiError> {
    let (State(edge), Extension(caller), Extension(facts), Segments((node, group)), uri, headers) = asked;
    let mut input = Input::new(&uri);
    input.path("node", &node);
    input.path("group", &group);
    if group.is_empty() || group.len() > ProcessId::BYTES_MAX {
        let message = format!("a group's name of 1 to {} bytes was expected", ProcessId::BYTES_MAX);
        input.problem("/path/group", "invalid", message);
    }
    let limits = edge.snapshot();
    let server = &limits.config.server;
    let wish: CommandRequest = optional_json(&headers, body, server).await?;
    let wait = note_wait(&mut input, wish.wait_ms, limits.config.orders.wait_max);
    note_reason(&mut input, wish.r#override.as_deref());
    let mut asked = input.finish()?;
    if let Ok(handle) = edge.pool.node(&node) {
        let status = handle.status();
        let members = status.processes.iter().map(|observed| &observed.process.id);
        asked.members = members.filter(|id| id.group() == group).cloned().collect();
    }
    let deed = Deed {
        action: Action::ProcessControl,
        // Who keeps a process from being stopped means it, in whatever company.
        operation: &format!("process.{operation}"),
        target: format!("{node}/{group}:*"),
        detail: "",
        reason: wish.r#override,
        node,
    };
    let command = GroupCommand { group, operation, wait };
    let patience = Patience::until(Instant::now() + server.request_timeout);
    let report = on_record(&edge, (caller, facts), asked, deed, patience, move |handle, patience| async move {
        handle.command_group(command, patience).await
    })
    .await?;
    Ok((status_of(report.outcome), Json(view::group(&report))).into_response())
}

const fn status_of(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::InProgress => StatusCode::ACCEPTED,
        Outcome::Done | Outcome::Unchanged | Outcome::Failed => StatusCode::OK,
    }
}

/// Has a node read its configuration files
///
/// Tells which groups they add, change and remove, and changes nothing. What is wrong with the files is told as
/// `node.cannot_reread`, in the supervisor's own words. Only where the node's `abilities` list `reread`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/reread", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    responses((status = 200, body = RereadResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn reread(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(node): Segments<String>,
    uri: Uri,
) -> Result<Json<RereadResult>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let asked = input.finish()?;
    let deed = Deed {
        action: Action::NodeUpdate,
        operation: "node.reread",
        target: node.clone(),
        detail: "",
        reason: None,
        node: node.clone(),
    };
    let patience = Patience::until(Instant::now() + edge.snapshot().config.server.request_timeout);
    let changes = on_record(&edge, (caller, facts), asked, deed, patience, |handle, patience| async move {
        handle.reread(patience).await
    })
    .await?;
    let (added, changed, removed) = (changes.added, changes.changed, changes.removed);
    Ok(Json(RereadResult { node, added, changed, removed }))
}

/// Makes a node run what its files say
///
/// Reads them, then group by group: what is removed is stopped, seen stopped and taken out of service; what is changed is
/// put back after that; what is added is put in. The body has to name the node. Only where the node's `abilities` list
/// `update`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/update", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    request_body = GuardedRequest,
    responses((status = 200, body = UpdateResult), (status = 202, body = UpdateResult, description = "Still on its way"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn update(asked: NodeParts, body: Body) -> Result<Response, ApiError> {
    let guarded = Guarded::read("node.update", Action::NodeUpdate, asked, body).await?;
    let wait = guarded.wait;
    let report = guarded.carry_out(move |handle, patience| async move { handle.update(wait, patience).await }).await?;
    Ok((status_of(report.outcome), Json(view::update(&report))).into_response())
}

/// Restarts a node's supervisor
///
/// All its processes end and those that start by themselves start again. The body has to name the node. The answer comes
/// when the supervisor has taken it; the node is `shutting-down` until it is observed again. Only where the node's
/// `abilities` list `restart-node`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/restart", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    request_body = GuardedRequest,
    responses((status = 202, body = SupervisorResult),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn restart_node(asked: NodeParts, body: Body) -> Result<Response, ApiError> {
    let guarded = Guarded::read("node.restart", Action::NodeShutdown, asked, body).await?;
    let node = guarded.node.clone();
    guarded.carry_out(|handle, patience| async move { handle.restart(patience).await }).await?;
    Ok(taken(node, "restart"))
}

/// Ends a node's supervisor
///
/// And all its processes; whoever watches the supervisor may start it again. The body has to name the node. Only where the
/// node's `abilities` list `shutdown-node`.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/shutdown", tag = "nodes",
    params(("node" = String, Path, description = "The node's name")),
    request_body = GuardedRequest,
    responses((status = 202, body = SupervisorResult),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn shutdown_node(asked: NodeParts, body: Body) -> Result<Response, ApiError> {
    let guarded = Guarded::read("node.shutdown", Action::NodeShutdown, asked, body).await?;
    let node = guarded.node.clone();
    guarded.carry_out(|handle, patience| async move { handle.shut_down(patience).await }).await?;
    Ok(taken(node, "shutdown"))
}

fn taken(node: String, operation: &str) -> Response {
    let result = SupervisorResult { node, operation: operation.to_owned(), outcome: "accepted".to_owned() };
    (StatusCode::ACCEPTED, Json(result)).into_response()
}

/// The end of a supervisor's own log
///
/// Only where the node's `abilities` list `node-log`.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/log", tag = "logs",
    params(("node" = String, Path, description = "The node's name"),
        ("tail" = Option<u64>, Query, description = "The last bytes, at most so many; 16,384 unless given", minimum = 1, maximum = 1_048_576)),
    responses((status = 200, body = NodeLogView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn log(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(node): Segments<String>,
    uri: Uri,
) -> Result<Json<NodeLogView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("node", &node);
    let tail = input.number("tail", 1..=LOG_BYTES_MAX).unwrap_or(LOG_DEFAULT);
    let (asked, tail) = checked(input, u32::try_from(tail).ok())?;
    edge.admit(&caller, Action::LogRead, "log.read", asked).await?;
    let handle = edge.pool.node(&node)?;
    let patience = Patience::until(Instant::now() + edge.snapshot().config.server.request_timeout);
    let patience = patience.of(facts.behalf());
    let bytes = handle.read_node_log(tail, patience).await?;
    Ok(Json(NodeLogView { node, text: String::from_utf8_lossy(&bytes).into_owned() }))
}

/// An order to a supervisor that has to be confirmed with the node's name.
struct Guarded {
    edge: Arc<Edge>,
    who: (Caller, Facts),
    asked: Asked,
    operation: &'static str,
    action: Action,
    node: String,
    wait: Duration,
    reason: Option<String>,
    patience: Patience,
}

impl Guarded {
    async fn read(operation: &'static str, action: Action, asked: NodeParts, body: Body) -> Result<Self, ApiError> {
        let (State(edge), Extension(caller), Extension(facts), Segments(node), uri, headers) = asked;
        let mut input = Input::new(&uri);
        input.path("node", &node);
        let limits = edge.snapshot();
        let server = &limits.config.server;
        let wish: GuardedRequest = optional_json(&headers, body, server).await?;
        input.body("confirm", &wish.confirm);
        if wish.confirm != node {
            let message = "the node's name was expected here once more, to confirm it".to_owned();
            input.problem("/body/confirm", "unconfirmed", message);
        }
        let wait = note_wait(&mut input, wish.wait_ms, limits.config.orders.wait_max);
        note_reason(&mut input, wish.r#override.as_deref());
        Ok(Self {
            asked: input.finish()?,
            who: (caller, facts),
            operation,
            action,
            node,
            wait,
            reason: wish.r#override,
            patience: Patience::until(Instant::now() + server.request_timeout),
            edge,
        })
    }

    async fn carry_out<T, W, F>(self, work: W) -> Result<T, ApiError>
    where
        T: Settled + Send + 'static,
        W: FnOnce(NodeHandle, Patience) -> F + Send + 'static,
        F: Future<Output = Result<T, NodeError>> + Send,
    {
        let Self { edge, who, asked, operation, action, node, reason, patience, .. } = self;
        let deed = Deed { action, operation, target: node.clone(), detail: "", reason, node };
        on_record(&edge, who, asked, deed, patience, work).await
    }
}
