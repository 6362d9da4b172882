use crate::hub::Close;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

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
    /// Clients whose position the ring no longer reaches.
    pub resume_too_old: u64,
    /// Clients whose position lies in the future: this log lost events, or the client is confused.
    pub resume_ahead: u64,
    /// Connections that ended, by reason.
    pub disconnects: Vec<(Close, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) clients: AtomicUsize,
    pub(super) deliveries: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) resume_other_epoch: AtomicU64,
    pub(super) resume_too_old: AtomicU64,
    pub(super) resume_ahead: AtomicU64,
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
