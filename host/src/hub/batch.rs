//! What one write to a client is made of, and what is begun when some of it was taken.

use crate::hub::client::{Client, event};
use crate::hub::filter::Filter;
use crate::hub::follow::Staged;
use crate::hub::ring::{Found, Ring};
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::Instant;

/// Frames of one write, besides what is held and the outbox.
pub(super) const BATCH_FRAMES_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// Events looked at for one write, so that a filter that wants little does not hold the shard up.
const SCAN_MAX: usize = 1024;

/// Where the bytes of a piece are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Held,
    Outbox,
    Snapshot(usize),
    Event(u64),
    /// The number of what is staged.
    Log(usize),
}

/// What a write may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// States alone.
    States,
    /// Behind them, lines of logs.
    All,
}

/// What one write has left.
pub(super) struct Room {
    frames: usize,
    bytes: usize,
}

impl Room {
    /// Of a write that holds nothing yet.
    pub(super) const fn new() -> Self {
        Self { frames: BATCH_FRAMES_MAX, bytes: BATCH_BYTES_MAX }
    }

    /// Whether a frame still fits. The first one always does.
    fn take(&mut self, len: usize) -> bool {
        if self.frames == 0 || self.bytes < len && self.bytes < BATCH_BYTES_MAX {
            return false;
        }
        self.frames -= 1;
        self.bytes = self.bytes.saturating_sub(len);
        true
    }
}

/// Hands over the frames that come next: of the snapshot, then events. Gives where the cursor stands behind them.
pub(super) fn gather(
    client: &Client,
    ring: &Ring,
    filter: &mut Filter,
    room: &mut Room,
    mut hand_over: impl FnMut(Source, usize),
) -> u64 {
    if let Some((snapshot, next)) = &client.snapshot {
        for (index, frame) in snapshot.frames.iter().enumerate().skip(*next) {
            if !room.take(frame.len()) {
                return client.cursor;
            }
            hand_over(Source::Snapshot(index), frame.len());
        }
    }
    if client.cursor + 1 < ring.oldest() {
        // The log has left it behind; it starts over once what is begun is done.
        return client.cursor;
    }
    ring.scan(client.cursor, filter, SCAN_MAX, |Found { offset, len }| {
        let fits = room.take(len);
        if fits {
            hand_over(Source::Event(offset), len);
        }
        fits
    })
}

/// Collects lines of logs behind the states, once those are all there: `is_at_head`.
pub(super) fn stage(client: &Client, is_at_head: bool, room: &mut Room, staged: &mut Vec<Staged>) {
    let has_snapshot = client.snapshot.as_ref().is_some_and(|(snapshot, next)| *next < snapshot.frames.len());
    if let Some(following) = client.following.as_ref().filter(|_| is_at_head && !has_snapshot) {
        following.stage(staged, |len| room.take(len));
    }
}

/// A piece has been begun; `rest` says how much of it is done if not all.
pub(super) fn advance(
    client: &mut Client,
    (ring, staged): (&Ring, &[Staged]),
    source: Source,
    rest: Option<usize>,
    now: Instant,
) {
    let begun = match source {
        Source::Held => {
            match (rest, &mut client.held) {
                (Some(more), Some((_, done))) => *done += more,
                (Some(_) | None, _) => {
                    client.held = None;
                    client.held_since = None;
                }
            }
            return;
        }
        Source::Outbox => {
            let outbox = client.begin_outbox();
            rest.map(|_| outbox.into())
        }
        Source::Snapshot(index) => {
            let Some((snapshot, next)) = &mut client.snapshot else { return };
            *next = index + 1;
            let frame = rest.and_then(|_| snapshot.frames.get(index)).map(|frame| frame.bytes().clone());
            if *next >= snapshot.frames.len() {
                client.snapshot = None;
            }
            frame
        }
        Source::Event(offset) => {
            client.cursor = offset;
            rest.and_then(|_| ring.frame(offset)).map(|frame| frame.bytes().clone())
        }
        Source::Log(at) => {
            let Some(staged) = staged.get(at) else { return };
            if let Some(following) = &mut client.following {
                following.advance(staged);
            }
            rest.map(|_| staged.frame.bytes().clone())
        }
    };
    if let (Some(bytes), Some(done)) = (begun, rest) {
        client.held = Some((bytes, done));
        client.held_since = Some(now);
    }
}

/// The same for a client of server-sent events: its frames are put into one text, which it holds from the start.
pub(super) fn encode(
    client: &mut Client,
    ring: &Ring,
    filter: &mut Filter,
    (lanes, staged): (Lanes, &mut Vec<Staged>),
    now: Instant,
) {
    let shared = client.slot.shared.clone();
    let mut found = Vec::new();
    let mut room = Room::new();
    let reached = gather(client, ring, filter, &mut room, |source, _| found.push(source));
    if lanes == Lanes::All {
        stage(client, reached >= ring.head(), &mut room, staged);
        found.extend((0..staged.len()).map(Source::Log));
    }
    let mut text = Vec::new();
    let mut is_state = false;
    for source in found {
        match source {
            Source::Snapshot(index) => {
                let Some((snapshot, _)) = client.snapshot.clone() else { continue };
                let is_last = index + 1 == snapshot.frames.len();
                if let Some(frame) = snapshot.frames.get(index) {
                    event(&mut text, is_last.then_some((client.epoch(), snapshot.offset)), frame);
                }
                is_state = true;
            }
            Source::Event(offset) => {
                if let Some(frame) = ring.frame(offset) {
                    event(&mut text, Some((client.epoch(), offset)), frame);
                }
                is_state = true;
            }
            Source::Log(at) => {
                if let Some(staged) = staged.get(at) {
                    event(&mut text, None, &staged.frame);
                }
            }
            Source::Held | Source::Outbox => {}
        }
        shared.counters.deliveries.fetch_add(1, Relaxed);
        advance(client, (ring, staged), source, None, now);
    }
    client.cursor = client.cursor.max(reached);
    if is_state {
        client.quiet_until = now + shared.limits.bookmark_after;
    }
    if !text.is_empty() {
        client.held = Some((text.into(), 0));
        client.held_since = Some(now);
    }
}
