use crate::store::{Store, WRITES_MAX};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How the database does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCondition {
    /// It is read and written.
    Good,
    /// It is read; writes are refused for want of room, until there is some.
    Full,
    /// It is read; writes are refused because the disk takes none, until it does.
    ReadOnly,
    /// It is read at best, and not written any more, because a write failed.
    Broken,
    /// It was closed.
    Closed,
}

/// The condition, as the writer thread sees it.
#[derive(Default)]
pub(super) struct Condition(AtomicU8);

impl Condition {
    pub(super) fn set(&self, condition: StoreCondition) {
        self.0.store(condition as u8, Relaxed);
    }

    /// As [`Condition::set`]; answers what was before.
    pub(super) fn replace(&self, condition: StoreCondition) -> StoreCondition {
        Self::of(self.0.swap(condition as u8, Relaxed))
    }

    pub(super) fn get(&self) -> StoreCondition {
        Self::of(self.0.load(Relaxed))
    }

    const fn of(number: u8) -> StoreCondition {
        match number {
            0 => StoreCondition::Good,
            1 => StoreCondition::Full,
            2 => StoreCondition::ReadOnly,
            3 => StoreCondition::Broken,
            _ => StoreCondition::Closed,
        }
    }
}

impl Store {
    /// How the database does. Never waits.
    #[must_use]
    pub fn condition(&self) -> StoreCondition {
        // The thread's end closes the queue, also when it panicked.
        if self.orders.is_closed() {
            return StoreCondition::Closed;
        }
        self.shared.snapshots.condition.get()
    }

    /// Writes that wait for the writer thread.
    #[must_use]
    pub fn writes_waiting(&self) -> usize {
        WRITES_MAX.saturating_sub(self.orders.capacity())
    }
}
