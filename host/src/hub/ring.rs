use crate::hub::filter::Filter;
use crate::hub::frame::Frame;
use crate::hub::log::{Entry, Log};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// A shard's own copy of the log's events: handles of the same frames, read without a lock. It holds what the log held
/// when it was last brought up to date.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Entry>,
    /// By number.
    names: Vec<Arc<str>>,
    /// The log's, whose numbers these are.
    generation: u64,
    head: u64,
}

/// What a piece of the log holds for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The event.
    pub(super) offset: u64,
    /// Bytes of its frame.
    pub(super) len: usize,
}

impl Ring {
    /// Takes over what is new, lets go of what the log let go of. True if there was something new.
    pub(super) fn sync(&mut self, log: &Log) -> bool {
        if log.head() == self.head {
            return false;
        }
        let is_renumbered = std::mem::replace(&mut self.generation, log.generation()) != log.generation();
        if is_renumbered {
            self.names.clear();
        }
        self.names.extend_from_slice(log.names_from(self.names.len()));
        if is_renumbered || self.head + 1 < log.oldest() {
            self.events.clear();
        }
        let known = if is_renumbered { 0 } else { self.head };
        self.events.extend(log.behind(known).cloned());
        self.head = log.head();
        while self.oldest() < log.oldest() {
            self.events.pop_front();
        }
        true
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The offset of the first event, `head + 1` without any.
    pub(super) fn oldest(&self) -> u64 {
        self.head + 1 - self.events.len() as u64
    }

    fn entry(&self, offset: u64) -> Option<&Entry> {
        self.events.get(usize::try_from(offset.checked_sub(self.oldest())?).ok()?)
    }

    pub(super) fn frame(&self, offset: u64) -> Option<&Frame> {
        self.entry(offset).map(|entry| &entry.frame)
    }

    /// When the first event behind `cursor` was published; `None` at the head.
    pub(super) fn behind_since(&self, cursor: u64) -> Option<Instant> {
        self.entry(cursor + 1).map(|entry| entry.at)
    }

    /// Goes through at most `scan_max` events behind `cursor`, which is not below the oldest, and calls `take` with each
    /// that the filter wants, until it says no. Gives the last offset that is dealt with.
    pub(super) fn scan(
        &self,
        cursor: u64,
        filter: &mut Filter,
        scan_max: usize,
        mut take: impl FnMut(Found) -> bool,
    ) -> u64 {
        filter.number_by(self.generation);
        let start = usize::try_from((cursor + 1).saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        let mut at = cursor;
        for entry in self.events.range(start.min(self.events.len())..).take(scan_max) {
            let name = usize::try_from(entry.id.0).ok().and_then(|id| self.names.get(id));
            let is_wanted = name.is_some_and(|name| filter.wants(entry.id, name));
            if is_wanted && !take(Found { offset: at + 1, len: entry.frame.len() }) {
                break;
            }
            at += 1;
        }
        at
    }
}
