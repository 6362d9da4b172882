use crate::hub::batch::Lanes;
use crate::hub::core::{Core, Ended, PIECES_MAX};
use crate::hub::handle::Shared;
use crate::hub::inbox::{Arrival, ClientWaker, Inbox, Note};
use crate::hub::slots::Key;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncWrite, DuplexStream, WriteHalf};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A turn ends after so many clients or so long, and other tasks come to theirs.
const TURN_CLIENTS_MAX: usize = 128;
const TURN_MAX: Duration = Duration::from_millis(1);
/// What is told of clients is taken in by so much a turn, so that many who come or go at once hold up no event.
const NOTES_MAX: usize = 256;
/// The clock is read once for so many clients.
const CLOCK_EVERY: usize = 8;
/// How often the figures that need a look at every client are made.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// The writing half of a connection.
pub trait Wire: AsyncWrite + Send + Unpin {
    /// What the peer has not taken yet is thrown away when this is dropped. Best effort.
    fn cut(&mut self);
}

impl Wire for OwnedWriteHalf {
    fn cut(&mut self) {
        let stream: &tokio::net::TcpStream = self.as_ref();
        if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a feed connection lingers");
        }
    }
}

impl Wire for tokio::net::unix::OwnedWriteHalf {
    /// The kernel keeps what is not read for a reader on the same machine, and drops it with the reader.
    fn cut(&mut self) {}
}

impl Wire for DuplexStream {
    /// A pipe of our own process: whoever reads it lets it go too.
    fn cut(&mut self) {}
}

impl<S: AsyncWrite + Send + Unpin> Wire for WriteHalf<S> {
    /// Nothing is known of what is below.
    fn cut(&mut self) {}
}

/// A client's connection, beside what the core knows of it.
struct Io {
    key: Key,
    wire: Box<dyn Wire>,
    waker: Waker,
    is_queued: bool,
    is_log_queued: bool,
    is_shut: bool,
    /// Dropped with this, which tells the client's reader.
    _open: oneshot::Sender<()>,
}

/// The half of a shard that has sockets.
struct Shard {
    core: Core,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    /// By slot.
    ios: Vec<Option<Io>>,
    /// Clients that a write is worth trying for, in turn.
    ready: VecDeque<Key>,
    /// Clients that only lines of logs wait for. They come behind all others.
    log_ready: VecDeque<Key>,
    /// When logs are looked at next, if there are new lines; and when they were last.
    logs_at: Option<Instant>,
    logs_seen: Option<Instant>,
    /// The last place in the lane of logs that was heard of.
    lines_head: u64,
    figures_at: Instant,
}

/// Serves clients until `stop` is cancelled and every one of them has been told.
pub(super) async fn run(shared: Arc<Shared>, inbox: Arc<Inbox>, stop: CancellationToken) {
    let mut shard = Shard::new(shared, inbox);
    // The runtime's budget would make sockets look blocked that are not. A turn is short by itself.
    tokio::task::coop::unconstrained(shard.serve(&stop)).await;
}

impl Drop for Shard {
    /// Also if it panicked: its connections are dropped with it, nobody is let in any more, and nobody waits for it.
    fn drop(&mut self) {
        self.inbox.close();
        self.shared.acks.applied(self.inbox.index, u64::MAX, &self.shared.counters, Instant::now());
    }
}

impl Shard {
    fn new(shared: Arc<Shared>, inbox: Arc<Inbox>) -> Self {
        let core = Core::new(shared.clone());
        Self {
            core,
            inbox,
            shared,
            ios: Vec::new(),
            ready: VecDeque::new(),
            log_ready: VecDeque::new(),
            logs_at: None,
            logs_seen: None,
            lines_head: 0,
            figures_at: Instant::now(),
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) {
        let mut head = self.shared.head.subscribe();
        let mut lines = self.shared.logs.news.subscribe();
        let mut is_draining = false;
        loop {
            // Marked as seen before the log is read, so an event in between wakes us again.
            head.borrow_and_update();
            let now = Instant::now();
            let lines_head = *lines.borrow_and_update();
            self.note_lines(lines_head, now);
            if !is_draining && stop.is_cancelled() {
                is_draining = true;
                for key in self.core.drain(now) {
                    self.queue(key);
                }
            }
            let is_busy = self.turn(now);
            self.shared.counters.passes.note(now.elapsed());
            if is_draining && self.inbox.close_if_empty() {
                return;
            }
            if is_busy {
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.due(now);
            tokio::select! {
                biased;
                () = stop.cancelled(), if !is_draining => {}
                () = self.inbox.news.notified() => {}
                _ = head.changed() => {}
                // While a look at the logs is due nothing more has to be known of them.
                _ = lines.changed(), if self.logs_at.is_none() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn due(&self, now: Instant) -> Instant {
        // Without clients there is nothing to be on time for.
        let far = now + Duration::from_hours(1);
        let due = self.core.due().unwrap_or(far).min(self.logs_at.unwrap_or(far));
        if self.core.len() > 0 { due.min(self.figures_at) } else { due }
    }

    /// There are new lines if the lane's head is another one: they are looked at now, or as long after the last look as the
    /// lane's tick is.
    fn note_lines(&mut self, head: u64, now: Instant) {
        if std::mem::replace(&mut self.lines_head, head) != head {
            let tick = self.shared.limits.logs.tick;
            self.logs_at.get_or_insert_with(|| self.logs_seen.map_or(now, |seen| now.max(seen + tick)));
        }
    }

    /// Takes in all that was told, then writes to some of those that are ready. True if there are more.
    fn turn(&mut self, now: Instant) -> bool {
        let (notes, is_more_told) = self.inbox.take(NOTES_MAX);
        for note in notes {
            self.take(note, now);
        }
        self.sync(now);
        let (mut over, mut touched) = (Vec::new(), Vec::new());
        self.core.tick(now, |key| over.push(key), |key| touched.push(key));
        over.into_iter().for_each(|key| self.remove(key));
        touched.into_iter().for_each(|key| self.queue(key));
        if self.figures_at <= now {
            self.figures_at = now + FIGURES_INTERVAL;
            let lag = u64::try_from(self.core.lag(now).as_millis()).unwrap_or(u64::MAX);
            self.inbox.lag_ms.store(lag, Relaxed);
        }
        if self.logs_at.is_some_and(|at| at <= now) {
            self.logs_at = None;
            self.logs_seen = Some(now);
            self.core.log_news().into_iter().for_each(|key| self.queue(key));
        }
        for served in 1..=TURN_CLIENTS_MAX {
            let Some((key, lanes)) = self.next_ready() else { return is_more_told };
            self.write(key, lanes, now);
            if served % CLOCK_EVERY == 0 && now.elapsed() > TURN_MAX {
                break;
            }
        }
        is_more_told || !self.ready.is_empty() || !self.log_ready.is_empty()
    }

    /// Who is written to next: states come first, whoever they are for.
    fn next_ready(&mut self) -> Option<(Key, Lanes)> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(io) = self.io(key) {
                io.is_queued = false;
                return Some((key, Lanes::States));
            }
        }
        while let Some(key) = self.log_ready.pop_front() {
            if let Some(io) = self.io(key) {
                io.is_log_queued = false;
                return Some((key, Lanes::All));
            }
        }
        None
    }

    fn sync(&mut self, now: Instant) {
        let before = self.core.controls();
        let mut ended = Vec::new();
        let is_news = self.core.sync(now, |key, end| ended.push((key, end)));
        for (key, end) in ended {
            self.finish(key, end);
        }
        if self.core.controls() != before {
            self.shared.acks.applied(self.inbox.index, self.core.controls(), &self.shared.counters, Instant::now());
        }
        if is_news {
            let keys: Vec<Key> = self.ios.iter().flatten().map(|io| io.key).collect();
            keys.into_iter().for_each(|key| self.queue(key));
        }
    }

    fn take(&mut self, note: Note, now: Instant) {
        let key = match &note {
            Note::Join(key, _)
            | Note::Subscribe(key, _)
            | Note::Logs(key, _)
            | Note::Control(key, _)
            | Note::Renew(key, _)
            | Note::End(key, ..)
            | Note::Writable(key)
            | Note::Gone(key) => *key,
        };
        match note {
            Note::Join(key, arrival) => self.join(key, *arrival, now),
            Note::Gone(key) => {
                // One that says goodbye and hangs up its own half still reads our answer.
                if self.core.is_ready(key) {
                    self.write(key, Lanes::States, now);
                }
                self.remove(key);
            }
            note @ (Note::Subscribe(..)
            | Note::Logs(..)
            | Note::Control(..)
            | Note::Renew(..)
            | Note::End(..)
            | Note::Writable(_)) => {
                if let Some((key, end)) = self.core.take(note, now) {
                    self.finish(key, end);
                }
            }
        }
        self.queue(key);
    }

    fn join(&mut self, key: Key, arrival: Arrival, now: Instant) {
        let Arrival { join, wire, open } = arrival;
        let waker = Waker::from(Arc::new(ClientWaker { inbox: self.inbox.clone(), key }));
        if self.ios.len() <= key.slot {
            self.ios.resize_with(key.slot + 1, || None);
        }
        if let Some(place) = self.ios.get_mut(key.slot) {
            *place = Some(Io { key, wire, waker, is_queued: false, is_log_queued: false, is_shut: false, _open: open });
        }
        self.core.join(key, join, now);
    }

    /// Lets a client that has to end know, or drops it.
    fn finish(&mut self, key: Key, end: Ended) {
        match end {
            Ended::Told => self.queue(key),
            Ended::Cut => self.remove(key),
        }
    }

    fn io(&mut self, key: Key) -> Option<&mut Io> {
        self.ios.get_mut(key.slot)?.as_mut().filter(|io| io.key == key)
    }

    /// Gives a client its turn, if there is something to write and its connection takes it.
    fn queue(&mut self, key: Key) {
        let is_ready = self.core.is_ready(key) || self.core.is_told(key);
        let is_log_ready = !is_ready && self.core.is_log_ready(key);
        let Some(io) = self.io(key).filter(|io| !io.is_shut) else { return };
        if is_ready && !io.is_queued {
            io.is_queued = true;
            self.ready.push_back(key);
        } else if is_log_ready && !io.is_log_queued {
            io.is_log_queued = true;
            self.log_ready.push_back(key);
        }
    }

    fn write(&mut self, key: Key, lanes: Lanes, now: Instant) {
        if self.core.plan(key, lanes, now) == 0 {
            self.core.commit(key, 0, now);
        } else {
            match self.try_write(key) {
                Poll::Pending => self.core.block(key, now),
                Poll::Ready(Ok(taken)) if taken > 0 => self.core.commit(key, taken, now),
                Poll::Ready(_) => return self.remove(key),
            }
        }
        if self.core.is_told(key)
            && let Some(io) = self.io(key)
        {
            // The client hangs up when it has seen this, or its time runs out.
            io.is_shut = true;
            let waker = io.waker.clone();
            let _ = Pin::new(&mut *io.wire).poll_shutdown(&mut Context::from_waker(&waker));
        }
        self.queue(key);
    }

    fn try_write(&mut self, key: Key) -> Poll<std::io::Result<usize>> {
        let Some(io) = self.ios.get_mut(key.slot).and_then(Option::as_mut) else { return Poll::Ready(Ok(0)) };
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let count = self.core.slices(key, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        Pin::new(&mut *io.wire).poll_write_vectored(&mut Context::from_waker(&io.waker), slices)
    }

    /// Lets a client go. Nothing happens the second time.
    fn remove(&mut self, key: Key) {
        let Some(is_cut) = self.core.remove(key) else { return };
        if let Some(mut io) = self.ios.get_mut(key.slot).and_then(Option::take)
            && is_cut
        {
            io.wire.cut();
        }
        self.inbox.release(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::handle::Framing;
    use crate::hub::tests::reader::ACCESS;
    use crate::hub::{Change, Close, Hub, HubLimits, Link, LogPublication, LogWish, Patterns, Publication};
    use crate::model::Grant;
    use tokio::io::AsyncReadExt;

    fn grant() -> Grant {
        Grant::of(["feed", "node", "log"].into())
    }

    /// A shard that is turned by hand, with clients whose far ends are here.
    fn shard_of(hub: &Hub, clients: usize) -> (Shard, Vec<(Link, DuplexStream)>) {
        let inbox = hub.shared().add_shard();
        let mut shard = Shard::new(hub.shared().clone(), inbox);
        let mut ends = Vec::new();
        for _ in 0..clients {
            let (ours, theirs) = tokio::io::duplex(4_096);
            let slot = hub.reserve().unwrap();
            let joined = slot.join(Box::new(ours), Framing::WebSocket, grant(), ACCESS);
            let (link, _) = joined.unwrap();
            link.subscribe((Patterns::parse(&["*/*"]).unwrap(), None));
            ends.push((link, theirs));
        }
        while shard.turn(Instant::now()) {}
        (shard, ends)
    }

    fn publish(hub: &Hub) {
        let change = Change::Remove { key: String::new() };
        let (topic, at, members) = ("node/a".to_owned(), String::new(), String::new());
        hub.publish(Publication { topic, kind: "changed", at, members, change });
    }

    /// How many turns it takes until the hundredth of `clients` has an event, while the last `leaving` of them go.
    async fn turns(clients: usize, leaving: usize) -> usize {
        // As a shard's own task is: a pipe's budget would make it look blocked.
        tokio::task::coop::unconstrained(count_turns(clients, leaving)).await
    }

    async fn count_turns(clients: usize, leaving: usize) -> usize {
        let hub = Hub::new(HubLimits::default());
        let (mut shard, mut ends) = shard_of(&hub, clients);
        let (_, watched) = &mut ends[99];
        let mut seen = vec![0; 4_096];
        assert!(watched.read(&mut seen).await.unwrap() > 0);
        publish(&hub);
        ends.truncate(clients - leaving);
        let (_, watched) = &mut ends[99];
        for turn in 1.. {
            let is_busy = shard.turn(Instant::now());
            let read = tokio::time::timeout(Duration::from_millis(1), watched.read(&mut seen)).await;
            if read.is_ok_and(|read| read.unwrap() > 0) {
                while shard.turn(Instant::now()) {}
                assert_eq!(hub.figures().clients, clients - leaving, "all who left are gone in the end");
                let left = hub.figures().disconnects.iter().find(|(close, _)| *close == Close::Left).unwrap().1;
                assert_eq!(left, leaving as u64, "and nobody was removed twice");
                return turn;
            }
            assert!(is_busy, "it was forgotten");
        }
        unreachable!()
    }

    #[tokio::test(start_paused = true)]
    async fn p03_fan_out_takes_as_long_with_a_backlog_of_clean_up_as_without() {
        let without = turns(3_000, 0).await;
        let with = turns(3_000, 2_900).await;
        assert_eq!((without, with), (1, 1), "it is among the first of its turn, whoever else is leaving");
    }

    /// Lines for everybody wait, and a state comes: whoever has it, has it before anybody has a line.
    #[tokio::test(start_paused = true)]
    async fn p02_a_state_goes_to_everybody_before_a_flood_of_lines_goes_to_anybody() {
        tokio::task::coop::unconstrained(async {
            let hub = Hub::new(HubLimits::default());
            let topic: Arc<str> = "log/a/g:p/stdout".into();
            let (mut shard, mut ends) = shard_of(&hub, 3 * TURN_CLIENTS_MAX);
            for (link, _) in &ends {
                link.follow(vec![LogWish { topic: topic.clone(), from: None }]);
            }
            while shard.turn(Instant::now()) {}
            let mut seen = vec![0; 4_096];
            for (_, theirs) in &mut ends {
                while tokio::time::timeout(Duration::from_millis(1), theirs.read(&mut seen)).await.is_ok() {}
            }
            for _ in 0..20 {
                hub.publish_log(LogPublication { topic: topic.clone(), lines: 1, members: String::new() });
            }
            let head = hub.figures().log_events;
            shard.note_lines(head, Instant::now());
            // The lines are found, and wait for their turn.
            assert!(shard.turn(Instant::now()));
            publish(&hub);
            for _ in 0..3 {
                shard.turn(Instant::now());
            }
            let mut with_lines = 0;
            for (_, theirs) in &mut ends {
                let count = theirs.read(&mut seen).await.unwrap();
                let text = String::from_utf8_lossy(&seen[..count]).into_owned();
                assert!(text.contains(r#""t":"ev""#), "the state is there");
                with_lines += usize::from(text.contains(r#""t":"log""#));
            }
            assert_eq!(with_lines, TURN_CLIENTS_MAX, "only those who had them before the state was told");
            assert_eq!(hub.figures().log_lines_skipped, 0);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_bounded_whatever_there_is_to_do() {
        tokio::task::coop::unconstrained(async { bounded() }).await;
    }

    fn bounded() {
        let hub = Hub::new(HubLimits::default());
        let (mut shard, ends) = shard_of(&hub, 1_000);
        let before = hub.figures().writes;
        publish(&hub);
        drop(ends);
        assert!(shard.turn(Instant::now()), "there is more");
        assert!(hub.figures().clients >= 1_000 - NOTES_MAX - TURN_CLIENTS_MAX, "{}", hub.figures().clients);
        assert!(hub.figures().writes - before <= TURN_CLIENTS_MAX as u64);
    }
}
