//! What `/metrics` says: the fleet, and the host itself.
//!
//! Fleet figures are read from the nodes' snapshots when they are asked for, so they cannot disagree with the API.

use crate::api::edge::Edge;
use crate::api::error::ApiError;
use crate::api::histograms::Histograms;
use crate::api::{feed_metrics, host_metrics};
use crate::model::{ClassCounts, ProcessState};
use crate::plugin::{JudgeError, PluginReport, QuarantineReach, Storm, Toolchain, ToolchainCounts};
use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Lines about requests let through, in one window.
const LINES_MAX: u32 = 5;
const LINES_WINDOW: Duration = Duration::from_secs(10);
/// Upper bounds in seconds.
const BUCKETS: [f64; 11] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    node: String,
    environment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeStateLabels {
    node: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessLabels {
    node: String,
    group: String,
    process: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateCountLabels {
    node: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginOutcomeLabels {
    plugin: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginReachLabels {
    plugin: String,
    reach: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginSwapLabels {
    plugin: String,
    result: &'static str,
}

/// Counters of the edge.
#[derive(Debug)]
pub struct Metrics {
    /// When this host began.
    pub(super) began: SystemTime,
    toolchain: Toolchain,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    /// Requests that a validator's failure did not stop.
    let_through: Family<PluginLabel, Counter>,
    told: Storm,
}

impl Metrics {
    /// Counters at zero, beside those that the plugins and their toolchain keep themselves.
    #[must_use]
    pub fn new(toolchain: Toolchain) -> Self {
        Self {
            began: SystemTime::now(),
            toolchain,
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            let_through: Family::default(),
            told: Storm::new(LINES_MAX, LINES_WINDOW),
        }
    }

    /// Counts a request that goes on although a validator failed, and says so in the log, at most five times in ten
    /// seconds.
    pub(super) fn let_through(&self, validator: &str, operation: &str, failure: &JudgeError) {
        self.let_through.get_or_create(&PluginLabel { plugin: validator.to_owned() }).inc();
        if let Some(untold) = self.told.admit(Instant::now()) {
            let cause = failure as &dyn std::error::Error;
            tracing::warn!(
                validator,
                operation,
                cause,
                untold,
                "a request goes on without the verdict of a validator that failed"
            );
        }
    }

    pub(super) fn request(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let route = route.to_owned();
        self.seconds.get_or_create(&RouteLabel { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method: known(method), status }).inc();
    }

    /// The whole page.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it cannot be written, which would be a bug.
    pub(super) fn render(&self, edge: &Edge) -> Result<String, ApiError> {
        let mut registry = Registry::with_prefix("omnivisor");
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_seconds", "From head to answer", self.seconds.clone());
        fleet(&mut registry, edge);
        host_metrics::register(&mut registry, edge);
        feed_metrics::register(&mut registry, &edge.hub.figures(), &edge.door);
        feed_metrics::register_succession(&mut registry, edge.feed_succession);
        plugins(&mut registry, edge);
        artefacts(&mut registry, self.toolchain.counts());
        let help = "Requests that went on although this validator failed";
        registry.register("validator_failures_allowed", help, self.let_through.clone());
        let help = "Refusals of strangers that are counted here alone";
        registry.register("strangers_refused_unrecorded", help, ConstCounter::new(edge.strangers.untold()));
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| ApiError::Internal { what: format!("metrics: {error}") })?;
        Ok(text)
    }
}

fn fleet(registry: &mut Registry, edge: &Edge) {
    let node_up = Family::<NodeLabels, Gauge>::default();
    let node_state = Family::<NodeStateLabels, Gauge>::default();
    let process_up = Family::<ProcessLabels, Gauge>::default();
    let process_start = Family::<ProcessLabels, Gauge>::default();
    let process_exit = Family::<ProcessLabels, Gauge>::default();
    let restarts = Family::<ProcessLabels, Counter>::default();
    let processes = Family::<StateCountLabels, Gauge>::default();
    for handle in edge.pool.nodes() {
        let status = handle.status();
        let node = status.id.to_string();
        let environment = status.environment.clone().unwrap_or_default();
        node_up.get_or_create(&NodeLabels { node: node.clone(), environment }).set(i64::from(status.state.is_live()));
        node_state.get_or_create(&NodeStateLabels { node: node.clone(), state: status.state.as_str() }).set(1);
        for state in ProcessState::ALL {
            let count = status.processes.iter().filter(|p| p.process.state == state).count();
            let labels = StateCountLabels { node: node.clone(), state: state.as_str() };
            processes.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for observed in status.processes.iter() {
            let process = &observed.process;
            let labels = ProcessLabels {
                node: node.clone(),
                group: process.id.group().to_owned(),
                process: process.id.name().to_owned(),
            };
            restarts.get_or_create(&labels).inc_by(observed.restarts);
            process_up.get_or_create(&labels).set(i64::from(process.state == ProcessState::Running));
            if let Some(exit) = process.exit_status {
                process_exit.get_or_create(&labels).set(i64::from(exit));
            }
            let started = observed.started_at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            if let Some(started) = started {
                process_start.get_or_create(&labels).set(i64::try_from(started.as_secs()).unwrap_or(i64::MAX));
            }
        }
    }
    registry.register("node_up", "1 while the node's data is current", node_up);
    registry.register("node_state", "1 for the state the node is in", node_state);
    registry.register("processes", "Processes of a node by state", processes);
    registry.register("process_up", "1 while the process is running", process_up);
    registry.register("process_start_time_seconds", "Start of the current run, seconds since 1970", process_start);
    let help = "Runs that began since the process was seen first, since this server's start";
    registry.register("process_restarts", help, restarts);
    registry.register("process_exit_status", "Exit status of the last run that ended", process_exit);
}

fn plugins(registry: &mut Registry, edge: &Edge) {
    let reports = edge.platform.reports();
    let calls = Family::<PluginOutcomeLabels, Counter>::default();
    let fuel = Family::<PluginLabel, Counter>::default();
    let running = Family::<PluginLabel, Gauge>::default();
    let memory = Family::<PluginLabel, Gauge>::default();
    let generation = Family::<PluginLabel, Gauge>::default();
    let quarantine = Family::<PluginReachLabels, Gauge>::default();
    let swaps = Family::<PluginSwapLabels, Counter>::default();
    let dropped = Family::<PluginLabel, Counter>::default();
    for report in &reports {
        let (figures, plugin) = (&report.totals, report.name.clone());
        let label = PluginLabel { plugin: plugin.clone() };
        dropped.get_or_create(&label).inc_by(figures.log_lines_dropped);
        for (outcome, count) in figures.outcomes {
            calls.get_or_create(&PluginOutcomeLabels { plugin: plugin.clone(), outcome }).inc_by(count);
        }
        for (result, count) in report.swaps {
            let result = result.as_str();
            swaps.get_or_create(&PluginSwapLabels { plugin: plugin.clone(), result }).inc_by(count);
        }
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        fuel.get_or_create(&label).inc_by(figures.fuel_total);
        running.get_or_create(&label).set(gauge(figures.running));
        memory.get_or_create(&label).set(gauge(figures.memory_bytes_peak));
        generation.get_or_create(&label).set(gauge(report.active.id));
        for reach in [QuarantineReach::Caller, QuarantineReach::All] {
            let labels = PluginReachLabels { plugin: plugin.clone(), reach: reach.as_str() };
            quarantine.get_or_create(&labels).set(i64::from(report.quarantine == reach));
        }
    }
    registry.register("plugin_calls", "Calls of plugins, by outcome", calls);
    registry.register("plugin_fuel", "Fuel used", fuel);
    registry.register("plugin_calls_running", "Calls under way", running);
    registry.register("plugin_memory_bytes_peak", "Most linear memory one call had", memory);
    registry.register("plugin_generation", "The generation that serves", generation);
    registry.register("plugin_quarantined", "1 while one caller, or all, are refused because calls failed", quarantine);
    registry.register("plugin_swaps", "Swaps of plugins, by how they ended", swaps);
    registry.register("plugin_log_lines_dropped", "Log lines beyond the budget", dropped);
    let waiting = i64::try_from(edge.platform.swaps_waiting()).unwrap_or(i64::MAX);
    registry.register("plugin_swaps_waiting", "Swaps that wait for the one under way", ConstGauge::new(waiting));
    let rows = |counted: fn(&PluginReport) -> ClassCounts| {
        reports.iter().map(|report| (PluginLabel { plugin: report.name.clone() }, counted(report))).collect()
    };
    let times = rows(|report| ClassCounts {
        classes: report.totals.time_classes.clone(),
        sum: u64::try_from(report.totals.time_total.as_micros()).unwrap_or(u64::MAX),
    });
    let fuel =
        rows(|report| ClassCounts { classes: report.totals.fuel_classes.clone(), sum: report.totals.fuel_total });
    Histograms::micros("plugin_call_seconds", "Time of a call, waits included", times).register(registry);
    Histograms::units("plugin_call_fuel", "Fuel of a call", fuel).register(registry);
}

fn artefacts(registry: &mut Registry, counts: ToolchainCounts) {
    let artefacts = Family::<ResultLabel, Counter>::default();
    let ToolchainCounts { cached, compiled, unfit, failed } = counts;
    for (result, count) in [("cached", cached), ("compiled", compiled), ("unfit", unfit), ("failed", failed)] {
        artefacts.get_or_create(&ResultLabel { result }).inc_by(count);
    }
    registry.register("plugin_artefacts", "Compiled code of plugins, by where it came from", artefacts);
}

/// Callers invent methods; labels have to be few.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
