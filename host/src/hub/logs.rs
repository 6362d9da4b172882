//! The lane for what may be skipped: the lines of processes' logs. It has nothing in common with the log of states but its
//! clients: rings, bounds and numbers of its own, so that no flood of lines pushes a state out or holds one up.

use crate::hub::frame::Frame;
use crate::hub::frames;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Logs that one client may follow.
pub const LOGS_MAX: usize = 64;

/// What an entry costs besides its frame.
const ENTRY_BYTES: usize = 64;

/// Lines of one log, for everyone who follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPublication {
    /// The text of a [`crate::model::LogTopic`].
    pub topic: Arc<str>,
    /// How many lines these are. What is not a line, e.g. the mark of a gap, counts as one.
    pub lines: u32,
    /// Further members of the frame as JSON without the outer braces. May be empty.
    pub members: String,
}

/// How much of the logs is kept, and when somebody who follows one is too far behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// Logs that are followed at once, by all clients together. A further one is denied.
    pub streams_max: usize,
    /// Frames that all rings hold.
    pub events_max: usize,
    /// Bytes that all rings hold.
    pub bytes_max: usize,
    /// How long a ring holds a frame.
    pub age_max: Duration,
    /// Bytes that the ring of one log holds: who is further behind is taken ahead.
    pub stream_bytes_max: usize,
    /// Who had caught up with a log and is further behind than this is taken ahead.
    pub lag_max: Duration,
    /// What somebody who is taken ahead still gets: the last so many bytes.
    pub keep_bytes: usize,
    /// At most so often a shard looks for new lines.
    pub tick: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            streams_max: 4_096,
            events_max: 262_144,
            bytes_max: 64 * 1024 * 1024,
            age_max: Duration::from_mins(15),
            stream_bytes_max: 2 * 1024 * 1024,
            lag_max: Duration::from_secs(5),
            keep_bytes: 64 * 1024,
            tick: Duration::from_millis(15),
        }
    }
}

/// Every log of which something is kept, or that somebody follows.
#[derive(Debug)]
pub(super) struct LogLane {
    limits: LogLimits,
    state: Mutex<State>,
    demand: watch::Sender<Arc<BTreeSet<Arc<str>>>>,
    /// The offset of the last frame, for who waits for the next.
    pub(super) news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<Arc<str>, Known>,
    /// The streams whose rings are not empty, by the offset of the first frame: the oldest of all is evicted first.
    fronts: BTreeMap<u64, Arc<Stream>>,
    /// Frames so far, of all streams.
    offset: u64,
    /// Lines so far, of all streams. No stream counts beyond it, so one that was forgotten and comes back begins there and
    /// its numbers still rise.
    lines: u64,
    /// The number that the next stream gets.
    next_id: u64,
    events: usize,
    bytes: usize,
    followed: usize,
}

#[derive(Debug)]
struct Known {
    stream: Arc<Stream>,
    followers: usize,
}

/// One log: its last lines. They are numbered, each number is given once.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) topic: Arc<str>,
    head: AtomicU64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Its place in the lane.
    offset: u64,
    /// The numbers of its first and its last line.
    from: u64,
    to: u64,
    at: Instant,
    frame: Frame,
}

/// Somebody follows a stream as long as this lives.
#[derive(Debug)]
pub(super) struct Followed {
    lane: Arc<LogLane>,
    pub(super) stream: Arc<Stream>,
}

/// What the lane holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LaneFigures {
    pub(super) offset: u64,
    pub(super) lines: u64,
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) followed: usize,
    pub(super) known: usize,
    pub(super) oldest_at: Option<Instant>,
}

impl LogLane {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self { limits, state: Mutex::default(), demand: watch::Sender::default(), news: watch::Sender::new(0) }
    }

    /// Goes on from another lane's numbers: whoever asks for a line of it is told that it is gone.
    pub(super) fn go_on_from(&self, offset: u64, lines: u64) {
        let mut state = self.state();
        state.offset = offset;
        state.lines = lines;
    }

    pub(super) const fn limits(&self) -> &LogLimits {
        &self.limits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The logs that somebody follows.
    pub(super) fn demand(&self) -> watch::Receiver<Arc<BTreeSet<Arc<str>>>> {
        self.demand.subscribe()
    }

    /// Appends lines and lets go of what is too much. Gives their place in the lane.
    pub(super) fn publish(&self, publication: LogPublication, now: Instant) -> u64 {
        let LogPublication { topic, lines, members } = publication;
        let mut state = self.state();
        let lines = u64::from(lines.max(1));
        let stream = state.stream(&topic);
        state.offset += 1;
        state.lines += lines;
        let offset = state.offset;
        let from = stream.head() + 1;
        let frame = frames::log(offset, &topic, from, lines, &members);
        let bytes = frame.len() + ENTRY_BYTES;
        let is_long = {
            let mut ring = stream.ring();
            if ring.entries.is_empty() {
                state.fronts.insert(offset, Arc::clone(&stream));
            }
            ring.bytes += bytes;
            ring.entries.push_back(Entry { offset, from, to: from + lines - 1, at: now, frame });
            // Behind the entry, so that whoever sees the number finds the lines.
            stream.head.store(from + lines - 1, Relaxed);
            ring.bytes > self.limits.stream_bytes_max
        };
        state.events += 1;
        state.bytes += bytes;
        if is_long {
            while stream.ring().bytes > self.limits.stream_bytes_max && state.evict(&stream, offset) {}
        }
        while state.is_over(&self.limits, now) {
            let Some(oldest) = state.fronts.first_key_value().map(|(_, stream)| Arc::clone(stream)) else { break };
            // The newest one stays: somebody at the head has to get it.
            if !state.evict(&oldest, offset) {
                break;
            }
            state.forget_if_idle(&oldest.topic);
        }
        drop(state);
        self.news.send_replace(offset);
        offset
    }

    /// One more follower. `None` when too many logs are followed already.
    pub(super) fn follow(self: &Arc<Self>, topic: &Arc<str>) -> Option<Followed> {
        let mut state = self.state();
        let followers = state.streams.get(topic).map_or(0, |known| known.followers);
        if followers == 0 && state.followed >= self.limits.streams_max {
            return None;
        }
        let stream = state.stream(topic);
        if let Some(known) = state.streams.get_mut(topic) {
            known.followers += 1;
        }
        if followers == 0 {
            state.followed += 1;
            // Under the lock, so that the set is what the order of comings and goings made it.
            self.demand.send_modify(|set| {
                Arc::make_mut(set).insert(Arc::clone(topic));
            });
        }
        Some(Followed { lane: Arc::clone(self), stream })
    }

    fn leave(&self, stream: &Stream) {
        let mut state = self.state();
        let Some(known) = state.streams.get_mut(&stream.topic) else { return };
        known.followers = known.followers.saturating_sub(1);
        if known.followers > 0 {
            return;
        }
        state.followed -= 1;
        self.demand.send_modify(|set| {
            Arc::make_mut(set).remove(&stream.topic);
        });
        state.forget_if_idle(&stream.topic);
    }

    pub(super) fn figures(&self) -> LaneFigures {
        let state = self.state();
        LaneFigures {
            offset: state.offset,
            lines: state.lines,
            events: state.events,
            bytes: state.bytes,
            followed: state.followed,
            known: state.streams.len(),
            oldest_at: state.fronts.first_key_value().and_then(|(_, stream)| Some(stream.ring().entries.front()?.at)),
        }
    }
}

impl State {
    fn stream(&mut self, topic: &Arc<str>) -> Arc<Stream> {
        if let Some(known) = self.streams.get(topic) {
            return Arc::clone(&known.stream);
        }
        self.next_id += 1;
        let stream = Arc::new(Stream {
            id: self.next_id,
            topic: Arc::clone(topic),
            head: AtomicU64::new(self.lines),
            ring: Mutex::default(),
        });
        self.streams.insert(Arc::clone(topic), Known { stream: Arc::clone(&stream), followers: 0 });
        stream
    }

    fn is_over(&self, limits: &LogLimits, now: Instant) -> bool {
        let oldest = self.fronts.first_key_value().and_then(|(_, stream)| Some(stream.ring().entries.front()?.at));
        self.events > limits.events_max
            || self.bytes > limits.bytes_max
            || oldest.is_some_and(|at| now.saturating_duration_since(at) > limits.age_max)
    }

    /// Lets go of a stream's first frame, unless it is the `newest` of all. False then, and if there is none.
    fn evict(&mut self, stream: &Arc<Stream>, newest: u64) -> bool {
        let mut ring = stream.ring();
        if ring.entries.front().is_none_or(|entry| entry.offset == newest) {
            return false;
        }
        let Some(entry) = ring.entries.pop_front() else { return false };
        let bytes = entry.frame.len() + ENTRY_BYTES;
        ring.bytes -= bytes;
        self.bytes -= bytes;
        self.events -= 1;
        self.fronts.remove(&entry.offset);
        if let Some(front) = ring.entries.front() {
            self.fronts.insert(front.offset, Arc::clone(stream));
        }
        true
    }

    /// Forgets a stream that nobody follows and of which nothing is kept.
    fn forget_if_idle(&mut self, topic: &Arc<str>) {
        let is_idle = |known: &Known| known.followers == 0 && known.stream.ring().entries.is_empty();
        if self.streams.get(topic).is_some_and(is_idle) {
            self.streams.remove(topic);
        }
    }
}

impl Stream {
    /// The number of the last line.
    pub(super) fn head(&self) -> u64 {
        self.head.load(Relaxed)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where somebody who wants `next` goes on: there, or further ahead if they are too far behind. `is_timed` says that
    /// they had caught up, and may be behind only for so long.
    pub(super) fn catch_up(&self, next: u64, is_timed: bool, limits: &LogLimits, now: Instant) -> u64 {
        let ring = self.ring();
        let Some(oldest) = ring.entries.front() else { return next.max(self.head() + 1) };
        let is_late = |entry: &Entry| is_timed && now.saturating_duration_since(entry.at) > limits.lag_max;
        let wanted = ring.entries.get(ring.index(next));
        if next >= oldest.from && !wanted.is_some_and(is_late) {
            return next;
        }
        let mut kept = 0;
        let mut first = self.head() + 1;
        for entry in ring.entries.iter().rev() {
            kept += entry.frame.len();
            if kept > limits.keep_bytes && first <= self.head() {
                break;
            }
            first = entry.from;
        }
        first.max(next)
    }

    /// Frames from the line `next` on, until `take` says no. None if that line is no longer there: whoever wants it has to
    /// catch up first, and to be told.
    pub(super) fn read(&self, next: u64, mut take: impl FnMut(&Frame, u64) -> bool) {
        let ring = self.ring();
        let first = ring.index(next);
        if ring.entries.get(first).is_some_and(|entry| entry.from > next) {
            return;
        }
        for entry in ring.entries.range(first..) {
            if !take(&entry.frame, entry.to) {
                return;
            }
        }
    }
}

impl Ring {
    /// The first frame that holds the line `next` or a later one.
    fn index(&self, next: u64) -> usize {
        self.entries.partition_point(|entry| entry.to < next)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.lane.leave(&self.stream);
    }
}
