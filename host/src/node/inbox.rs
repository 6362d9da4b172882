//! The queue of one node's requests, whose bound can change.

use crate::config::PoolConfig;
use crate::node::owner::Request;
use crate::task::{Place, Places};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The most that `commands_max` may be.
const COMMANDS_MAX: usize = 1_024;

/// The end at which requests are put in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Letterbox {
    requests: mpsc::Sender<(Place, Request)>,
    places: Places,
    settings: watch::Receiver<Arc<PoolConfig>>,
}

/// The end at which a node's owner takes them out.
pub(super) struct Inbox(mpsc::Receiver<(Place, Request)>);

/// Why a request was not put in.
pub(super) enum NotTaken {
    /// As many wait as may: so many.
    Full(usize),
    /// There is no owner any more.
    Closed,
}

/// A queue of as many requests as the settings say at each moment.
pub(super) fn inbox(settings: watch::Receiver<Arc<PoolConfig>>) -> (Letterbox, Inbox) {
    let places = Places::new(settings.borrow().commands_max);
    // The places bound it; the queue itself has room for the most that there can be.
    let (requests, taken) = mpsc::channel(COMMANDS_MAX);
    (Letterbox { requests, places, settings }, Inbox(taken))
}

impl Letterbox {
    /// Puts a request in, at once or not at all.
    pub(super) fn put(&self, request: Request) -> Result<(), NotTaken> {
        if self.requests.is_closed() {
            return Err(NotTaken::Closed);
        }
        let commands_max = self.settings.borrow().commands_max;
        if self.places.count() != commands_max {
            self.places.resize(commands_max);
        }
        let place = self.places.try_take().ok_or_else(|| NotTaken::Full(self.places.count()))?;
        self.requests.try_send((place, request)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full(COMMANDS_MAX),
            mpsc::error::TrySendError::Closed(_) => NotTaken::Closed,
        })
    }
}

impl Inbox {
    /// The next request, whose place is free from now on.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn recv(&mut self) -> Option<Request> {
        let (_place, request) = self.0.recv().await?;
        Some(request)
    }
}
