use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded number of places, a bounded number of waiters, a bounded wait.
#[derive(Debug)]
pub(super) struct Slots {
    places: Arc<Semaphore>,
    /// One for each that is in or waits.
    tickets: Arc<Semaphore>,
    size: usize,
    wait_max: Duration,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _place: OwnedSemaphorePermit,
    _ticket: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(places: usize, waiters_max: usize, wait_max: Duration) -> Self {
        let size = places.saturating_add(waiters_max);
        Self { places: Arc::new(Semaphore::new(places)), tickets: Arc::new(Semaphore::new(size)), size, wait_max }
    }

    /// Those that are in or wait.
    pub(super) fn taken(&self) -> usize {
        self.size.saturating_sub(self.tickets.available_permits())
    }

    /// A place, `None` at once when too many wait already, or when none came free in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    pub(super) async fn enter(&self) -> Option<Slot> {
        let ticket = Arc::clone(&self.tickets).try_acquire_owned().ok()?;
        let place = tokio::time::timeout(self.wait_max, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?;
        Some(Slot { _place: place, _ticket: ticket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_within_its_bounds_and_then_refuses() {
        let slots = Slots::new(1, 1, Duration::from_secs(2));
        let held = slots.enter().await.unwrap();
        let (waited, refused) = tokio::join!(slots.enter(), slots.enter());
        assert!(waited.is_none() && refused.is_none(), "one after two seconds, one at once");
        let (waited, ()) = tokio::join!(slots.enter(), async { drop(held) });
        assert!(waited.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gave_up_leaves_no_trace() {
        let slots = Slots::new(1, 1, Duration::from_secs(60));
        let held = slots.enter().await.unwrap();
        for _ in 0..3 {
            let waiter = tokio::time::timeout(Duration::from_secs(1), slots.enter()).await;
            assert!(waiter.is_err());
        }
        drop(held);
        assert_eq!(slots.taken(), 0);
        assert!(slots.enter().await.is_some());
    }
}
