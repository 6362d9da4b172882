use crate::hub::filter::Filter;
use crate::hub::handle::Slot;
use crate::hub::log::Read;
use crate::hub::snapshot::Snapshot;
use crate::hub::{Close, Patterns, Position, frames};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// One client's way through the log: a cursor and a filter, and no queue.
#[derive(Debug)]
pub struct Subscription {
    slot: Slot,
    filter: Filter,
    head: watch::Receiver<u64>,
    /// The last offset looked at.
    cursor: u64,
    step: Step,
    /// When a client that was given nothing is given a bookmark.
    quiet_until: Instant,
    resyncs: VecDeque<Instant>,
}

/// What comes next.
#[derive(Debug)]
enum Step {
    /// The first frame of a client that resumes.
    Welcome,
    /// A frame that announces a snapshot, and the snapshot.
    Announce(Utf8Bytes, Arc<Snapshot>),
    /// The snapshot's frame of that index.
    Snapshot(Arc<Snapshot>, usize),
    /// Whatever is behind the cursor.
    Events,
    /// Nothing more.
    End(Close),
}

/// What a client is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Whole text frames, at least one, in order; at most 64, and about 64 KiB unless one alone is longer.
    Frames(Vec<Utf8Bytes>),
    /// Nothing more: close the connection for this reason.
    End(Close),
}

impl Subscription {
    pub(super) fn begin(slot: Slot, patterns: Patterns, since: Option<&Position>) -> Self {
        let mut subscription = Self {
            head: slot.shared.head.subscribe(),
            filter: Filter::new(patterns),
            cursor: 0,
            step: Step::Welcome,
            quiet_until: Instant::now() + slot.shared.limits.bookmark_after,
            resyncs: VecDeque::new(),
            slot,
        };
        if let Some(since) = since
            && subscription.can_resume(since)
        {
            subscription.cursor = since.offset;
        } else {
            subscription.start_over(|epoch, _, offset| frames::welcome(epoch, offset, "snapshot"));
        }
        subscription
    }

    /// The position up to which this client was given all that it asked for, once it has a snapshot.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.slot.shared.epoch.clone(), offset: self.cursor }
    }

    /// Waits for the next frames.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the cursor moves in the same step that gives the frames.
    pub async fn next(&mut self) -> Delivery {
        loop {
            // Marked as seen before the log is read, so an event in between wakes us again.
            self.head.borrow_and_update();
            if let Some(delivery) = self.due() {
                return delivery;
            }
            if !self.is_at_head() {
                tokio::task::coop::consume_budget().await;
                continue;
            }
            tokio::select! {
                // The sender lives as long as the slot does.
                _ = self.head.changed() => {}
                () = tokio::time::sleep_until(self.quiet_until) => {
                    return self.deliver(vec![frames::bookmark(self.cursor)]);
                }
            }
        }
    }

    fn is_at_head(&self) -> bool {
        self.cursor >= self.slot.shared.log().head()
    }

    fn due(&mut self) -> Option<Delivery> {
        match std::mem::replace(&mut self.step, Step::Events) {
            Step::Welcome => {
                let welcome = frames::welcome(&self.slot.shared.epoch, self.cursor, "replay");
                Some(self.deliver(vec![welcome]))
            }
            Step::Announce(frame, snapshot) => {
                self.step = Step::Snapshot(snapshot, 0);
                Some(self.deliver(vec![frame]))
            }
            Step::Snapshot(snapshot, index) => {
                let frame = snapshot.frames.get(index).cloned()?;
                if index + 1 < snapshot.frames.len() {
                    self.step = Step::Snapshot(snapshot, index + 1);
                }
                Some(self.deliver(vec![frame]))
            }
            Step::Events => self.events(),
            Step::End(close) => {
                self.step = Step::End(close);
                Some(Delivery::End(close))
            }
        }
    }

    fn events(&mut self) -> Option<Delivery> {
        let read = self.slot.shared.log().read(self.cursor, &mut self.filter);
        match read {
            Read::Frames { frames, cursor } => {
                self.cursor = cursor;
                (!frames.is_empty()).then(|| self.deliver(frames))
            }
            Read::Lost => {
                self.resync();
                self.due()
            }
        }
    }

    /// The cursor left the ring: tells so, and gives the state as it is now.
    fn resync(&mut self) {
        let limits = &self.slot.shared.limits;
        let now = Instant::now();
        while self.resyncs.front().is_some_and(|&earlier| now.duration_since(earlier) > limits.resync_window) {
            self.resyncs.pop_front();
        }
        if self.resyncs.len() >= limits.resyncs_max {
            self.step = Step::End(Close::TooSlow);
            return;
        }
        self.resyncs.push_back(now);
        count(&self.slot.shared.counters.resyncs);
        self.start_over(|_, from, offset| frames::resync(from, offset));
    }

    /// Takes a snapshot; the cursor moves to its offset in the same step, so nothing is missing and nothing is doubled.
    fn start_over(&mut self, announce: impl FnOnce(&str, u64, u64) -> Utf8Bytes) {
        self.step = match self.slot.shared.snapshot(&mut self.filter) {
            Some(snapshot) => {
                let frame = announce(&self.slot.shared.epoch, self.cursor, snapshot.offset);
                self.cursor = snapshot.offset;
                Step::Announce(frame, snapshot)
            }
            None => Step::End(Close::Full),
        };
    }

    fn can_resume(&self, since: &Position) -> bool {
        let counters = &self.slot.shared.counters;
        if since.epoch != self.slot.shared.epoch {
            count(&counters.resume_other_epoch);
            return false;
        }
        let (head, oldest) = {
            let log = self.slot.shared.log();
            (log.head(), log.oldest())
        };
        if since.offset > head {
            count(&counters.resume_ahead);
            return false;
        }
        if since.offset + 1 < oldest {
            count(&counters.resume_too_old);
            return false;
        }
        count(&counters.resumed);
        true
    }

    fn deliver(&mut self, frames: Vec<Utf8Bytes>) -> Delivery {
        self.slot.shared.counters.deliveries.fetch_add(frames.len() as u64, Relaxed);
        self.quiet_until = Instant::now() + self.slot.shared.limits.bookmark_after;
        Delivery::Frames(frames)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
