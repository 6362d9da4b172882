use crate::hub::batch::{BATCH_FRAMES_MAX, Lanes, Room, Source, advance, encode, gather, stage};
use crate::hub::client::{Client, hub_of};
use crate::hub::filter::{FilterKey, Filters};
use crate::hub::follow::{Followers, LogWish, Staged};
use crate::hub::handle::{Framing, Shared};
use crate::hub::inbox::{Hello, Join, Note, Renewal};
use crate::hub::ring::Ring;
use crate::hub::slots::Key;
use crate::hub::{Close, frames};
use crate::model::GrantEnd;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// Pieces of one write.
pub(super) const PIECES_MAX: usize = BATCH_FRAMES_MAX + 2;
/// In a shutdown, so many connections are closed in each of these intervals.
const DRAIN_STEP: Duration = Duration::from_micros(200);

#[derive(Debug, Clone, Copy)]
struct Piece {
    source: Source,
    len: usize,
}

/// The pure half of a shard: what happens goes in with the time, bytes for connections come out. It awaits nothing and
/// knows no socket, so any order of things can be tried.
#[derive(Debug)]
pub(super) struct Core {
    shared: Arc<Shared>,
    ring: Ring,
    /// By slot.
    clients: Vec<Option<(Key, Client)>>,
    count: usize,
    filters: Filters,
    followers: Followers,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    /// The last word of the log that was applied.
    controls: u64,
    is_draining: bool,
    /// The write that is being put together.
    pieces: Vec<Piece>,
    /// Frames of logs that are part of it.
    staged: Vec<Staged>,
    /// Where the cursor stands when all of it is done.
    reached: u64,
}

/// What became of a client that has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is told.
    Told,
    /// It takes nothing, and what it has not read is no longer its to read: drop the connection now.
    Cut,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            ring: Ring::default(),
            clients: Vec::new(),
            count: 0,
            filters: Filters::default(),
            followers: Followers::default(),
            timers: BinaryHeap::new(),
            controls: 0,
            is_draining: false,
            pieces: Vec::with_capacity(PIECES_MAX),
            staged: Vec::new(),
            reached: 0,
        }
    }

    /// Clients.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn client(&self, key: Key) -> Option<&Client> {
        self.clients.get(key.slot)?.as_ref().filter(|(taken, _)| *taken == key).map(|(_, client)| client)
    }

    fn client_mut(&mut self, key: Key) -> Option<&mut Client> {
        self.clients.get_mut(key.slot)?.as_mut().filter(|(taken, _)| *taken == key).map(|(_, client)| client)
    }

    fn keys(&self) -> Vec<Key> {
        self.clients.iter().flatten().map(|(key, _)| *key).collect()
    }

    /// Brings the copy of the log up to date. True if there is something new. `ended` is called for each client whose
    /// grant has ended since the last time, or no longer allows a connection: before any event of this sync is sent to
    /// anybody. What the others may see is changed then, too.
    pub(super) fn sync(&mut self, now: Instant, mut ended: impl FnMut(Key, Ended)) -> bool {
        let head = self.ring.head();
        let (is_news, controls) = {
            let log = self.shared.log();
            (self.ring.sync(&log), log.controls())
        };
        if let Some(since) = self.ring.behind_since(head).filter(|_| is_news) {
            self.shared.counters.sequencer_lag.note(now.saturating_duration_since(since));
        }
        if controls != self.controls {
            self.controls = controls;
            for key in self.keys() {
                if let Some(end) = self.end_if_revoked(key, now).or_else(|| self.regrant(key, now)) {
                    ended(key, end);
                }
            }
        }
        is_news
    }

    /// The last word of the log that was applied.
    pub(super) const fn controls(&self) -> u64 {
        self.controls
    }

    fn end_if_revoked(&mut self, key: Key, now: Instant) -> Option<Ended> {
        let why = self.client(key)?.grant.ended()?;
        let reason = match why {
            GrantEnd::Expired => "the session or credential expired",
            GrantEnd::Changed => "it stands for somebody else now; come back",
            GrantEnd::Revoked => "the session ended",
        };
        self.end(key, why.into(), reason, now)
    }

    /// Applies what a client's grant allows by now, if that has changed.
    fn regrant(&mut self, key: Key, now: Instant) -> Option<Ended> {
        let (_, client) = self.clients.get_mut(key.slot).and_then(Option::as_mut).filter(|(k, _)| *k == key)?;
        client.warn();
        if !client.grant.allows(client.access.needs) {
            return self.end(key, Close::AccessChanged, "the feed may no longer be read", now);
        }
        let reach = client.new_reach().filter(|_| client.farewell.is_none())?;
        let Some(id) = client.filter else {
            client.reach = reach;
            return None;
        };
        let patterns = self.filters.get_mut(id)?.key().patterns.clone();
        let new = self.filters.enter(FilterKey { patterns, reach: reach.clone() });
        self.filters.leave(id);
        client.filter = Some(new);
        let done = self.filters.get_mut(new).map(|filter| client.regrant(reach, filter));
        let reach = client.reach.clone();
        let followed: Vec<Arc<str>> =
            client.following.iter().flat_map(|all| all.places()).map(|(log, _)| log.clone()).collect();
        let allowed = followed.iter().filter(|log| reach.allows(log)).count();
        if let Some(Err(close)) = done {
            return self.end(key, close, "too many snapshots are being sent; come back in a few seconds", now);
        }
        if allowed == followed.len() {
            return None;
        }
        if allowed == 0 {
            self.unfollow(key);
        } else {
            // Told by name, for the others go on.
            self.follow(key, followed.into_iter().map(|topic| LogWish { topic, from: None }).collect());
        }
        None
    }

    /// Lets a client in. One whose grant has ended meanwhile is told so and given nothing.
    pub(super) fn join(&mut self, key: Key, join: Join, now: Instant) {
        if self.clients.len() <= key.slot {
            self.clients.resize_with(key.slot + 1, || None);
        }
        let client = Client::new(join, now);
        if let Some(entry) = self.clients.get_mut(key.slot) {
            *entry = Some((key, client));
            self.count += 1;
        }
        self.arm(key);
        self.end_if_revoked(key, now);
        if self.is_draining {
            self.end(key, Close::GoingAway, "the server is going away", now);
        }
    }

    /// A client says what it asks for. Only the first time counts.
    pub(super) fn subscribe(&mut self, key: Key, hello: impl Into<Hello>, now: Instant) {
        let Hello { patterns, since, mut logs } = hello.into();
        if since.as_ref().is_none_or(|since| hub_of(&since.epoch) != self.shared.epoch) {
            // The lines of another hub have other numbers.
            logs.iter_mut().for_each(|log| log.from = None);
        }
        let Some(client) = self.client_mut(key).filter(|c| c.filter.is_none() && c.farewell.is_none()) else { return };
        let id = {
            let reach = client.reach.clone();
            self.filters.enter(FilterKey { patterns, reach })
        };
        let Some((_, client)) = self.clients.get_mut(key.slot).and_then(Option::as_mut) else { return };
        client.filter = Some(id);
        client.quiet_until = now + self.shared.limits.bookmark_after;
        let begun = self.filters.get_mut(id).map(|filter| client.subscribe(filter, since));
        if let Some(Err(close)) = begun {
            self.end(key, close, "too many snapshots are being sent; come back in a few seconds", now);
        }
        self.follow(key, logs);
        if let Some(client) = self.client_mut(key) {
            client.warn();
        }
        self.arm(key);
    }

    /// A client says which logs it follows from now on. Nothing before its hello or behind our close.
    pub(super) fn follow(&mut self, key: Key, wishes: Vec<LogWish>) {
        let Some((_, client)) = self.clients.get_mut(key.slot).and_then(Option::as_mut).filter(|(k, _)| *k == key)
        else {
            return;
        };
        if client.reads().is_none() {
            return;
        }
        if let Some(following) = &client.following {
            self.followers.leave(key, following);
        }
        client.follow(wishes);
        if let Some(following) = &client.following {
            self.followers.enter(key, following);
        }
    }

    fn unfollow(&mut self, key: Key) {
        if let Some(following) = self.client_mut(key).and_then(|client| client.following.take()) {
            self.followers.leave(key, &following);
        }
    }

    /// Who follows a log that has new lines since this was asked last.
    pub(super) fn log_news(&mut self) -> BTreeSet<Key> {
        self.followers.news()
    }

    /// A client stands on another grant from here on: what it may see is changed with it.
    pub(super) fn renew(&mut self, key: Key, renewal: Renewal, now: Instant) -> Option<Ended> {
        let client = self.client_mut(key).filter(|client| client.farewell.is_none())?;
        client.stand_on(renewal.grant);
        // It may have ended while it was on its way here: then nobody is told of it again.
        if let Some(ended) = self.end_if_revoked(key, now) {
            return Some(ended);
        }
        self.client_mut(key)?.say(&frames::refreshed(renewal.ttl));
        self.shared.counters.refreshes.fetch_add(1, Relaxed);
        self.regrant(key, now)
    }

    /// Whole control frames for a client. None behind our close.
    pub(super) fn control(&mut self, key: Key, frames: &[u8]) {
        let Some(client) = self.client_mut(key).filter(|client| client.farewell.is_none()) else { return };
        client.outbox.extend_from_slice(frames);
        client.answers += frames.len();
    }

    /// Ends a client: the close frame of the reason, then nothing. The first reason counts.
    pub(super) fn end(&mut self, key: Key, close: Close, reason: &str, now: Instant) -> Option<Ended> {
        let client = self.client_mut(key)?;
        if !client.end(close, reason, now) {
            return None;
        }
        let ended = if close.is_by_right() && client.is_blocked { Ended::Cut } else { Ended::Told };
        self.unfollow(key);
        self.arm(key);
        Some(ended)
    }

    /// The client's connection takes nothing at the moment.
    pub(super) fn block(&mut self, key: Key, now: Instant) {
        let Some(client) = self.client_mut(key) else { return };
        client.stalled_since.get_or_insert(now);
        if !std::mem::replace(&mut client.is_blocked, true) {
            self.shared.counters.blocked.fetch_add(1, Relaxed);
        }
        self.arm(key);
    }

    /// The client's connection takes bytes again.
    pub(super) fn unblock(&mut self, key: Key) {
        let Some(client) = self.client_mut(key) else { return };
        if std::mem::replace(&mut client.is_blocked, false) {
            self.shared.counters.blocked.fetch_sub(1, Relaxed);
        }
    }

    /// Whether a write to this client is worth trying.
    pub(super) fn is_ready(&self, key: Key) -> bool {
        self.client(key).is_some_and(|client| !client.is_blocked && client.has_more(&self.ring))
    }

    /// Whether a write with lines of logs is worth trying.
    pub(super) fn is_log_ready(&self, key: Key) -> bool {
        self.client(key).is_some_and(|client| !client.is_blocked && client.has_logs())
    }

    /// True once a client that ends has been given all that it still gets.
    pub(super) fn is_told(&self, key: Key) -> bool {
        let is_told = |c: &Client| c.farewell.is_some() && c.held.is_none() && c.outbox.is_empty();
        self.client(key).is_some_and(is_told)
    }

    /// Forgets a client. `None` if it was not there; otherwise whether what it has not read should be thrown away.
    pub(super) fn remove(&mut self, key: Key) -> Option<bool> {
        let is_told = self.is_told(key);
        self.client(key)?;
        self.unfollow(key);
        let (_, client) = self.clients.get_mut(key.slot)?.take()?;
        self.count -= 1;
        if let Some(id) = client.filter {
            self.filters.leave(id);
        }
        if client.is_blocked {
            self.shared.counters.blocked.fetch_sub(1, Relaxed);
        }
        match &client.farewell {
            Some(farewell) => Some(!is_told || farewell.close.is_by_right()),
            None => {
                self.shared.counters.note_close(Close::Left);
                Some(false)
            }
        }
    }

    /// Puts together what is to be written to a client next. Gives the number of pieces.
    pub(super) fn plan(&mut self, key: Key, lanes: Lanes, now: Instant) -> usize {
        self.pieces.clear();
        self.staged.clear();
        self.catch_up(key, now);
        self.skip_logs(key, lanes, now);
        let Some((_, client)) = self.clients.get_mut(key.slot).and_then(Option::as_mut) else { return 0 };
        self.reached = client.cursor;
        let filter = client.reads().and_then(|id| self.filters.get_mut(id));
        if client.framing == Framing::EventStream
            && client.held.is_none()
            && client.outbox.is_empty()
            && let Some(filter) = filter
        {
            encode(client, &self.ring, filter, (lanes, &mut self.staged), now);
            self.reached = client.cursor;
            self.pieces.extend(client.held.as_ref().map(|(bytes, _)| Piece { source: Source::Held, len: bytes.len() }));
            return self.pieces.len();
        }
        let held = client.held.as_ref().map(|(bytes, done)| Piece { source: Source::Held, len: bytes.len() - done });
        self.pieces.extend(held);
        if !client.outbox.is_empty() {
            self.pieces.push(Piece { source: Source::Outbox, len: client.outbox.len() });
        }
        let id = client.reads().filter(|_| client.framing == Framing::WebSocket);
        if let Some(filter) = id.and_then(|id| self.filters.get_mut(id)) {
            let mut room = Room::new();
            let pieces = &mut self.pieces;
            let hand_over = |source, len| pieces.push(Piece { source, len });
            self.reached = gather(client, &self.ring, filter, &mut room, hand_over);
            if lanes == Lanes::All {
                stage(client, self.reached >= self.ring.head(), &mut room, &mut self.staged);
                let log = |(at, staged): (usize, &Staged)| Piece { source: Source::Log(at), len: staged.frame.len() };
                self.pieces.extend(self.staged.iter().enumerate().map(log));
            }
        }
        self.pieces.len()
    }

    /// Takes a client ahead that is too far behind in its logs. Not while something waits to be told already, so that it
    /// does not pile up.
    fn skip_logs(&mut self, key: Key, lanes: Lanes, now: Instant) {
        let Some(client) = self.client_mut(key).filter(|_| lanes == Lanes::All) else { return };
        if client.outbox.is_empty() && client.has_logs() {
            client.skip_logs(now);
        }
    }

    /// A client that the log has left behind, or that is too far behind, starts over.
    fn catch_up(&mut self, key: Key, now: Instant) {
        let lag_max = self.shared.limits.lag_max;
        let Some(client) = self.client(key).filter(|client| client.snapshot.is_none()) else { return };
        let Some(id) = client.reads() else { return };
        let is_lost = client.cursor + 1 < self.ring.oldest();
        let lags = |since: Instant| now.saturating_duration_since(since) > lag_max;
        let is_late = client.is_caught_up && self.ring.behind_since(client.cursor).is_some_and(lags);
        if !is_lost && !is_late {
            return;
        }
        let Some((_, client)) = self.clients.get_mut(key.slot).and_then(Option::as_mut) else { return };
        match self.filters.get_mut(id).map(|filter| client.resync(filter, now)) {
            Some(Err(Close::Full)) => {
                self.end(key, Close::Full, "too many snapshots are being sent; come back in a few seconds", now);
            }
            Some(Err(close)) => {
                self.end(key, close, "started over too often; come back in 60 seconds", now);
            }
            Some(Ok(())) | None => {}
        }
    }

    /// The bytes of what was planned last for this client. Gives the number of pieces.
    pub(super) fn slices<'a>(&'a self, key: Key, slices: &mut [IoSlice<'a>; PIECES_MAX]) -> usize {
        let Some(client) = self.client(key) else { return 0 };
        let mut count = 0;
        for (piece, slice) in self.pieces.iter().zip(slices.iter_mut()) {
            *slice = IoSlice::new(self.bytes(client, piece.source));
            count += 1;
        }
        count
    }

    fn bytes<'a>(&'a self, client: &'a Client, source: Source) -> &'a [u8] {
        let found: Option<&[u8]> = match source {
            Source::Held => client.held.as_ref().and_then(|(bytes, done)| bytes.get(*done..)),
            Source::Outbox => Some(&client.outbox),
            Source::Snapshot(index) => {
                client.snapshot.as_ref().and_then(|(snapshot, _)| snapshot.frames.get(index)).map(|f| &f.bytes()[..])
            }
            Source::Event(offset) => self.ring.frame(offset).map(|frame| &frame.bytes()[..]),
            Source::Log(at) => self.staged.get(at).map(|staged| &staged.frame.bytes()[..]),
        };
        found.unwrap_or_default()
    }

    /// The connection took the first `taken` bytes of what was planned last.
    pub(super) fn commit(&mut self, key: Key, taken: usize, now: Instant) {
        let Some((_, client)) =
            self.clients.get_mut(key.slot).and_then(Option::as_mut).filter(|(known, _)| *known == key)
        else {
            return;
        };
        let mut left = taken;
        let mut is_whole = true;
        let (mut delivered, mut lines) = (0, 0);
        for piece in &self.pieces {
            if left == 0 {
                is_whole = false;
                break;
            }
            let done = left.min(piece.len);
            left -= done;
            let rest = (done < piece.len).then_some(done);
            is_whole = rest.is_none();
            delivered += u64::from(matches!(piece.source, Source::Snapshot(_) | Source::Event(_)));
            lines += u64::from(matches!(piece.source, Source::Log(_)));
            advance(client, (&self.ring, &self.staged), piece.source, rest, now);
        }
        if is_whole {
            client.cursor = client.cursor.max(self.reached);
        }
        if taken > 0 {
            client.stalled_since = None;
            let counters = &self.shared.counters;
            counters.bytes.fetch_add(taken as u64, Relaxed);
            counters.writes.fetch_add(1, Relaxed);
            counters.deliveries.fetch_add(delivered + lines, Relaxed);
        }
        if delivered > 0 {
            client.quiet_until = now + self.shared.limits.bookmark_after;
        }
        if client.snapshot.is_none() && client.cursor >= self.ring.head() {
            client.is_caught_up = true;
        }
        self.pieces.clear();
        self.staged.clear();
    }

    /// When [`Core::tick`] has something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Does what is due. `over` is called for each client whose farewell has lasted long enough, `touched` for those that
    /// there may be something to write to.
    pub(super) fn tick(&mut self, now: Instant, mut over: impl FnMut(Key), mut touched: impl FnMut(Key)) {
        while let Some(&Reverse((at, key))) = self.timers.peek().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            // Of several that were set for one client the earliest stands; the others are left over.
            if self.client(key).and_then(|client| client.armed) != Some(at) {
                continue;
            }
            if self.fire(key, now) {
                over(key);
                continue;
            }
            touched(key);
            self.arm(key);
        }
    }

    /// What is due for one client. True when it is over.
    fn fire(&mut self, key: Key, now: Instant) -> bool {
        let limits = self.shared.limits.clone();
        let Some(client) = self.client_mut(key) else { return false };
        client.armed = None;
        if let Some(farewell) = &client.farewell {
            return farewell.until <= now;
        }
        if client.drain_at.is_some_and(|at| at <= now) {
            self.end(key, Close::GoingAway, "the server is going away", now);
            return false;
        }
        if client.is_blocked && client.slow_at(&limits).is_some_and(|at| at <= now) {
            self.end(key, Close::TooSlow, "nothing was taken for 10 seconds; come back in 10 seconds", now);
            return false;
        }
        if client.ping_at <= now {
            client.ping_at = now + limits.ping_interval;
            client.ping();
        }
        if client.quiet_until <= now {
            client.quiet_until = now + limits.bookmark_after;
            if client.filter.is_some() && !client.is_blocked && client.snapshot.is_none() {
                client.bookmark();
            }
        }
        false
    }

    /// Sets a client's timer, if none is set that comes earlier.
    fn arm(&mut self, key: Key) {
        let Some(client) = self.client_mut(key) else { return };
        let due = client.due();
        if client.armed.is_none_or(|armed| due < armed) {
            client.armed = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    /// The server is going away: tells every client when it will be closed and where to go on from. Gives all of them.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<Key> {
        self.is_draining = true;
        let drain_max = self.shared.drain_max();
        let keys = self.keys();
        for (at, key) in (0_u32..).zip(&keys) {
            let after = (DRAIN_STEP * at).min(drain_max);
            let Some(client) = self.client_mut(*key).filter(|client| client.farewell.is_none()) else { continue };
            client.drain_at = Some(now + after);
            if client.filter.is_some() {
                let frame = frames::drain(after.as_millis(), client.position().as_ref());
                client.say(&frame);
            }
            self.arm(*key);
        }
        keys
    }

    /// How far the client that is furthest behind is behind. Notes it of each.
    pub(super) fn lag(&self, now: Instant) -> Duration {
        let readers = self.clients.iter().flatten().filter(|(_, client)| client.reads().is_some());
        let lags = readers.map(|(_, client)| {
            let since = self.ring.behind_since(client.cursor);
            since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
        });
        lags.inspect(|lag| self.shared.counters.client_lag.note(*lag)).max().unwrap_or_default()
    }

    /// Takes in what was told of a client, but its coming and going, which is about its connection too. Tells if it ends.
    pub(super) fn take(&mut self, note: Note, now: Instant) -> Option<(Key, Ended)> {
        match note {
            Note::Subscribe(key, asked) => {
                self.subscribe(key, *asked, now);
                None
            }
            Note::Logs(key, wishes) => {
                if let Some(wishes) = wishes.take() {
                    self.follow(key, wishes);
                }
                None
            }
            Note::Control(key, frames) => {
                self.control(key, &frames);
                None
            }
            Note::Renew(key, renewal) => self.renew(key, *renewal, now).map(|ended| (key, ended)),
            Note::End(key, close, reason) => self.end(key, close, &reason, now).map(|ended| (key, ended)),
            Note::Writable(key) => {
                self.unblock(key);
                None
            }
            Note::Join(..) | Note::Gone(_) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn filters(&self) -> usize {
        self.filters.len()
    }

    #[cfg(test)]
    pub(super) fn followers(&self) -> usize {
        self.followers.len()
    }
}
