use crate::hub::filter::FilterKey;
use crate::hub::frame::Frame;
use crate::hub::frames;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// About the bytes of one frame. A connection keeps a buffer of its largest frame, so larger ones would cost every
/// client for as long as it stays.
const FRAME_BYTES: usize = 16 * 1024;
/// Snapshots kept for the next client with the same filter.
const KEPT_MAX: usize = 8;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything: what is not in it is no more.
    Whole,
    /// What became of everything that changed, and what was removed.
    Changes,
}

impl Extent {
    /// The word of `mode`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "snapshot",
            Self::Changes => "changes",
        }
    }
}

/// The state at one offset, as frames. Shared by all who asked for the same at that offset.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// All of the state, or what changed since some offset.
    pub(super) extent: Extent,
    pub(super) offset: u64,
    pub(super) frames: Box<[Frame]>,
    bytes: usize,
    alive_bytes: Arc<AtomicUsize>,
}

impl Snapshot {
    pub(super) fn encode(extent: Extent, offset: u64, items: &[Utf8Bytes], alive_bytes: Arc<AtomicUsize>) -> Self {
        let frames = frames::snapshot(offset, items, FRAME_BYTES);
        let bytes = frames.iter().map(Frame::len).sum();
        alive_bytes.fetch_add(bytes, Relaxed);
        Self { extent, offset, frames, bytes, alive_bytes }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.alive_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// The last snapshots, so that many clients that come at once cost one encoding.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<(Arc<FilterKey>, Arc<Snapshot>)>);

impl Kept {
    pub(super) fn find(&self, key: &FilterKey, offset: u64) -> Option<Arc<Snapshot>> {
        let same = |(kept, snapshot): &&(Arc<FilterKey>, Arc<Snapshot>)| snapshot.offset == offset && **kept == *key;
        self.0.iter().find(same).map(|(_, snapshot)| snapshot.clone())
    }

    pub(super) fn keep(&mut self, key: Arc<FilterKey>, snapshot: Arc<Snapshot>) {
        self.0.retain(|(_, kept)| kept.offset >= snapshot.offset);
        if self.0.len() >= KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((key, snapshot));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
