//! The requests of one HTTP/2 connection: whether it is idle, whether it takes its answers, whether it only ever gives up.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Answers go out in pieces, so that it shows when they are not taken.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// Requests that a client gives up before they are answered: so many at once, and one more each 100 ms.
const RESETS_BURST: u32 = 100;
const RESETS_EACH: Duration = Duration::from_millis(100);

/// How often it is looked whether the last request is over.
const QUIET_EACH: Duration = Duration::from_millis(20);

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// For a piece of an answer to be taken.
    pub(super) answer: Duration,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody asks for anything.
    Idle,
    /// An answer is not taken.
    Stalled,
    /// Requests are made and given up without end.
    Flood,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "nothing is asked",
            Self::Stalled => "an answer is not taken",
            Self::Flood => "too many requests are given up",
        }
    }
}

/// What is under way on a connection.
#[derive(Debug)]
pub(super) struct Streams {
    patience: Patience,
    state: Mutex<State>,
    is_flood: CancellationToken,
}

#[derive(Debug)]
struct State {
    next: u64,
    open: usize,
    idle_since: Instant,
    /// When the next piece of an answer has to have been asked for.
    due: BTreeMap<u64, Instant>,
    resets: u32,
    resets_since: Instant,
}

impl Streams {
    pub(super) fn new(patience: Patience) -> Arc<Self> {
        let now = Instant::now();
        let state = State { next: 0, open: 0, idle_since: now, due: BTreeMap::new(), resets: 0, resets_since: now };
        Arc::new(Self { patience, state: Mutex::new(state), is_flood: CancellationToken::new() })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Asked {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open += 1;
        drop(state);
        Asked { streams: Arc::clone(self), number, is_answered: false }
    }

    /// Waits until the connection has to end.
    pub(super) async fn judged(&self) -> Verdict {
        let tick =
            (self.patience.idle.min(self.patience.answer) / 4).clamp(Duration::from_millis(10), RESETS_EACH * 10);
        loop {
            if let Some(verdict) = self.judge(Instant::now()) {
                return verdict;
            }
            tokio::select! {
                biased;
                () = self.is_flood.cancelled() => return Verdict::Flood,
                () = tokio::time::sleep(tick) => {}
            }
        }
    }

    /// Ends when no request is under way.
    pub(super) async fn quiet(&self) {
        while self.lock().open > 0 {
            tokio::time::sleep(QUIET_EACH).await;
        }
    }

    fn judge(&self, now: Instant) -> Option<Verdict> {
        let state = self.lock();
        if state.due.values().any(|due| *due <= now) {
            return Some(Verdict::Stalled);
        }
        (state.open == 0 && state.idle_since + self.patience.idle <= now).then_some(Verdict::Idle)
    }

    fn note_reset(&self, state: &mut State) {
        let now = Instant::now();
        let forgiven = now.saturating_duration_since(state.resets_since).as_millis() / RESETS_EACH.as_millis();
        if forgiven > 0 {
            state.resets = state.resets.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            state.resets_since = now;
        }
        state.resets += 1;
        if state.resets > RESETS_BURST {
            self.is_flood.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, until its answer has been handed over or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Asked {
    streams: Arc<Streams>,
    number: u64,
    is_answered: bool,
}

impl Asked {
    /// The request has its answer, whose body is minded from now on.
    pub(super) fn answer(mut self, body: Body) -> Body {
        self.is_answered = true;
        Body::new(Minded { body, rest: None, asked: self })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.streams.lock();
        state.due.remove(&self.number);
        state.open = state.open.saturating_sub(1);
        state.idle_since = Instant::now();
        if !self.is_answered {
            self.streams.note_reset(&mut state);
        }
    }
}

/// A body in pieces; it is known since when the last one has not been followed by another.
struct Minded {
    body: Body,
    rest: Option<Bytes>,
    asked: Asked,
}

impl Minded {
    fn give(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
        self.rest = Some(bytes).filter(|rest| !rest.is_empty());
        let due = Instant::now() + self.asked.streams.patience.answer;
        self.asked.streams.lock().due.insert(self.asked.number, due);
        Frame::data(piece)
    }
}

impl HttpBody for Minded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(self.give(rest))));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Poll::Ready(Some(Ok(self.give(bytes)))),
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            // It is ours to give more; the peer has taken all.
            Poll::Pending => {
                let number = self.asked.number;
                self.asked.streams.lock().due.remove(&number);
                Poll::Pending
            }
            Poll::Ready(other) => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.rest, self.body.size_hint().exact()) {
            (None, _) => self.body.size_hint(),
            (Some(rest), Some(more)) => SizeHint::with_exact(more + rest.len() as u64),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(10), answer: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_nothing_is_under_way_for_so_long() {
        let streams = Streams::new(PATIENCE);
        let began = Instant::now();
        let asked = streams.begin();
        tokio::select! {
            verdict = streams.judged() => panic!("{verdict:?} although a handler works"),
            () = tokio::time::sleep(PATIENCE.idle * 9) => drop(asked.answer(Body::empty())),
        }
        assert_eq!(streams.judged().await, Verdict::Idle);
        assert!(began.elapsed() >= PATIENCE.idle * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_next_piece_nobody_asks_for_is_stalled_and_one_that_has_none_is_not() {
        let streams = Streams::new(PATIENCE);
        let mut body = streams.begin().answer(Body::from(vec![7; 40_000]));
        let mut sizes = Vec::new();
        for _ in 0..2 {
            sizes.push(body.frame().await.unwrap().unwrap().into_data().unwrap().len());
            tokio::time::sleep(PATIENCE.answer / 2).await;
        }
        assert_eq!(sizes, [PIECE_BYTES_MAX; 2]);
        let began = Instant::now();
        assert_eq!(streams.judged().await, Verdict::Stalled);
        assert!(began.elapsed() <= PATIENCE.answer, "{:?}", began.elapsed());
        drop(body);
        // One that waits for its source stalls nobody.
        let mut waits =
            streams.begin().answer(Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>()));
        tokio::select! {
            _ = waits.frame() => panic!("there is nothing"),
            verdict = streams.judged() => panic!("{verdict:?}"),
            () = tokio::time::sleep(PATIENCE.answer * 9) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_given_up_end_the_connection_and_answered_ones_do_not() {
        let streams = Streams::new(PATIENCE);
        for _ in 0..10_000 {
            drop(streams.begin().answer(Body::empty()));
        }
        for _ in 0..RESETS_BURST {
            drop(streams.begin());
        }
        assert!(!streams.is_flood.is_cancelled());
        tokio::time::sleep(RESETS_EACH * 10).await;
        for _ in 0..10 {
            drop(streams.begin());
        }
        assert!(!streams.is_flood.is_cancelled(), "time forgives");
        drop(streams.begin());
        assert_eq!(streams.judged().await, Verdict::Flood);
    }
}
