use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::checked;
use crate::api::input::{Input, Segments, bytes};
use crate::api::view;
use crate::api::wire::{PluginList, PluginView, Problem, SwapView};
use crate::auth::Action;
use crate::model::NodeId;
use crate::plugin::{SwapError, Swapped};
use crate::store::AuditOutcome;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Uri};
use std::sync::Arc;

/// All plugins
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins",
    responses((status = 200, body = PluginList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<PluginList>, ApiError> {
    edge.admit(&caller, Action::PluginRead, "plugin.list", Input::new(&uri).finish()?).await?;
    Ok(Json(PluginList { items: edge.platform.reports().iter().map(view::plugin).collect() }))
}

/// One plugin
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name")),
    responses((status = 200, body = PluginView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Segments(plugin): Segments<String>,
    uri: Uri,
) -> Result<Json<PluginView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("plugin", &plugin);
    edge.admit(&caller, Action::PluginRead, "plugin.read", input.finish()?).await?;
    Ok(Json(view::plugin(&edge.platform.report(&plugin)?)))
}

/// Swaps a plugin
///
/// Verifies the component beside the one that serves, and lets it serve from one call to the next: none is refused or
/// lost. One that cannot serve changes nothing. A new generation that fails too often in its first minute is rolled
/// back by itself.
#[utoipa::path(put, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name")),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = SwapView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn install(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(plugin): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SwapView>, ApiError> {
    // Before the body is read: megabytes are for those who may send them.
    let permitted = edge.permit(&caller, Action::PluginManage, &Default::default());
    edge.on_record((&caller, &facts), ("plugin.install", &plugin), permitted, AuditOutcome::Refused).await?;
    let (limit, time) = (edge.platform.component_bytes_max(), edge.snapshot().config.server.request_timeout);
    let component = bytes(&headers, body, "application/wasm", limit, time).await?;
    let mut input = Input::new(&uri);
    input.body("length", &component.len().to_string());
    swap(edge, caller, facts, plugin, input, Asked::Install(component)).await
}

/// Rolls a plugin back
///
/// The generation before serves again, at once. The one that served is remembered as refused: it is not loaded again
/// from the plugins' directory, only when it is installed again.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/rollback", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name")),
    responses((status = 200, body = SwapView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn rollback(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(plugin): Segments<String>,
    uri: Uri,
) -> Result<Json<SwapView>, ApiError> {
    swap(edge, caller, facts, plugin, Input::new(&uri), Asked::RollBack).await
}

enum Asked {
    Install(bytes::Bytes),
    RollBack,
}

impl Asked {
    const fn name(&self) -> &'static str {
        match self {
            Self::Install(_) => "plugin.install",
            Self::RollBack => "plugin.rollback",
        }
    }
}

async fn swap(
    edge: Arc<Edge>,
    caller: Caller,
    facts: Facts,
    plugin: String,
    mut input: Input,
    asked: Asked,
) -> Result<Json<SwapView>, ApiError> {
    let name = asked.name();
    input.path("plugin", &plugin);
    let id = NodeId::parse(&plugin)
        .map_err(|error| input.problem("/path/plugin", "invalid", format!("{error}; a plugin's name was expected")));
    let (fields, _) = checked(input, id.ok())?;
    edge.admit_deed((&caller, &facts), Action::PluginManage, (name, &plugin), fields).await?;
    // Answered before the audit is asked for an intent that cannot be carried out.
    edge.platform.report(&plugin)?;
    edge.record(&caller, &facts, name, &plugin, AuditOutcome::Intended, "").await?;
    let author = caller.author(&facts);
    // The platform finishes what it took, and writes down how it ended, whether or not the caller waits for it.
    let swapped = match asked {
        Asked::Install(component) => edge.platform.install(&plugin, component, author).await,
        Asked::RollBack => edge.platform.roll_back(&plugin, author).await,
    };
    if let Err(SwapError::QueueFull { .. }) = &swapped {
        // The platform never heard of it.
        edge.record(&caller, &facts, name, &plugin, AuditOutcome::Failed, "plugin.swaps_waiting").await?;
    }
    let Swapped { result, report } = swapped?;
    Ok(Json(SwapView { result: result.as_str().to_owned(), plugin: view::plugin(&report) }))
}

impl From<SwapError> for ApiError {
    fn from(error: SwapError) -> Self {
        Self::Swap(Arc::new(error))
    }
}
