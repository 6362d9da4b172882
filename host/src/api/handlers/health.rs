use crate::api::edge::{Caller, Edge};
use crate::api::error::ApiError;
use crate::api::input::Input;
use crate::api::wire::Problem;
use crate::api::wire::health::{ComponentView, HealthView, TaskKindView};
use crate::auth::Action;
use crate::model::NodeState;
use crate::plugin::QuarantineReach;
use crate::store::StoreCondition;
use axum::Json;
use axum::extract::{Extension, State};
use http::Uri;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// So long after a line of the log was lost, the log is not well.
const LOSS_TOLD_FOR: Duration = Duration::from_secs(60);
/// Nodes and plugins that a reason names.
const NAMES_MAX: usize = 10;

/// How the server does
///
/// Each part with its state, and why it is not well. Answered from what is in memory: it waits for no node and no disk.
#[utoipa::path(get, path = "/api/v1/health", tag = "probes",
    responses((status = 200, body = HealthView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<HealthView>, ApiError> {
    edge.admit(&caller, Action::HealthRead, "health.read", Input::new(&uri).finish()?).await?;
    Ok(Json(health(&edge)))
}

/// How well a part is; the later the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wellness {
    Ok,
    Degraded,
    Failed,
}

impl Wellness {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

struct Component {
    name: &'static str,
    wellness: Wellness,
    reason: String,
    figures: BTreeMap<String, u64>,
}

impl Component {
    fn ok(name: &'static str) -> Self {
        Self { name, wellness: Wellness::Ok, reason: String::new(), figures: BTreeMap::new() }
    }

    fn figure(mut self, name: &str, value: impl TryInto<u64>) -> Self {
        self.figures.insert(name.to_owned(), value.try_into().unwrap_or(u64::MAX));
        self
    }

    fn not_well(self, wellness: Wellness, reason: impl Into<String>) -> Self {
        Self { wellness, reason: reason.into(), ..self }
    }

    fn view(self) -> ComponentView {
        let reason = (self.wellness != Wellness::Ok).then_some(self.reason);
        let state = self.wellness.as_str().to_owned();
        ComponentView { name: self.name.to_owned(), state, reason, figures: self.figures }
    }
}

fn health(edge: &Edge) -> HealthView {
    let components = [store(edge), nodes(edge), feed(edge), plugins(edge), configuration(edge), log(edge)];
    let worst = components.iter().map(|component| component.wellness).max().unwrap_or(Wellness::Ok);
    let status = if edge.stop.is_cancelled() { "shutting-down" } else { worst.as_str() };
    let tasks = edge.tasks.figures().map(|figures| TaskKindView {
        kind: figures.kind.as_str().to_owned(),
        running: u64::try_from(figures.running).unwrap_or(u64::MAX),
        panics: figures.panics,
    });
    HealthView {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        components: components.into_iter().map(Component::view).collect(),
        tasks: tasks.into(),
    }
}

fn store(edge: &Edge) -> Component {
    let component = Component::ok("store").figure("writes_waiting", edge.store.writes_waiting());
    match edge.store.condition() {
        StoreCondition::Good => component,
        StoreCondition::Full => component.not_well(
            Wellness::Degraded,
            "the disk of the database is full: it is read, and written again once there is room",
        ),
        StoreCondition::Broken => component
            .not_well(Wellness::Failed, "a write failed: the database is read, and not written before a restart"),
        StoreCondition::Closed => component.not_well(Wellness::Failed, "the database is closed"),
    }
}

fn nodes(edge: &Edge) -> Component {
    let mut component = Component::ok("nodes");
    let (mut total, mut told) = (0_u64, Vec::new());
    for handle in edge.pool.nodes() {
        let status = handle.status();
        total += 1;
        *component.figures.entry(status.state.as_str().to_owned()).or_default() += 1;
        // One that was just added is no news, and one that is disabled is as it was wished.
        if !status.state.is_live() && !matches!(status.state, NodeState::Connecting | NodeState::Disabled) {
            told.push(format!("{} is {}", status.id, status.state.as_str()));
        }
    }
    let component = component.figure("total", total);
    if told.is_empty() {
        return component;
    }
    let reason = format!("{} of {total} nodes are not live: {}", told.len(), first(&told));
    component.not_well(Wellness::Degraded, reason)
}

fn feed(edge: &Edge) -> Component {
    let (clients, limit) = (edge.hub.figures().clients, edge.snapshot().config.server.feed_clients_max);
    let component = Component::ok("feed").figure("clients", clients).figure("clients_max", limit);
    if clients < limit {
        return component;
    }
    component.not_well(Wellness::Degraded, "the feed has as many clients as it may have; further ones are refused")
}

fn plugins(edge: &Edge) -> Component {
    let reports = edge.platform.reports();
    let told: Vec<String> = reports
        .iter()
        .filter(|report| report.quarantine != QuarantineReach::None)
        .map(|report| format!("{} is quarantined for {}", report.name, report.quarantine.as_str()))
        .collect();
    let component = Component::ok("plugins")
        .figure("total", reports.len())
        .figure("quarantined", told.len())
        .figure("swaps_waiting", edge.platform.swaps_waiting());
    if told.is_empty() { component } else { component.not_well(Wellness::Degraded, first(&told)) }
}

/// Not well while a changed file is not in force: for its faults, or until a restart.
fn configuration(edge: &Edge) -> Component {
    let (snapshot, fault) = (edge.snapshot(), edge.reloader.fault());
    let component = Component::ok("configuration")
        .figure("generation", snapshot.generation)
        .figure("waits_for_restart", snapshot.restart.len());
    let waits = || format!("these keys wait for a restart: {}", snapshot.restart.join(", "));
    match (fault, snapshot.restart.is_empty()) {
        (None, true) => component,
        (None, false) => component.not_well(Wellness::Degraded, waits()),
        (Some(fault), true) => component.not_well(Wellness::Degraded, &*fault),
        (Some(fault), false) => component.not_well(Wellness::Degraded, format!("{fault}\n{}", waits())),
    }
}

fn log(edge: &Edge) -> Component {
    let loss = &edge.log_loss;
    let component = Component::ok("log").figure("lines_dropped", loss.lines());
    if loss.is_broken() {
        return component.not_well(Wellness::Degraded, "the log cannot be written: its lines are lost");
    }
    match loss.last().filter(|ago| *ago < LOSS_TOLD_FOR) {
        None => component,
        Some(ago) => component.not_well(
            Wellness::Degraded,
            format!("lines of the log were lost {} s ago: whoever reads it is too slow", ago.as_secs()),
        ),
    }
}

/// The first few of many, and how many more there are.
fn first(told: &[String]) -> String {
    let mut text = told.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = told.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names: Vec<String> = (0..12).map(|n| format!("n{n}")).collect();
        assert_eq!(first(&names[..2]), "n0, n1");
        assert!(first(&names).ends_with("n9 and 2 more"));
    }

    #[test]
    fn the_worst_part_counts() {
        assert!(Wellness::Ok < Wellness::Degraded && Wellness::Degraded < Wellness::Failed);
        let view = Component::ok("x").figure("a", 3_usize).not_well(Wellness::Failed, "why").view();
        assert_eq!((view.state.as_str(), view.reason.as_deref()), ("failed", Some("why")));
        assert_eq!(Component::ok("x").view().reason, None);
    }
}
