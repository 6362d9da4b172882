//! What tells that a log may have grown: a stream that its supervisor writes to when it does.
//!
//! Nothing that it carries is passed on. It is read all the time: a supervisor keeps what a reader leaves.

use crate::node::follow::rope::Rope;
use crate::node::leash::Leash;
use crate::node::link::NodeStream;
use crate::plugin::{BoxFuture, ExchangeFailure};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A stream whose log stays empty may have no head for so long; then it is opened anew.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3_600);
/// The first wait before a stream is opened again, and the longest.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
const REOPEN_MAX: Duration = Duration::from_secs(60);
/// One that lived so long has not failed.
const LIVED: Duration = Duration::from_secs(10);

/// A stream, or none.
pub(super) struct Bell {
    state: State,
    /// When it may be hung up again.
    pub(super) hang_at: Instant,
    hung_at: Instant,
    pause: Duration,
}

enum State {
    /// There is none.
    None,
    Opening(BoxFuture<'static, Result<NodeStream, ExchangeFailure>>, Hold),
    Open(NodeStream, Hold),
}

/// What a stream costs, and how long it may last.
struct Hold {
    leash: Arc<Leash>,
    _place: OwnedSemaphorePermit,
}

impl Bell {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { state: State::None, hang_at: now, hung_at: now, pause: REOPEN_FIRST }
    }

    /// True if it will ring, as far as is known.
    pub(super) fn is_hung(&self) -> bool {
        match self.state {
            State::None => false,
            State::Opening(..) | State::Open(..) => true,
        }
    }

    /// Opens the stream, if there is one, which is waited for by [`Self::ring`].
    pub(super) fn hang(&mut self, rope: Rope) {
        let Rope { link, leash, stream } = rope;
        let now = Instant::now();
        let Some((request, place)) = stream else {
            self.hang_at = now + REOPEN_MAX;
            return;
        };
        self.hung_at = now;
        let opening = Box::pin(async move { link.open_stream(request, now + HEAD_TIMEOUT).await });
        self.state = State::Opening(opening, Hold { leash, _place: place });
    }

    /// Closes the stream. It may be hung up again at once.
    pub(super) fn take_down(&mut self) {
        self.state = State::None;
        self.hang_at = Instant::now();
    }

    /// Waits until the log may have grown; also when the stream has ended, for nobody would tell any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn ring(&mut self) {
        loop {
            let is_over = match &mut self.state {
                State::None => pending().await,
                State::Opening(opening, hold) => {
                    tokio::select! {
                        biased;
                        () = hold.leash.rest() => true,
                        opened = opening => match opened {
                            Ok(stream) => {
                                self.opened(stream);
                                continue;
                            }
                            Err(failure) => {
                                tracing::debug!(%failure, "no stream for a followed log; it is asked for at intervals");
                                true
                            }
                        },
                    }
                }
                State::Open(stream, hold) => {
                    tokio::select! {
                        biased;
                        () = hold.leash.rest() => true,
                        piece = stream.next() => piece.is_none(),
                    }
                }
            };
            if is_over {
                self.ended();
            }
            return;
        }
    }

    fn opened(&mut self, stream: NodeStream) {
        if let State::Opening(_, hold) = std::mem::replace(&mut self.state, State::None) {
            self.state = State::Open(stream, hold);
        }
    }

    fn ended(&mut self) {
        self.state = State::None;
        if self.hung_at.elapsed() >= LIVED {
            self.pause = REOPEN_FIRST;
        }
        self.hang_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(REOPEN_MAX);
    }
}
