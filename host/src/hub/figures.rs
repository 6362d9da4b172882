use crate::hub::Close;
use crate::hub::times::Times;
use crate::model::ClassCounts;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What the hub has done since it was made, and what it holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFigures {
    /// Clients that hold a slot now.
    pub clients: usize,
    /// Events published.
    pub events: u64,
    /// Events that the ring holds now.
    pub ring_events: usize,
    /// Bytes that the ring holds now.
    pub ring_bytes: usize,
    /// Entries of the state table now.
    pub state_items: usize,
    /// How long ago the oldest of them was published.
    pub ring_age: Duration,
    /// Shards that serve now.
    pub shards: usize,
    /// Clients whose connection takes nothing at the moment.
    pub blocked: usize,
    /// How far the client that is furthest behind was behind, when it was last looked at.
    pub lag_max: Duration,
    /// Bytes handed to connections.
    pub bytes: u64,
    /// Writes to connections.
    pub writes: u64,
    /// Events that clients were not given because they had to start over.
    pub skipped: u64,
    /// Clients that stand on another grant than the one they came with.
    pub refreshes: u64,
    /// Clients that see more or less than before since their rights changed.
    pub regrants: u64,
    /// Ends and changes of grants that every shard has applied, and how long that took in all.
    pub revokes: u64,
    /// See `revokes`.
    pub revoke_time: Duration,
    /// The longest of them.
    pub revoke_max: Duration,
    /// Bytes of snapshots that clients have not taken yet, and of those kept for the next client.
    pub snapshot_bytes: usize,
    /// Frames handed to clients.
    pub deliveries: u64,
    /// Snapshots encoded. Less than the snapshots given: equal ones are shared.
    pub snapshots: u64,
    /// Clients whose cursor left the ring.
    pub resyncs: u64,
    /// Clients that came with a position and were given what they had missed.
    pub resumed: u64,
    /// Clients that came with a position of another log, or with none that can be read.
    pub resume_other_epoch: u64,
    /// Clients with a position of somebody who saw something else: other topics, or with other rights.
    pub resume_other_view: u64,
    /// Clients whose position the ring no longer reaches, and who were given what changed since.
    pub resume_changes: u64,
    /// Clients whose position the ring no longer reaches, nor the memory of what was removed.
    pub resume_too_old: u64,
    /// Clients whose position lies in the future: this log lost events, or the client is confused.
    pub resume_ahead: u64,
    /// Frames of logs published.
    pub log_events: u64,
    /// Lines of logs published.
    pub log_lines: u64,
    /// Lines that clients were taken past, and told so.
    pub log_lines_skipped: u64,
    /// Frames that the logs' rings hold now.
    pub log_ring_events: usize,
    /// Bytes that the logs' rings hold now.
    pub log_ring_bytes: usize,
    /// How long ago the oldest of them was published.
    pub log_ring_age: Duration,
    /// Logs that somebody follows now.
    pub logs_followed: usize,
    /// Turns of the shards.
    pub passes: ClassCounts,
    /// From an event's publication until a shard took it up; of several at once the oldest counts.
    pub sequencer_lag: ClassCounts,
    /// How far each client was behind, once a second.
    pub client_lag: ClassCounts,
    /// Snapshots made.
    pub snapshot_times: ClassCounts,
    /// Connections that ended, by reason.
    pub disconnects: Vec<(Close, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) clients: AtomicUsize,
    pub(super) deliveries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) blocked: AtomicUsize,
    pub(super) revokes: AtomicU64,
    pub(super) revoke_us: AtomicU64,
    pub(super) revoke_us_max: AtomicU64,
    pub(super) refreshes: AtomicU64,
    pub(super) regrants: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) resume_other_epoch: AtomicU64,
    pub(super) resume_other_view: AtomicU64,
    pub(super) resume_changes: AtomicU64,
    pub(super) resume_too_old: AtomicU64,
    pub(super) resume_ahead: AtomicU64,
    pub(super) log_lines_skipped: AtomicU64,
    pub(super) passes: Times,
    pub(super) sequencer_lag: Times,
    pub(super) client_lag: Times,
    pub(super) snapshot_times: Times,
    disconnects: [AtomicU64; Close::ALL.len()],
}

impl Counters {
    pub(super) fn note_close(&self, close: Close) {
        if let Some(counter) = self.disconnects.get(close.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn disconnects(&self) -> Vec<(Close, u64)> {
        Close::ALL.into_iter().zip(&self.disconnects).map(|(close, counter)| (close, counter.load(Relaxed))).collect()
    }
}
