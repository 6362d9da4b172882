use crate::hub::frame::Frame;
use crate::hub::logs::{Followed, LogLane, Stream};
use crate::hub::slots::Key;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// What one log is given of a write before the next one has its turn.
const TURN_FRAMES: usize = 8;
const TURN_BYTES: usize = 8 * 1024;

/// A log that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogWish {
    /// The text of a [`crate::model::LogTopic`].
    pub topic: Arc<str>,
    /// The number of the line that it wants next, where it knows: it is given what is still kept from there on. What
    /// follows from now on otherwise.
    pub from: Option<u64>,
}

/// Why a client does not get a log that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It may not read logs.
    Forbidden,
    /// Too many logs are followed.
    Full,
}

impl Denied {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Full => "full",
        }
    }
}

/// The logs that one client follows, each with its place.
#[derive(Debug, Default)]
pub(super) struct Following {
    logs: Vec<Place>,
    /// Whose turn is first in the next write.
    turn: usize,
}

#[derive(Debug)]
struct Place {
    log: Followed,
    /// The number of the next line.
    next: u64,
    /// It has been at the head: from then on it can lag behind.
    is_caught_up: bool,
}

/// A frame of a log that is to be written.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) frame: Frame,
    /// Which of the client's logs.
    at: usize,
    to: u64,
}

/// Lines that a client is taken past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skip {
    pub(super) topic: Arc<str>,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Following {
    /// Follows these and no others. Who is followed already keeps its place. Tells what is denied, in the order of the
    /// wishes; `may` says which are allowed.
    pub(super) fn replace(
        &mut self,
        wishes: Vec<LogWish>,
        lane: &Arc<LogLane>,
        may: impl Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Denied)> {
        let kept = std::mem::take(&mut self.logs).into_iter();
        let mut kept: HashMap<Arc<str>, Place> = kept.map(|place| (place.topic().clone(), place)).collect();
        let (mut denied, mut seen) = (Vec::new(), BTreeSet::new());
        self.turn = 0;
        for LogWish { topic, from } in wishes {
            if !seen.insert(topic.clone()) {
                continue;
            }
            if !may(&topic) {
                denied.push((topic, Denied::Forbidden));
            } else if let Some(place) = kept.remove(&topic) {
                self.logs.push(place);
            } else if let Some(log) = lane.follow(&topic) {
                let head = log.stream.head() + 1;
                // A number from the future is another log's.
                let next = from.filter(|from| *from <= head).unwrap_or(head);
                self.logs.push(Place { log, next, is_caught_up: next == head });
            } else {
                denied.push((topic, Denied::Full));
            }
        }
        denied
    }

    /// The topics that are followed, with the number of the line that comes next.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.logs.iter().map(|place| (place.topic(), place.next))
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.logs.iter().map(|place| &place.log.stream)
    }

    /// Whether there are lines to write.
    pub(super) fn has_more(&self) -> bool {
        self.logs.iter().any(|place| place.next <= place.log.stream.head())
    }

    /// Takes the client ahead in the logs that it is too far behind in.
    pub(super) fn catch_up(&mut self, lane: &LogLane, now: Instant, mut skipped: impl FnMut(Skip)) {
        for place in self.logs.iter_mut().filter(|place| place.next <= place.log.stream.head()) {
            let next = place.log.stream.catch_up(place.next, place.is_caught_up, lane.limits(), now);
            if next > place.next {
                skipped(Skip { topic: place.topic().clone(), from: place.next, to: next - 1 });
                place.next = next;
            }
        }
    }

    /// Collects what comes next, a few frames of each log in turn, until `fits` says no.
    pub(super) fn stage(&self, staged: &mut Vec<Staged>, mut fits: impl FnMut(usize) -> bool) {
        let count = self.logs.len();
        let mut next: Vec<u64> = self.logs.iter().map(|place| place.next).collect();
        let (mut dry, mut at) = (0, self.turn);
        // Until all are dry one after the other.
        while dry < count {
            at %= count;
            let (Some(place), Some(next)) = (self.logs.get(at), next.get_mut(at)) else { return };
            let (mut frames, mut bytes, mut is_full) = (0, 0, false);
            if *next <= place.log.stream.head() {
                place.log.stream.read(*next, |frame, to| {
                    is_full = !fits(frame.len());
                    if is_full {
                        return false;
                    }
                    staged.push(Staged { frame: frame.clone(), at, to });
                    *next = to + 1;
                    frames += 1;
                    bytes += frame.len();
                    frames < TURN_FRAMES && bytes < TURN_BYTES
                });
            }
            if is_full {
                return;
            }
            dry = if frames == 0 { dry + 1 } else { 0 };
            at += 1;
        }
    }

    /// A frame that was collected has been begun.
    pub(super) fn advance(&mut self, staged: &Staged) {
        if let Some(place) = self.logs.get_mut(staged.at) {
            place.next = staged.to + 1;
            place.is_caught_up |= place.next > place.log.stream.head();
        }
        self.turn = staged.at + 1;
    }
}

impl Place {
    fn topic(&self) -> &Arc<str> {
        &self.log.stream.topic
    }
}

/// Who among a shard's clients follows which log, so that new lines of one are looked for once, not once a client.
#[derive(Debug, Default)]
pub(super) struct Followers(HashMap<u64, Readers>);

#[derive(Debug)]
struct Readers {
    stream: Arc<Stream>,
    /// The last line that the readers were told of.
    told: u64,
    keys: BTreeSet<Key>,
}

impl Followers {
    pub(super) fn enter(&mut self, key: Key, following: &Following) {
        for stream in following.streams() {
            let readers = || Readers { stream: stream.clone(), told: stream.head(), keys: BTreeSet::new() };
            self.0.entry(stream.id).or_insert_with(readers).keys.insert(key);
        }
    }

    pub(super) fn leave(&mut self, key: Key, following: &Following) {
        for stream in following.streams() {
            if let Some(readers) = self.0.get_mut(&stream.id) {
                readers.keys.remove(&key);
                if readers.keys.is_empty() {
                    self.0.remove(&stream.id);
                }
            }
        }
    }

    /// Who follows a log that has new lines since the last time.
    pub(super) fn news(&mut self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for readers in self.0.values_mut() {
            let head = readers.stream.head();
            if std::mem::replace(&mut readers.told, head) != head {
                keys.extend(&readers.keys);
            }
        }
        keys
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
