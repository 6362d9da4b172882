use crate::hub::follow::LogWish;
use crate::hub::handle::{Framing, Slot};
use crate::hub::shard::Wire;
use crate::hub::slots::{Key, Slots};
use crate::hub::{Access, Close, Patterns, Position, frames};
use crate::model::Grant;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;
use tokio::sync::{Notify, oneshot};

/// Bytes of control frames that may wait for one client.
pub(super) const CONTROL_BYTES_MAX: usize = 4 * 1024;

/// A client that comes.
pub(super) struct Join {
    pub(super) slot: Slot,
    pub(super) framing: Framing,
    pub(super) grant: Grant,
    pub(super) access: Access,
    pub(super) pending: Arc<AtomicUsize>,
}

/// A client that comes, with its connection.
pub(super) struct Arrival {
    pub(super) join: Join,
    pub(super) wire: Box<dyn Wire>,
    /// Dropped with the client, which tells its reader.
    pub(super) open: oneshot::Sender<()>,
}

/// What a shard is told of one of its clients.
pub(super) enum Note {
    Join(Key, Box<Arrival>),
    Subscribe(Key, Box<Hello>),
    /// It follows other logs from now on: those that it asked for last.
    Logs(Key, Arc<Wishes>),
    /// It stands on another grant from now on.
    Renew(Key, Box<Renewal>),
    /// Whole control frames, to go out in front of what is not begun.
    Control(Key, Bytes),
    End(Key, Close, Cow<'static, str>),
    /// Its connection takes bytes again.
    Writable(Key),
    /// Its reader has ended.
    Gone(Key),
}

/// A grant that a client stands on instead of its own.
pub(super) struct Renewal {
    pub(super) grant: Grant,
    /// Seconds until it ends, if it does.
    pub(super) ttl: Option<u64>,
}

/// What a client asks for first.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The topics of states.
    pub patterns: Patterns,
    /// Where it goes on from: what followed, if the log still has all of it, a snapshot otherwise.
    pub since: Option<Position>,
    /// The logs that it follows, at most [`crate::hub::LOGS_MAX`].
    pub logs: Vec<LogWish>,
}

impl From<(Patterns, Option<Position>)> for Hello {
    /// States alone.
    fn from((patterns, since): (Patterns, Option<Position>)) -> Self {
        Self { patterns, since, logs: Vec::new() }
    }
}

/// The logs that a client asked for last, until its shard has taken them.
#[derive(Debug, Default)]
pub(super) struct Wishes(Mutex<Option<Vec<LogWish>>>);

impl Wishes {
    /// True if the shard has to be told: it is not about to take what was there before.
    fn put(&self, wishes: Vec<LogWish>) -> bool {
        self.lock().replace(wishes).is_none()
    }

    pub(super) fn take(&self) -> Option<Vec<LogWish>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<LogWish>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a shard is told of its clients. What waits is bounded by them: each comes, asks, ends and goes once, has one
/// waker and one set of logs that it wants, and its control frames and renewals have an allowance.
pub(super) struct Inbox {
    state: Mutex<State>,
    pub(super) news: Notify,
    /// This shard's number among all.
    pub(super) index: usize,
    /// How far the client that is furthest behind was behind, in milliseconds.
    pub(super) lag_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    slots: Slots,
    notes: VecDeque<Note>,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn new(index: usize) -> Self {
        Self { state: Mutex::default(), news: Notify::new(), index, lag_ms: AtomicU64::new(0) }
    }

    /// Lets a client in. `None` when the shard has ended.
    pub(super) fn join(&self, arrival: Arrival) -> Option<Key> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let key = state.slots.take();
        state.notes.push_back(Note::Join(key, Box::new(arrival)));
        drop(state);
        self.news.notify_one();
        Some(key)
    }

    pub(super) fn post(&self, note: Note) {
        let mut state = self.lock();
        if !state.is_closed {
            state.notes.push_back(note);
            drop(state);
            self.news.notify_one();
        }
    }

    /// The first of what was told since, at most `count`; and whether there is more.
    pub(super) fn take(&self, count: usize) -> (Vec<Note>, bool) {
        let mut state = self.lock();
        let count = count.min(state.notes.len());
        let notes = state.notes.drain(..count).collect();
        (notes, !state.notes.is_empty())
    }

    /// A client has gone; its slot may be used again. False if it had gone before.
    pub(super) fn release(&self, key: Key) -> bool {
        self.lock().slots.give_back(key)
    }

    /// Ends the shard if nobody is there. Nobody is let in afterwards.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        state.is_closed = state.slots.taken() == 0;
        state.is_closed
    }

    /// Nobody is let in any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let notes = std::mem::take(&mut state.notes);
        drop(state);
        // Behind the lock: those who were about to come are let go.
        drop(notes);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Slots that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.lock().slots.taken()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Wakes a shard for one client. It names the client by slot and generation, so a late one is nobody's.
pub(super) struct ClientWaker {
    pub(super) inbox: Arc<Inbox>,
    pub(super) key: Key,
}

impl Wake for ClientWaker {
    fn wake(self: Arc<Self>) {
        self.inbox.post(Note::Writable(self.key));
    }
}

/// A client's reading half speaks to its writing half with it. Dropping it ends the connection.
pub struct Link {
    inbox: Arc<Inbox>,
    key: Key,
    pending: Arc<AtomicUsize>,
    wishes: OnceLock<Arc<Wishes>>,
}

/// More control frames wait for a client than are allowed: it asks for answers and does not take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {CONTROL_BYTES_MAX} bytes of answers were not taken")]
pub struct OutboxFull;

impl Link {
    pub(super) fn new(inbox: Arc<Inbox>, arrival: Arrival) -> Option<Self> {
        let pending = arrival.join.pending.clone();
        let key = inbox.join(arrival)?;
        Some(Self { inbox, key, pending, wishes: OnceLock::new() })
    }

    /// Says what the client asks for: what it missed, and then everything that happens. Only the first time counts.
    pub fn subscribe(&self, hello: impl Into<Hello>) {
        self.inbox.post(Note::Subscribe(self.key, Box::new(hello.into())));
    }

    /// Says which logs the client follows from now on, at most [`crate::hub::LOGS_MAX`]. It is told which it got. Of several
    /// sets that come in a row the last one counts.
    pub fn follow(&self, logs: Vec<LogWish>) {
        let wishes = self.wishes.get_or_init(Arc::default);
        if wishes.put(logs) {
            self.inbox.post(Note::Logs(self.key, wishes.clone()));
        }
    }

    /// Sends whole control frames between two frames of data.
    ///
    /// # Errors
    /// [`OutboxFull`]; nothing is sent.
    pub fn control(&self, frames: &[u8]) -> Result<(), OutboxFull> {
        let fits = |pending: usize| (pending + frames.len() <= CONTROL_BYTES_MAX).then(|| pending + frames.len());
        self.pending.fetch_update(Relaxed, Relaxed, fits).map_err(|_| OutboxFull)?;
        self.inbox.post(Note::Control(self.key, Bytes::copy_from_slice(frames)));
        Ok(())
    }

    /// Has the client stand on another grant, which ends in `ttl` seconds, if it does. It is told, and what it may see is
    /// changed at this place among its events.
    ///
    /// The caller bounds how often: each is one note in the shard's inbox.
    pub fn renew(&self, grant: Grant, ttl: Option<u64>) {
        self.inbox.post(Note::Renew(self.key, Box::new(Renewal { grant, ttl })));
    }

    /// Tells the client that what it asked for was not done: a stable code, and words.
    ///
    /// # Errors
    /// [`OutboxFull`]; nothing is sent.
    pub fn refuse(&self, code: &str, detail: &str) -> Result<(), OutboxFull> {
        self.control(frames::error(code, detail).bytes())
    }

    /// Ends the connection: the close frame of the reason, then nothing. The first reason counts.
    pub fn end(&self, close: Close, reason: impl Into<Cow<'static, str>>) {
        self.inbox.post(Note::End(self.key, close, reason.into()));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.inbox.post(Note::Gone(self.key));
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("key", &self.key).finish_non_exhaustive()
    }
}
