use crate::hub::filter::Filter;
use crate::hub::frames;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What an entry costs besides its frame, so that many tiny events are bounded too.
const ENTRY_BYTES: usize = 64;
/// Entries looked at in one go, so that a filter that wants little does not hold the log for long.
const SCAN_MAX: usize = 1024;
const BATCH_FRAMES_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// One thing that happened, for everyone who asked for its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where it happened, e.g. `proc/web-1/state`.
    pub topic: String,
    /// What happened: `added`, `changed`, `removed`.
    pub kind: &'static str,
    /// When, in RFC 3339.
    pub at: String,
    /// Further members of the frame as JSON without the outer braces, e.g. `"node":"web-1","state":{...}`. May be empty.
    pub members: String,
    /// What it does to the state that new clients are given.
    pub change: Change,
}

/// What a publication does to the state table. Keys are unique among all topics; snapshots are in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The latest state of `key`.
    Put {
        /// Whose state.
        key: String,
        /// The item of a snapshot, a whole JSON object.
        item: String,
    },
    /// `key` is no more.
    Remove {
        /// Whose state.
        key: String,
    },
}

/// A topic's number: names are compared once, numbers ever after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicId(pub(super) u32);

/// The last events and the latest state. The state is exactly what all events up to the head have made of it.
#[derive(Debug)]
pub(super) struct Log {
    events_max: usize,
    bytes_max: usize,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    head: u64,
    /// Never forgotten: there are two for each node name that was ever configured, and forgetting one would restart its
    /// count.
    topics: HashMap<Arc<str>, Topic>,
    state: BTreeMap<String, Item>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    id: TopicId,
    topic: Arc<str>,
    frame: Utf8Bytes,
}

#[derive(Debug)]
struct Item {
    id: TopicId,
    topic: Arc<str>,
    json: Utf8Bytes,
}

/// What a cursor found.
#[derive(Debug)]
pub(super) enum Read {
    /// The frames behind the cursor, and where it stands now.
    Frames { frames: Vec<Utf8Bytes>, cursor: u64 },
    /// The cursor left the ring.
    Lost,
}

impl Log {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            events_max: events_max.max(1),
            bytes_max,
            ring: VecDeque::new(),
            ring_bytes: 0,
            head: 0,
            topics: HashMap::new(),
            state: BTreeMap::new(),
        }
    }

    /// The offset of the last event, 0 before the first.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The offset of the first event that the ring holds, `head + 1` when it is empty.
    pub(super) fn oldest(&self) -> u64 {
        self.head + 1 - self.ring.len() as u64
    }

    pub(super) fn ring_events(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    pub(super) fn state_items(&self) -> usize {
        self.state.len()
    }

    pub(super) fn append(&mut self, publication: Publication) -> u64 {
        let offset = self.head + 1;
        let (id, topic, count) = self.count(&publication.topic);
        let frame = frames::event(offset, count, &publication);
        self.ring_bytes += frame.len() + ENTRY_BYTES;
        self.ring.push_back(Entry { id, topic: topic.clone(), frame });
        self.head = offset;
        // The newest one stays whatever its size: a client at the head has to get it.
        while self.ring.len() > self.events_max || self.ring_bytes > self.bytes_max && self.ring.len() > 1 {
            if let Some(entry) = self.ring.pop_front() {
                self.ring_bytes -= entry.frame.len() + ENTRY_BYTES;
            }
        }
        match publication.change {
            Change::Put { key, item } => {
                self.state.insert(key, Item { id, topic, json: item.into() });
            }
            Change::Remove { key } => {
                self.state.remove(&key);
            }
        }
        offset
    }

    /// The topic's number, its name and the count with one more event.
    fn count(&mut self, name: &str) -> (TopicId, Arc<str>, u64) {
        if let Some((topic, known)) = self.topics.get_key_value(name).map(|(name, topic)| (name.clone(), topic.id)) {
            let count = self.topics.get_mut(name).map_or(1, |topic| {
                topic.count += 1;
                topic.count
            });
            return (known, topic, count);
        }
        let topic: Arc<str> = name.into();
        let id = TopicId(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        self.topics.insert(topic.clone(), Topic { id, count: 1 });
        (id, topic, 1)
    }

    /// Reads on behind `cursor`, the last offset that was looked at: a bounded piece.
    pub(super) fn read(&self, cursor: u64, filter: &mut Filter) -> Read {
        let Some(behind) = (cursor + 1).checked_sub(self.oldest()) else { return Read::Lost };
        let start = usize::try_from(behind).unwrap_or(usize::MAX).min(self.ring.len());
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut cursor = cursor;
        for entry in self.ring.range(start..).take(SCAN_MAX) {
            if filter.wants(entry.id, &entry.topic) {
                if !frames.is_empty() && bytes + entry.frame.len() > BATCH_BYTES_MAX {
                    break;
                }
                bytes += entry.frame.len();
                frames.push(entry.frame.clone());
            }
            cursor += 1;
            if frames.len() >= BATCH_FRAMES_MAX {
                break;
            }
        }
        Read::Frames { frames, cursor }
    }

    /// The latest state of all that the filter wants, in the order of the keys.
    pub(super) fn items(&self, filter: &mut Filter) -> Vec<Utf8Bytes> {
        let wanted = self.state.values().filter(|item| filter.wants(item.id, &item.topic));
        wanted.map(|item| item.json.clone()).collect()
    }
}
