use crate::hub::filter::{Filter, FilterId, FilterKey};
use crate::hub::follow::{Following, LogWish};
use crate::hub::frame::Frame;
use crate::hub::handle::{Framing, HubLimits, Slot};
use crate::hub::inbox::Join;
use crate::hub::ring::Ring;
use crate::hub::snapshot::{Extent, Snapshot};
use crate::hub::{Access, Close, Position, Reach, frame, frames};
use crate::model::Grant;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use tokio::time::Instant;

/// One client as its shard sees it: a cursor and a filter, and no queue.
#[derive(Debug)]
pub(super) struct Client {
    /// Given back when the client is dropped.
    pub(super) slot: Slot,
    pub(super) framing: Framing,
    pub(super) grant: Grant,
    pub(super) access: Access,
    /// What it may see, by the rights that the grant had when this was its number of changes.
    pub(super) reach: Reach,
    rights_seen: u64,
    /// The epoch of its positions: the hub's, and what it sees.
    epoch: String,
    /// It knows that its time will be over soon.
    is_warned: bool,
    /// Bytes of its answers that wait, counted by its reader too.
    pub(super) pending: Arc<AtomicUsize>,
    /// How many of those are in the outbox.
    pub(super) answers: usize,
    /// What it asked for, once it did.
    pub(super) filter: Option<FilterId>,
    /// The last offset looked at.
    pub(super) cursor: u64,
    /// A snapshot that is being sent, and its next frame.
    pub(super) snapshot: Option<(Arc<Snapshot>, usize)>,
    /// The logs that it follows, if any.
    pub(super) following: Option<Box<Following>>,
    /// What is begun and not done, with what is done of it. Its own handle: the ring may let go of the frame meanwhile.
    pub(super) held: Option<(Bytes, usize)>,
    /// Whole frames that go out behind what is held and in front of everything else.
    pub(super) outbox: Vec<u8>,
    pub(super) farewell: Option<Farewell>,
    pub(super) is_blocked: bool,
    /// Since then it has taken nothing, although there is something.
    pub(super) stalled_since: Option<Instant>,
    /// Since then `held` is the same.
    pub(super) held_since: Option<Instant>,
    /// It has been at the head since it came or started over: from then on it can lag behind.
    pub(super) is_caught_up: bool,
    pub(super) quiet_until: Instant,
    pub(super) ping_at: Instant,
    pub(super) drain_at: Option<Instant>,
    /// The timer that is set for it.
    pub(super) armed: Option<Instant>,
    resyncs: VecDeque<Instant>,
}

/// How somebody who comes back goes on.
#[derive(Debug, Clone, Copy)]
enum Resume {
    /// With the events behind this offset, which are all there.
    Replay(u64),
    /// With what became of what changed behind this offset.
    Changes(u64),
}

/// The end of a connection that has begun: nothing but what is begun and what is in the outbox is sent.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) close: Close,
    pub(super) until: Instant,
}

impl Client {
    pub(super) fn new(join: Join, now: Instant) -> Self {
        let Join { slot, framing, grant, access, pending } = join;
        let rights_seen = grant.changes();
        let reach = access.reach(&grant);
        let limits = &slot.shared.limits;
        Self {
            quiet_until: now + limits.bookmark_after,
            ping_at: now + limits.ping_interval,
            slot,
            framing,
            grant,
            access,
            reach,
            rights_seen,
            epoch: String::new(),
            is_warned: false,
            pending,
            answers: 0,
            filter: None,
            cursor: 0,
            snapshot: None,
            following: None,
            held: None,
            outbox: Vec::new(),
            farewell: None,
            is_blocked: false,
            stalled_since: None,
            held_since: None,
            is_caught_up: false,
            drain_at: None,
            armed: None,
            resyncs: VecDeque::new(),
        }
    }

    /// The filter of a client that is to be given data.
    pub(super) fn reads(&self) -> Option<FilterId> {
        self.filter.filter(|_| self.farewell.is_none())
    }

    /// Whether there may be something to write.
    pub(super) fn has_more(&self, ring: &Ring) -> bool {
        self.held.is_some()
            || !self.outbox.is_empty()
            || self.reads().is_some() && (self.snapshot.is_some() || self.cursor < ring.head())
    }

    /// Whether there are lines of logs to write. States come first.
    pub(super) fn has_logs(&self) -> bool {
        self.reads().is_some() && self.following.as_ref().is_some_and(|following| following.has_more())
    }

    /// Follows these logs and no others, and says so. Without any, now or before, nothing is said.
    pub(super) fn follow(&mut self, wishes: Vec<LogWish>) {
        if wishes.is_empty() && self.following.is_none() {
            return;
        }
        let following = self.following.get_or_insert_default();
        let denied = following.replace(wishes, &self.slot.shared.logs, |topic| self.reach.allows(topic));
        let frame = frames::logs(following.places(), &denied);
        self.say(&frame);
    }

    /// Takes it ahead in the logs that it is too far behind in, and says so.
    pub(super) fn skip_logs(&mut self, now: Instant) {
        let Some(mut following) = self.following.take() else { return };
        let shared = self.slot.shared.clone();
        following.catch_up(&shared.logs, now, |skip| {
            shared.counters.log_lines_skipped.fetch_add(skip.to - skip.from + 1, Relaxed);
            self.say(&frames::skip(&skip));
        });
        self.following = Some(following);
    }

    /// The position that it can come back with: none before it has a whole state.
    pub(super) fn position(&self) -> Option<Position> {
        let is_whole = self.filter.is_some() && self.snapshot.is_none();
        is_whole.then(|| Position { epoch: self.epoch.clone(), offset: self.cursor })
    }

    /// The next moment at which something has to be done even if nothing happens.
    pub(super) fn due(&self) -> Instant {
        if let Some(farewell) = &self.farewell {
            return farewell.until;
        }
        let limits = &self.slot.shared.limits;
        let mut due = match (self.framing, self.filter) {
            (Framing::WebSocket, None) => self.ping_at,
            (Framing::WebSocket, Some(_)) => self.ping_at.min(self.quiet_until),
            (Framing::EventStream, _) => self.quiet_until,
        };
        due = self.drain_at.map_or(due, |at| due.min(at));
        if self.is_blocked {
            due = self.slow_at(limits).map_or(due, |at| due.min(at));
        }
        due
    }

    /// When it will have been too slow.
    pub(super) fn slow_at(&self, limits: &HubLimits) -> Option<Instant> {
        let stalled = self.stalled_since.map(|since| since + limits.progress_max);
        let held = self.held_since.map(|since| since + limits.frame_max);
        stalled.into_iter().chain(held).min()
    }

    /// Begins to read: with what followed `since` if the log still has all of it, with a snapshot otherwise.
    pub(super) fn subscribe(&mut self, filter: &mut Filter, since: Option<Position>) -> Result<(), Close> {
        let shared = self.slot.shared.clone();
        self.epoch = epoch_of(&shared.epoch, filter.key());
        let snapshot = match since.and_then(|since| self.judge(&since)) {
            Some(Resume::Replay(offset)) => {
                self.cursor = offset;
                self.say(&frames::welcome(&self.epoch, offset, "replay"));
                return Ok(());
            }
            Some(Resume::Changes(offset)) => {
                let snapshot = shared.changes(offset, filter, |_| true).ok_or(Close::Full)?;
                count(match snapshot.extent {
                    Extent::Changes => &shared.counters.resume_changes,
                    Extent::Whole => &shared.counters.resume_too_old,
                });
                snapshot
            }
            None => shared.snapshot(filter).ok_or(Close::Full)?,
        };
        self.say(&frames::welcome(&self.epoch, snapshot.offset, snapshot.extent.as_str()));
        self.start_over(snapshot);
        Ok(())
    }

    /// It has missed something, or is about to: tells so, and gives the latest state of what changed since it was there.
    pub(super) fn resync(&mut self, filter: &mut Filter, now: Instant) -> Result<(), Close> {
        let limits = &self.slot.shared.limits;
        while self.resyncs.front().is_some_and(|&earlier| now.duration_since(earlier) > limits.resync_window) {
            self.resyncs.pop_front();
        }
        if self.resyncs.len() >= limits.resyncs_max {
            return Err(Close::ResyncTooOften);
        }
        let snapshot = self.slot.shared.changes(self.cursor, filter, |_| true).ok_or(Close::Full)?;
        self.resyncs.push_back(now);
        let counters = &self.slot.shared.counters;
        count(&counters.resyncs);
        counters.skipped.fetch_add(snapshot.offset.saturating_sub(self.cursor), Relaxed);
        self.say(&frames::resync(self.cursor, snapshot.offset, snapshot.extent.as_str()));
        self.start_over(snapshot);
        Ok(())
    }

    /// What it may see now, if that is something else than before.
    pub(super) fn new_reach(&mut self) -> Option<Reach> {
        let changes = self.grant.changes();
        if std::mem::replace(&mut self.rights_seen, changes) == changes {
            return None;
        }
        Some(self.access.reach(&self.grant)).filter(|reach| *reach != self.reach)
    }

    /// It sees something else from here on. Tells what it has to forget, and gives what it has not seen. `filter` is the new
    /// one.
    pub(super) fn regrant(&mut self, reach: Reach, filter: &mut Filter) -> Result<(), Close> {
        let before = std::mem::replace(&mut self.reach, reach);
        let (lost, kept) = (before.without(&self.reach), before.kept(&self.reach));
        let gained = self.reach.without(&kept);
        let shared = self.slot.shared.clone();
        count(&shared.counters.regrants);
        self.epoch = epoch_of(&shared.epoch, filter.key());
        if !lost.is_empty() {
            let key = FilterKey { patterns: filter.key().patterns.clone(), reach: kept.clone() };
            self.say(&frames::revoked(&lost, &epoch_of(&shared.epoch, &key)));
        }
        let snapshot = if self.snapshot.take().is_some() {
            // It was being given what it may no longer have, or without what it may have now.
            shared.snapshot(filter)
        } else if gained.is_empty() {
            return Ok(());
        } else {
            shared.changes(self.cursor, filter, |topic| kept.allows(topic))
        };
        let snapshot = snapshot.ok_or(Close::Full)?;
        self.say(&frames::regrant(self.cursor, snapshot.offset, snapshot.extent.as_str(), &self.epoch));
        self.start_over(snapshot);
        Ok(())
    }

    /// It stands on another grant from here on. What that changes has to be looked at.
    pub(super) fn stand_on(&mut self, grant: Grant) {
        self.grant = grant;
        // No number of changes: the rights are looked at whatever the new grant's is.
        self.rights_seen = u64::MAX;
        self.is_warned = false;
    }

    /// Says once that its time will be over soon, if that is so and it has said what it asks for.
    pub(super) fn warn(&mut self) {
        if let Some(seconds) = self.grant.ends_in()
            && self.reads().is_some()
            && !std::mem::replace(&mut self.is_warned, true)
        {
            self.say(&frames::expiring(seconds));
        }
    }

    /// The cursor moves to the snapshot's offset in the same step, so nothing is missing and nothing is doubled.
    fn start_over(&mut self, snapshot: Arc<Snapshot>) {
        self.cursor = snapshot.offset;
        self.snapshot = Some((snapshot, 0));
        self.is_caught_up = false;
    }

    /// How somebody who comes back can go on. `None`: with a whole snapshot.
    fn judge(&self, since: &Position) -> Option<Resume> {
        let shared = &self.slot.shared;
        let counters = &shared.counters;
        if hub_of(&since.epoch) != shared.epoch {
            count(&counters.resume_other_epoch);
            return None;
        }
        if since.epoch != self.epoch {
            count(&counters.resume_other_view);
            return None;
        }
        let (head, oldest) = {
            let log = shared.log();
            (log.head(), log.oldest())
        };
        if since.offset > head {
            count(&counters.resume_ahead);
            return None;
        }
        if since.offset + 1 < oldest {
            return Some(Resume::Changes(since.offset));
        }
        count(&counters.resumed);
        Some(Resume::Replay(since.offset))
    }

    /// The epoch of its positions.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Puts a frame in front of what is not begun.
    pub(super) fn say(&mut self, frame: &Frame) {
        match self.framing {
            Framing::WebSocket => self.outbox.extend_from_slice(frame.bytes()),
            Framing::EventStream => event(&mut self.outbox, None, frame),
        }
    }

    /// Says that nothing happened, and where it is.
    pub(super) fn bookmark(&mut self) {
        match self.framing {
            Framing::WebSocket => self.say(&frames::bookmark(self.cursor)),
            Framing::EventStream => {
                // No data: the position moves and nobody is told.
                let id = format!(": still here\nid: {}:{}\n\n", self.epoch, self.cursor);
                self.outbox.extend_from_slice(id.as_bytes());
            }
        }
    }

    pub(super) fn ping(&mut self) {
        // Who has not taken the last one needs no other.
        if self.framing == Framing::WebSocket && self.outbox.is_empty() {
            self.outbox.extend_from_slice(&frame::ping());
        }
    }

    /// Begins the farewell. False if it had begun.
    pub(super) fn end(&mut self, close: Close, reason: &str, now: Instant) -> bool {
        if self.farewell.is_some() {
            return false;
        }
        let shared = &self.slot.shared;
        shared.counters.note_close(close);
        tracing::debug!(close = close.as_str(), reason, "a feed connection ends");
        self.farewell = Some(Farewell { close, until: now + shared.limits.farewell });
        self.snapshot = None;
        if let Some(code) = close.code() {
            match self.framing {
                Framing::WebSocket => self.outbox.extend_from_slice(&frame::close(code, reason)),
                Framing::EventStream => {
                    let reason = serde_json::Value::from(reason);
                    let text = format!("event: close\ndata: {{\"code\":{code},\"reason\":{reason}}}\n\n");
                    self.outbox.extend_from_slice(text.as_bytes());
                }
            }
        }
        true
    }

    /// The outbox is begun: its answers count no longer.
    pub(super) fn begin_outbox(&mut self) -> Vec<u8> {
        self.pending.fetch_sub(std::mem::take(&mut self.answers), Relaxed);
        std::mem::take(&mut self.outbox)
    }
}

/// The epoch of somebody who sees what this filter wants.
fn epoch_of(hub: &str, key: &FilterKey) -> String {
    format!("{hub}-{}", key.tag())
}

/// The hub that an epoch is of.
pub(super) fn hub_of(epoch: &str) -> &str {
    epoch.split_once('-').map_or(epoch, |(hub, _)| hub)
}

/// Appends a frame as a server-sent event. JSON as we write it has no line breaks.
pub(super) fn event(text: &mut Vec<u8>, id: Option<(&str, u64)>, frame: &Frame) {
    if let Some((epoch, offset)) = id {
        text.extend_from_slice(format!("id: {epoch}:{offset}\n").as_bytes());
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(frame.json());
    text.extend_from_slice(b"\n\n");
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
