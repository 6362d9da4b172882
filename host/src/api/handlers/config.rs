use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::checked;
use crate::api::input::{Asked, Input, Segments};
use crate::api::settings;
use crate::api::view::timestamp;
use crate::api::wire::Problem;
use crate::api::wire::config::{ConfigAppliedView, ConfigGenerationList, ConfigGenerationView, ConfigView};
use crate::auth::Action;
use crate::model::NodeId;
use crate::reload::{Applied, Author, ReloadError};
use crate::store::AuditOutcome;
use axum::Json;
use axum::extract::{Extension, State};
use http::Uri;
use std::sync::Arc;

/// The configuration
///
/// What is in force, without secrets.
#[utoipa::path(get, path = "/api/v1/config", tag = "configuration",
    responses((status = 200, body = ConfigView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<ConfigView>, ApiError> {
    edge.admit(&caller, Action::ConfigRead, "config.read", Input::new(&uri).finish()?).await?;
    Ok(Json(settings::config(&edge.snapshot())))
}

/// Generations of the configuration
///
/// The last few that were in force, newest first.
#[utoipa::path(get, path = "/api/v1/config/generations", tag = "configuration",
    responses((status = 200, body = ConfigGenerationList), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn generations(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<ConfigGenerationList>, ApiError> {
    edge.admit(&caller, Action::ConfigRead, "config.list", Input::new(&uri).finish()?).await?;
    let current = edge.snapshot().generation;
    let kept = edge.store.configurations().await.map_err(ReloadError::from)?;
    let items = kept.iter().rev().map(|kept| ConfigGenerationView {
        generation: kept.generation,
        current: kept.generation == current,
        at: timestamp(kept.at),
        cause: kept.cause.clone(),
        who: kept.who.clone(),
        bytes: kept.text.len() as u64,
        managed_nodes: kept.managed.len() as u64,
    });
    Ok(Json(ConfigGenerationList { items: items.collect() }))
}

/// Reads the configuration again
///
/// As SIGHUP does. Applied whole, or not at all: then `errors` lists every fault.
#[utoipa::path(post, path = "/api/v1/config/reload", tag = "configuration",
    responses((status = 200, body = ConfigAppliedView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn reload(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Json<ConfigAppliedView>, ApiError> {
    let change = Change { name: "config.reload", action: Action::ConfigManage, target: String::new() };
    let author = change.admit(&edge, &caller, &facts, Input::new(&uri).finish()?).await?;
    let applied = edge.reloader.reload(author).await;
    change.end(&edge, &caller, &facts, applied).await
}

/// Goes back to an earlier generation
///
/// It becomes a new one: its text replaces the file's, and the nodes that the API owned then are those that it owns. The
/// file must hold what is in force, so that nobody's work is lost. No generation holds a password: `passwords_missing` are
/// the nodes whose password has to be given again.
#[utoipa::path(post, path = "/api/v1/config/rollback/{generation}", tag = "configuration",
    params(("generation" = u64, Path, description = "The generation's number")),
    responses((status = 200, body = ConfigAppliedView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn rollback(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    Segments(generation): Segments<String>,
    uri: Uri,
) -> Result<Json<ConfigAppliedView>, ApiError> {
    let mut input = Input::new(&uri);
    input.path("generation", &generation);
    let number = generation.parse::<u64>().ok();
    if number.is_none() {
        input.problem("/path/generation", "invalid", "the number of a generation was expected".into());
    }
    let (asked, number) = checked(input, number)?;
    let change = Change { name: "config.rollback", action: Action::ConfigManage, target: number.to_string() };
    let author = change.admit(&edge, &caller, &facts, asked).await?;
    let applied = edge.reloader.roll_back(number, author).await;
    change.end(&edge, &caller, &facts, applied).await
}

/// A change of the configuration, from the question whether it is allowed to what is on record of it.
pub(super) struct Change {
    pub(super) name: &'static str,
    pub(super) action: Action,
    pub(super) target: String,
}

impl Change {
    /// Admits it, or has its refusal written down. The intent is durable before anything happens.
    pub(super) async fn admit(
        &self,
        edge: &Edge,
        caller: &Caller,
        facts: &Facts,
        asked: Asked,
    ) -> Result<Author, ApiError> {
        edge.admit_deed((caller, facts), self.action, (self.name, &self.target), asked).await?;
        edge.record(caller, facts, self.name, &self.target, AuditOutcome::Intended, "").await?;
        Ok(caller.author(facts))
    }

    /// What came of it as an answer. What was applied is on record already, together with the generation.
    pub(super) async fn end(
        &self,
        edge: &Edge,
        caller: &Caller,
        facts: &Facts,
        applied: Result<Applied, ReloadError>,
    ) -> Result<Json<ConfigAppliedView>, ApiError> {
        match applied {
            Ok(applied) => Ok(Json(view(&applied))),
            Err(error) => {
                let error = ApiError::from(error);
                edge.record(caller, facts, self.name, &self.target, AuditOutcome::Failed, error.code()).await?;
                Err(error)
            }
        }
    }
}

pub(super) fn view(applied: &Applied) -> ConfigAppliedView {
    let names = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect();
    let keys = |keys: &[&'static str]| keys.iter().map(|key| (*key).to_owned()).collect();
    ConfigAppliedView {
        generation: applied.generation,
        changed: applied.is_changed,
        settings: keys(&applied.settings),
        plugins: applied.plugins.clone(),
        nodes_added: names(&applied.nodes_added),
        nodes_changed: names(&applied.nodes_changed),
        nodes_removed: names(&applied.nodes_removed),
        passwords_missing: applied.passwords_missing.clone(),
        restart: keys(&applied.restart),
    }
}
