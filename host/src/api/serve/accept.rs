use crate::api::serve::connection::{self, Visit};
use crate::api::serve::figures::{ServeFigures, Turned};
use crate::api::serve::guests::Guests;
use crate::api::serve::listen::Listener;
use crate::config::Snapshot;
use crate::task::{Place, Places, TaskGroup, TaskKind};
use axum::Router;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// After a failed accept, most likely for want of descriptors: neither spin nor exit.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is said that connections cannot be accepted, or are refused.
const SAY_EACH: Duration = Duration::from_secs(10);
/// Handshakes of TLS under way. A connection that comes beyond it is closed.
const HANDSHAKES_MAX: usize = 512;

/// What all listeners of a host have in common. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    router: Router,
    config: watch::Receiver<Arc<Snapshot>>,
    /// As many as `connections_max` says at each moment.
    places: Places,
    guests: Guests,
    handshakes: Places,
    connections: TaskGroup,
    figures: Arc<ServeFigures>,
}

impl Acceptor {
    /// Requests go to `router`. Each connection is a task of the kind connection of this host; the caller waits for them.
    #[must_use]
    pub fn new(
        router: Router,
        config: watch::Receiver<Arc<Snapshot>>,
        places: Places,
        connections: TaskGroup,
        figures: Arc<ServeFigures>,
    ) -> Self {
        let handshakes = Places::new(HANDSHAKES_MAX);
        Self { router, config, places, guests: Guests::default(), handshakes, connections, figures }
    }

    /// Serves connections of a listener until `stop` is cancelled, then closes it; requests under way finish.
    ///
    /// A connection needs a place. While there is none, the oldest connection that has asked for nothing yet makes room; if
    /// there is no such one, this one waits, and further ones wait in the kernel's queue. Certificates are read again when
    /// their files change and when `again` does.
    pub async fn serve(mut self, listener: Listener, again: watch::Receiver<u64>, stop: CancellationToken) {
        if let Some(certificates) = listener.certificates.clone() {
            let stop = stop.clone();
            self.figures.add(Arc::clone(&certificates));
            let upkeep = self.connections.of(TaskKind::Upkeep);
            upkeep.named("certificates", async move { certificates.keep_fresh(again, stop).await });
        }
        let (mut failures, mut refusals) = (Rarely::default(), Rarely::default());
        loop {
            let connections_max = self.config.borrow_and_update().config.server.connections_max;
            self.places.resize(connections_max);
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.config.changed() => continue,
                accepted = listener.accept() => accepted,
            };
            let (accepted, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_the_peer(&error) => continue,
                Err(error) => {
                    self.figures.turn(Turned::NotAccepted);
                    if let Some(count) = failures.note() {
                        tracing::warn!(%error, count, "connections cannot be accepted");
                    }
                    // Whoever holds a descriptor and asks for nothing makes room first.
                    self.guests.dismiss_oldest();
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(ACCEPT_PAUSE) => continue,
                    }
                }
            };
            let snapshot = Arc::clone(&self.config.borrow());
            let server = &snapshot.config.server;
            let is_bounded = !peer.is_unix && !server.trusted_proxies.has(peer.address);
            let Some(guest) = self.guests.enter(is_bounded.then_some(peer.address), server.connections_per_address_max)
            else {
                self.figures.turn(Turned::AddressFull);
                if let Some(count) = refusals.note() {
                    tracing::warn!(address = %peer.address, count, "connections beyond `connections_per_address_max` are closed");
                }
                continue;
            };
            let place = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                place = self.place() => place,
            };
            let visit = Visit {
                peer,
                guest: Arc::new(guest),
                router: self.router.clone(),
                snapshot,
                handshakes: self.handshakes.clone(),
                acceptor: listener.certificates.as_ref().map(|certificates| certificates.acceptor()),
                requests: self.connections.clone(),
                figures: Arc::clone(&self.figures),
                stop: stop.clone(),
            };
            self.connections.named(&peer.address.to_string(), async move {
                connection::serve(accepted, visit).await;
                drop(place);
            });
        }
    }

    /// A place, as soon as there is one. Who has asked for nothing makes room; a change of the number of places counts.
    async fn place(&mut self) -> Option<Place> {
        if let Some(place) = self.places.try_take() {
            return Some(place);
        }
        self.guests.dismiss_oldest();
        loop {
            tokio::select! {
                biased;
                place = self.places.take() => return place,
                Ok(()) = self.config.changed() => {
                    let connections_max = self.config.borrow_and_update().config.server.connections_max;
                    self.places.resize(connections_max);
                }
            }
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("places", &self.places).finish_non_exhaustive()
    }
}

/// The peer left before it was accepted; the listener is well.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Something that may happen often and is told now and then.
#[derive(Debug, Default)]
struct Rarely {
    told: Option<Instant>,
    count: u64,
}

impl Rarely {
    /// It happened. How often since it was told last, if it is time to tell.
    fn note(&mut self) -> Option<u64> {
        self.count += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < SAY_EACH) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_ten_times_a_second_is_told_once_in_ten() {
        let mut rarely = Rarely::default();
        let mut told = Vec::new();
        for _ in 0..250 {
            told.extend(rarely.note());
            tokio::time::advance(ACCEPT_PAUSE).await;
        }
        assert_eq!(told, [1, 100, 100]);
    }
}
