//! What `/metrics` says of the feed.

use crate::api::histograms::Histograms;
use crate::api::socket::Door;
use crate::hub::{Close, HubFigures};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabels {
    why: &'static str,
    /// The close code, empty where nobody was told.
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

pub(super) fn register(registry: &mut Registry, figures: &HubFigures, door: &Door) {
    let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register("feed_shards", "Tasks that serve clients of the feed", gauge(figures.shards));
    registry.register("feed_clients", "Clients of the feed", gauge(figures.clients));
    registry.register("feed_blocked_clients", "Clients whose connection takes nothing now", gauge(figures.blocked));
    registry.register("feed_ring_bytes", "Bytes of events kept for late clients", gauge(figures.ring_bytes));
    registry.register("feed_ring_events", "Events kept for late clients", gauge(figures.ring_events));
    registry.register("feed_snapshot_bytes", "Bytes of snapshots held", gauge(figures.snapshot_bytes));
    let oldest = ConstGauge::new(figures.ring_age.as_secs_f64());
    registry.register("feed_ring_oldest_age_seconds", "Age of the oldest event kept", oldest);
    let lag = ConstGauge::new(figures.lag_max.as_secs_f64());
    registry.register("feed_client_lag_seconds_max", "How far the client furthest behind is behind", lag);
    registry.register("feed_events", "Events published", ConstCounter::new(figures.events));
    registry.register("feed_deliveries", "Frames handed to clients", ConstCounter::new(figures.deliveries));
    registry.register("feed_sent_bytes", "Bytes handed to connections", ConstCounter::new(figures.bytes));
    registry.register("feed_write_calls", "Writes to connections", ConstCounter::new(figures.writes));
    registry.register("feed_snapshots", "Snapshots made", ConstCounter::new(figures.snapshots));
    registry.register("feed_resyncs", "Clients that had to start over", ConstCounter::new(figures.resyncs));
    let help = "Offsets that clients were taken past when they started over";
    registry.register("feed_skipped_offsets", help, ConstCounter::new(figures.skipped));
    register_logs(registry, figures);
    register_times(registry, figures);
    register_door(registry, figures, door);
    let resumes = Family::<ResultLabel, Counter>::default();
    for (result, count) in [
        ("replay", figures.resumed),
        ("other-epoch", figures.resume_other_epoch),
        ("other-view", figures.resume_other_view),
        ("changes", figures.resume_changes),
        ("too-old", figures.resume_too_old),
        ("ahead", figures.resume_ahead),
    ] {
        resumes.get_or_create(&ResultLabel { result }).inc_by(count);
    }
    registry.register("feed_resumes", "Clients that came with a position, by what became of it", resumes);
    let disconnects = Family::<WhyLabels, Counter>::default();
    for (why, count) in &figures.disconnects {
        let code = why.code().map(|code| code.to_string()).unwrap_or_default();
        disconnects.get_or_create(&WhyLabels { why: why.as_str(), code }).inc_by(*count);
    }
    registry.register("feed_disconnects", "Feed connections ended, by reason", disconnects);
    let help = "Clients that see more or less since their rights changed";
    registry.register("feed_regrants", help, ConstCounter::new(figures.regrants));
    registry.register(
        "feed_revokes",
        "Ends and changes of grants applied by every shard",
        ConstCounter::new(figures.revokes),
    );
    let time = ConstCounter::new(figures.revoke_time.as_secs_f64());
    registry.register("feed_revoke_seconds", "Time from the call to the last shard, in all", time);
    let longest = ConstGauge::new(figures.revoke_max.as_secs_f64());
    registry.register("feed_revoke_seconds_max", "The longest of them", longest);
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    why: &'static str,
}

fn register_door(registry: &mut Registry, figures: &HubFigures, door: &Door) {
    let refused = Family::<RefusalLabel, Counter>::default();
    for (why, count) in door.refusals() {
        refused.get_or_create(&RefusalLabel { why }).inc_by(count);
    }
    let refreshes = Family::<ResultLabel, Counter>::default();
    for (result, count) in [("ok", figures.refreshes), ("refused", door.refresh_refusals())] {
        refreshes.get_or_create(&ResultLabel { result }).inc_by(count);
    }
    registry.register("feed_refreshes", "Credentials that clients brought on open connections", refreshes);
    let expired = figures.disconnects.iter().find(|(why, _)| *why == Close::Expired).map_or(0, |(_, count)| *count);
    registry.register("feed_auth_expired", "Connections that outlived their credential", ConstCounter::new(expired));
    registry.register("feed_handshakes_rejected", "Requests for the feed that were refused, by why", refused);
}

/// What may become of what an earlier host's feed held.
pub const FEED_SUCCESSIONS: [&str; 6] = ["resumed", "missing", "broken", "foreign", "stale", "unreadable"];

pub(super) fn register_succession(registry: &mut Registry, succession: &'static str) {
    let successions = Family::<ResultLabel, Counter>::default();
    for result in FEED_SUCCESSIONS {
        successions.get_or_create(&ResultLabel { result }).inc_by(u64::from(result == succession));
    }
    registry.register("feed_successions", "What became of what the feed held before the start", successions);
}

fn register_times(registry: &mut Registry, figures: &HubFigures) {
    for (name, help, times) in [
        ("feed_pass_seconds", "Turns of the tasks that serve clients", &figures.passes),
        ("feed_sequencer_lag_seconds", "From an event to the task that serves it", &figures.sequencer_lag),
        ("feed_client_lag_seconds", "How far each client is behind, once a second", &figures.client_lag),
        ("feed_snapshot_seconds", "Making a snapshot", &figures.snapshot_times),
    ] {
        Histograms::<ResultLabel>::micros_of_all(name, help, times.clone()).register(registry);
    }
}

fn register_logs(registry: &mut Registry, figures: &HubFigures) {
    let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register("feed_logs_followed", "Logs that somebody follows", gauge(figures.logs_followed));
    registry.register("feed_log_ring_bytes", "Bytes of lines kept for late clients", gauge(figures.log_ring_bytes));
    registry.register("feed_log_ring_events", "Frames of lines kept for late clients", gauge(figures.log_ring_events));
    let oldest = ConstGauge::new(figures.log_ring_age.as_secs_f64());
    registry.register("feed_log_ring_oldest_age_seconds", "Age of the oldest lines kept", oldest);
    registry.register("feed_log_events", "Frames of lines published", ConstCounter::new(figures.log_events));
    registry.register("feed_log_lines", "Lines published", ConstCounter::new(figures.log_lines));
    let help = "Lines that clients were taken past, and told so";
    registry.register("feed_skipped_log_lines", help, ConstCounter::new(figures.log_lines_skipped));
}
