//! What `/metrics` says of the host itself: calls of nodes, orders, the database, the configuration, tasks.

use crate::api::edge::Edge;
use crate::api::histograms::Histograms;
use crate::store::StoreCondition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabel {
    condition: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabel {
    file: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateOutcome {
    file: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

pub(super) fn register(registry: &mut Registry, edge: &Edge) {
    let build = Family::<VersionLabel, Gauge>::default();
    build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The version that runs", build);
    pool(registry, edge);
    store(registry, edge);
    telemetry(registry, edge);
    configuration(registry, edge);
    tasks(registry, edge);
    serving(registry, edge);
    let began = edge.metrics.began.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    registry.register("start_time_seconds", "When this server began, seconds since 1970", ConstGauge::new(began));
}

fn pool(registry: &mut Registry, edge: &Edge) {
    let pool = edge.pool.metrics();
    let calls =
        counted([("ok", pool.calls_ok.load(Ordering::Relaxed)), ("failed", pool.calls_failed.load(Ordering::Relaxed))]);
    registry.register("node_calls", "Calls of node adapters", calls);
    let times = pool.times().into_iter().map(|(kind, counts)| (KindLabel { kind: kind.as_str() }, counts)).collect();
    let help = "Time of a call of a node adapter that ended by itself, the wait for its turn not counted";
    Histograms::micros("node_call_seconds", help, times).register(registry);
    let under_way = i64::try_from(edge.pool.calls_under_way()).unwrap_or(i64::MAX);
    registry.register("node_calls_under_way", "Calls of adapters now", ConstGauge::new(under_way));
    let open = ConstGauge::new(pool.breakers_open());
    registry.register("node_breakers_open", "Nodes that are not called but for trials", open);
    let opens = ConstCounter::new(pool.breaker_opens.load(Ordering::Relaxed));
    registry.register("node_breaker_opens", "Breakers that opened", opens);
    registry.register("orders", "Orders taken by supervisors", ConstCounter::new(pool.orders.load(Ordering::Relaxed)));
    let streams = ConstCounter::new(pool.hint_streams.load(Ordering::Relaxed));
    registry.register("hint_streams_opened", "Hint streams opened", streams);
}

fn telemetry(registry: &mut Registry, edge: &Edge) {
    let spans = edge.spans.figures();
    let told = [("sent", &spans.sent), ("failed", &spans.failed), ("dropped", &spans.dropped)];
    let told = counted(told.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed))));
    registry.register("telemetry_spans", "Requests as spans, by what became of them", told);
    let dropped = ConstCounter::new(edge.log_loss.lines());
    registry.register("log_lines_dropped", "Log lines that were lost, for they could not be written in time", dropped);
}

fn store(registry: &mut Registry, edge: &Edge) {
    let figures = edge.store.figures();
    let writes = counted([("written", figures.written), ("failed", figures.failed), ("refused", figures.refused)]);
    registry.register("store_writes", "Writes of the database, by what became of them", writes);
    let waiting = i64::try_from(figures.waiting).unwrap_or(i64::MAX);
    registry.register("store_writes_waiting", "Writes that wait for their turn", ConstGauge::new(waiting));
    let help = "Time of a commit, which carries out all writes that waited";
    Histograms::<OutcomeLabel>::micros_of_all("store_commit_seconds", help, figures.commits_us).register(registry);
    let condition = Family::<ConditionLabel, Gauge>::default();
    let now = edge.store.condition();
    for (known, word) in [
        (StoreCondition::Good, "good"),
        (StoreCondition::Full, "full"),
        (StoreCondition::ReadOnly, "read-only"),
        (StoreCondition::Broken, "broken"),
        (StoreCondition::Closed, "closed"),
    ] {
        condition.get_or_create(&ConditionLabel { condition: word }).set(i64::from(known == now));
    }
    let bytes = i64::try_from(edge.store.file_bytes()).unwrap_or(i64::MAX);
    registry.register(
        "store_file_bytes",
        "Room that the database takes on its disk; what is not in use is written next",
        ConstGauge::new(bytes),
    );
    registry.register("store_condition", "1 for the condition that the database is in", condition);
}

fn configuration(registry: &mut Registry, edge: &Edge) {
    let generation = i64::try_from(edge.reloader.snapshot().generation).unwrap_or(i64::MAX);
    registry.register("config_generation", "The configuration in force", ConstGauge::new(generation));
    let changes = counted(edge.reloader.figures().counts());
    registry.register("config_changes", "Changes of the configuration, by what became of them", changes);
    let is_faulty = i64::from(edge.reloader.fault().is_some());
    let help = "1 while the configuration's file as it is now is not in force";
    registry.register("config_faulty", help, ConstGauge::new(is_faulty));
}

fn serving(registry: &mut Registry, edge: &Edge) {
    let taken = i64::try_from(edge.connections.taken()).unwrap_or(i64::MAX);
    registry.register("connections", "Connections that are open", ConstGauge::new(taken));
    let refused = Family::<ReasonLabel, Counter>::default();
    for (why, count) in edge.serving.turned() {
        refused.get_or_create(&ReasonLabel { reason: why.as_str() }).inc_by(count);
    }
    let help = "Connections that were not accepted, or closed before anything was asked on them";
    registry.register("connections_refused", help, refused);
    let (reloads, expires) = (Family::<CertificateOutcome, Counter>::default(), Family::<FileLabel, Gauge>::default());
    for state in edge.serving.certificates() {
        let file = state.file.display().to_string();
        for (outcome, count) in [("ok", state.reloads.0), ("failed", state.reloads.1)] {
            reloads.get_or_create(&CertificateOutcome { file: file.clone(), outcome }).inc_by(count);
        }
        if let Some(at) = state.expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            expires.get_or_create(&FileLabel { file }).set(seconds);
        }
    }
    registry.register("certificate_reloads", "Certificates read again, by whether they could be taken", reloads);
    let help = "When the certificate that serves ends, seconds since 1970";
    registry.register("certificate_expires_seconds", help, expires);
}

fn tasks(registry: &mut Registry, edge: &Edge) {
    let (running, panics) = (Family::<KindLabel, Gauge>::default(), Family::<KindLabel, Counter>::default());
    for figures in edge.tasks.figures() {
        let label = KindLabel { kind: figures.kind.as_str() };
        running.get_or_create(&label).set(i64::try_from(figures.running).unwrap_or(i64::MAX));
        panics.get_or_create(&label).inc_by(figures.panics);
    }
    registry.register("tasks", "Tasks that live, by kind", running);
    registry.register("task_panics", "Tasks that panicked, by kind", panics);
}

fn counted<const N: usize>(counts: [(&'static str, u64); N]) -> Family<OutcomeLabel, Counter> {
    let family = Family::<OutcomeLabel, Counter>::default();
    for (outcome, count) in counts {
        family.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }
    family
}
