use crate::api::edge::{Caller, Edge};
use crate::api::error::ApiError;
use crate::api::input::Input;
use crate::api::log_control::LogLoss;
use crate::api::serve::CertificateState;
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
use std::time::{Duration, SystemTime};

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
    let components = [
        store(edge),
        nodes(edge),
        feed(edge),
        plugins(edge),
        configuration(edge),
        log(&edge.log_loss),
        certificates(&edge.serving.certificates(), SystemTime::now()),
    ];
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
        StoreCondition::ReadOnly => component.not_well(
            Wellness::Degraded,
            "the disk of the database takes no writes: it is read, and written again once the disk takes them",
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

/// Not well while lines cannot be written, and for a while after some were lost.
fn log(loss: &LogLoss) -> Component {
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

/// Not well while what is in a certificate's files does not serve; failed once one that serves is over.
fn certificates(states: &[CertificateState], now: SystemTime) -> Component {
    let component = Component::ok("certificates").figure("total", states.len());
    let over: Vec<String> = states
        .iter()
        .filter(|state| state.expires.is_some_and(|expires| expires <= now))
        .map(|state| format!("`{}` is over", state.file.display()))
        .collect();
    if !over.is_empty() {
        return component.not_well(Wellness::Failed, format!("clients refuse certificates: {}", first(&over)));
    }
    let faults: Vec<String> =
        states.iter().filter_map(|state| state.fault.as_ref()).map(|fault| fault.to_string()).collect();
    if faults.is_empty() {
        return component;
    }
    component.not_well(Wellness::Degraded, format!("{}; what was read before goes on serving", first(&faults)))
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

    #[tokio::test(start_paused = true)]
    async fn p24_a_log_that_lost_lines_is_not_well_for_a_minute_and_while_it_cannot_be_written() {
        let loss = LogLoss::default();
        let is_well = |loss: &LogLoss| log(loss).wellness == Wellness::Ok;
        assert!(is_well(&loss));
        loss.note();
        assert!(!is_well(&loss) && log(&loss).reason.contains("0 s ago"));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!is_well(&loss));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_well(&loss));
        assert_eq!(log(&loss).figures["lines_dropped"], 1, "the number stays");
        loss.note_written(false);
        assert!(log(&loss).reason.contains("cannot be written"));
        loss.note_written(true);
        assert!(is_well(&loss));
    }

    #[test]
    fn p24_a_certificate_that_is_over_has_failed_and_one_that_cannot_be_taken_is_told() {
        let now = SystemTime::now();
        let state = |expires, fault: Option<&str>| {
            let (file, fault) = ("/x.pem".into(), fault.map(Into::into));
            CertificateState { file, expires, fault, reloads: (0, 0) }
        };
        let later = Some(now + Duration::from_secs(1));
        assert!(certificates(&[], now).wellness == Wellness::Ok);
        assert!(certificates(&[state(later, None), state(None, None)], now).wellness == Wellness::Ok);
        let bad = certificates(&[state(later, None), state(later, Some("`/y.pem` cannot be read"))], now);
        assert!(bad.wellness == Wellness::Degraded && bad.reason.contains("/y.pem"));
        let over = certificates(&[state(Some(now), Some("x"))], now);
        assert!(over.wellness == Wellness::Failed && over.reason.contains("/x.pem"));
    }

    #[test]
    fn the_worst_part_counts() {
        assert!(Wellness::Ok < Wellness::Degraded && Wellness::Degraded < Wellness::Failed);
        let view = Component::ok("x").figure("a", 3_usize).not_well(Wellness::Failed, "why").view();
        assert_eq!((view.state.as_str(), view.reason.as_deref()), ("failed", Some("why")));
        assert_eq!(Component::ok("x").view().reason, None);
    }
}
