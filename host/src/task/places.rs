use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may do something at once: a number of places that can be changed while they are taken. Cheap to clone.
///
/// Who waits is served in the order of coming. When there are fewer places than are taken, those that are given back are
/// gone until the numbers agree: nobody who is in is sent away.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    /// The places there are to be.
    wanted: usize,
    /// Taken ones beyond that. They are not free again when they are given back.
    surplus: usize,
}

/// A taken place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    permit: Option<OwnedSemaphorePermit>,
    of: Places,
}

impl Places {
    /// So many places, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let wanted = legal(count);
        let size = Mutex::new(Size { wanted, surplus: 0 });
        Self(Arc::new(Inner { free: Arc::new(Semaphore::new(wanted)), size }))
    }

    /// Waits for a place. `None` never comes: nobody closes it.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    pub async fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.free).acquire_owned().await.ok()?;
        Some(Place { permit: Some(permit), of: self.clone() })
    }

    /// A place, if one is free now.
    #[must_use]
    pub fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Place { permit: Some(permit), of: self.clone() })
    }

    /// From now on there are so many, at least one.
    pub fn resize(&self, count: usize) {
        let mut size = self.size();
        let (before, wanted) = (size.wanted, legal(count));
        size.wanted = wanted;
        let (more, less) = (wanted.saturating_sub(before), before.saturating_sub(wanted));
        let stay = size.surplus.min(more);
        size.surplus = size.surplus - stay + (less - self.0.free.forget_permits(less));
        self.0.free.add_permits(more - stay);
    }

    /// How many there are to be.
    #[must_use]
    pub fn count(&self) -> usize {
        self.size().wanted
    }

    /// How many are taken, those that were given to the first in the queue included.
    #[must_use]
    pub fn taken(&self) -> usize {
        let size = self.size();
        (size.wanted + size.surplus).saturating_sub(self.0.free.available_permits())
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.0.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        // Under the lock, so that a change of the number sees the place either taken or given back.
        let mut size = self.of.size();
        if size.surplus > 0 {
            size.surplus -= 1;
            permit.forget();
        } else {
            drop(permit);
        }
    }
}

fn legal(count: usize) -> usize {
    count.clamp(1, Semaphore::MAX_PERMITS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Debug, Clone)]
    enum Step {
        Take,
        TryTake,
        GiveBack(usize),
        LeaveQueue(usize),
        Panic,
        Resize(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Take),
            2 => Just(Step::TryTake),
            4 => any::<usize>().prop_map(Step::GiveBack),
            1 => any::<usize>().prop_map(Step::LeaveQueue),
            1 => Just(Step::Panic),
            3 => (0..6_usize).prop_map(Step::Resize),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Against a naive twin: whoever comes, waits, leaves, panics, and however the number changes meanwhile, no more
        /// are in than there may be, but for those who were in before it shrank; who waits is let in as soon as one may;
        /// and in the end all places are free.
        #[test]
        fn p21_places_agree_with_a_naive_twin(first in 1..5_usize, steps in steps()) {
            let places = Places::new(first);
            let (mut wanted, mut inside) = (first, Vec::new());
            let mut queue: VecDeque<std::pin::Pin<Box<dyn Future<Output = Option<Place>>>>> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Take => {
                        let places = places.clone();
                        queue.push_back(Box::pin(async move { places.take().await }));
                    }
                    Step::TryTake => {
                        let taken = places.try_take();
                        prop_assert_eq!(taken.is_some(), inside.len() < wanted && queue.is_empty());
                        inside.extend(taken);
                    }
                    Step::GiveBack(which) if !inside.is_empty() => drop(inside.swap_remove(which % inside.len())),
                    Step::LeaveQueue(which) if !queue.is_empty() => drop(queue.remove(which % queue.len())),
                    Step::Panic => {
                        if let Some(place) = inside.pop() {
                            let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                                let _held = place;
                                std::panic::resume_unwind(Box::new("on purpose"));
                            }));
                            prop_assert!(broken.is_err());
                        }
                    }
                    Step::Resize(count) => {
                        places.resize(count);
                        wanted = count.max(1);
                    }
                    Step::GiveBack(_) | Step::LeaveQueue(_) => {}
                }
                while let Some(Some(place)) = queue.front_mut().and_then(|next| next.now_or_never()) {
                    drop(queue.pop_front());
                    inside.push(place);
                    prop_assert!(inside.len() <= wanted, "{} are in, {wanted} may be", inside.len());
                }
                prop_assert!(queue.is_empty() || inside.len() >= wanted, "one waits although there is a place");
                prop_assert_eq!((places.taken(), places.count()), (inside.len(), wanted));
            }
            drop((inside, queue));
            prop_assert_eq!(places.taken(), 0);
        }
    }

    /// Many threads at once: the number inside is counted by themselves.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_bound_holds_on_many_threads_while_it_changes() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let (places, inside, peak) = (Places::new(8), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let tracker = tokio_util::task::TaskTracker::new();
        for _ in 0..16 {
            let (places, inside, peak) = (places.clone(), Arc::clone(&inside), Arc::clone(&peak));
            tracker.spawn(async move {
                for _ in 0..500 {
                    let place = places.take().await;
                    peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, SeqCst);
                    drop(place);
                }
            });
        }
        for count in (1..=8).cycle().take(400) {
            places.resize(count);
            tokio::task::yield_now().await;
        }
        tracker.close();
        tracker.wait().await;
        assert!(peak.load(SeqCst) <= 8);
        assert_eq!((places.taken(), places.count()), (0, 8));
        assert_eq!(places.0.free.available_permits(), 8);
    }
}
