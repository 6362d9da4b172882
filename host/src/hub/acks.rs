use crate::hub::figures::Counters;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Which shard has applied which words of the log, and who waits for all of them.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last number that each shard has applied.
    applied: Vec<u64>,
    /// In the order of their numbers.
    waiting: VecDeque<(u64, Instant, oneshot::Sender<()>)>,
}

impl Acks {
    /// One more shard. Gives its index.
    pub(super) fn enter(&self) -> usize {
        let mut state = self.lock();
        state.applied.push(0);
        state.applied.len() - 1
    }

    /// Remembers who waits for a number; gives it back if there is nothing to wait for.
    pub(super) fn wait_for(&self, number: u64, done: oneshot::Sender<()>, now: Instant) -> Option<oneshot::Sender<()>> {
        let mut state = self.lock();
        if state.everywhere() >= number {
            return Some(done);
        }
        state.waiting.push_back((number, now, done));
        None
    }

    /// A shard has applied everything up to a number.
    pub(super) fn applied(&self, shard: usize, number: u64, counters: &Counters, now: Instant) {
        let mut state = self.lock();
        if let Some(applied) = state.applied.get_mut(shard) {
            *applied = number;
        }
        let everywhere = state.everywhere();
        while state.waiting.front().is_some_and(|(number, ..)| *number <= everywhere) {
            let Some((_, since, done)) = state.waiting.pop_front() else { return };
            let took = u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX);
            counters.revokes.fetch_add(1, Relaxed);
            counters.revoke_us.fetch_add(took, Relaxed);
            counters.revoke_us_max.fetch_max(took, Relaxed);
            let _ = done.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What every shard has applied; everything, where there is none.
    fn everywhere(&self) -> u64 {
        self.applied.iter().min().copied().unwrap_or(u64::MAX)
    }
}
