//! How an owner is told to let go of its node.

use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;

/// Why an owner is to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    /// Its node is no longer configured.
    Removed,
    /// Its node is reached in another way from now on.
    Replaced,
    /// Something about its node changed that is no business of the connection.
    Renamed,
}

/// What holds one run of an owner. Pulled at most once.
#[derive(Debug)]
pub(super) struct Leash {
    /// Ends the step under way, the call in it included.
    cut: CancellationToken,
    /// Ends the owner's run after the step under way.
    rest: CancellationToken,
    why: OnceLock<Pull>,
}

impl Leash {
    /// A leash that also ends with the pool.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        let rest = stop.child_token();
        Self { cut: stop.child_token(), rest, why: OnceLock::new() }
    }

    pub(super) fn pull(&self, why: Pull) {
        if self.why.set(why).is_err() {
            return;
        }
        match why {
            Pull::Removed | Pull::Replaced => self.cut.cancel(),
            Pull::Renamed => {}
        }
        self.rest.cancel();
    }

    /// Why it was pulled; `None` when the pool stops.
    pub(super) fn why(&self) -> Option<Pull> {
        self.why.get().copied()
    }

    /// Ends when the call under way has to.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Ends when the owner is to take up nothing more.
    pub(super) async fn rest(&self) {
        self.rest.cancelled().await;
    }
}
