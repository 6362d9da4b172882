use crate::hub::filter::Filter;
use crate::hub::frame::Frame;
use crate::hub::frames;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What an entry costs besides its frame, so that many tiny events are bounded too.
const ENTRY_BYTES: usize = 64;

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
    pub(super) bounds: Bounds,
    pub(super) ring: VecDeque<Entry>,
    pub(super) ring_bytes: usize,
    pub(super) head: u64,
    /// Ends of grants that were told of so far. Its place among the events is what the order of the calls made it.
    controls: u64,
    /// Those of which nothing is left are forgotten, and begin to count anew if they come back: whoever could tell the
    /// difference has seen the last of them, since it was in the ring.
    pub(super) topics: HashMap<Arc<str>, Topic>,
    /// By number.
    pub(super) names: Vec<Arc<str>>,
    /// How often topics were numbered anew.
    generation: u64,
    /// With so many topics they are looked at.
    pub(super) topics_max: usize,
    pub(super) state: BTreeMap<Arc<str>, Item>,
    /// What each entry's latest event was, by its offset: the same keys once more.
    pub(super) changed: BTreeMap<u64, Arc<str>>,
    /// The removals that are remembered, by offset, and their offsets by key.
    pub(super) removed: BTreeMap<u64, Removal>,
    pub(super) removed_at: HashMap<Arc<str>, u64>,
    /// Up to this offset removals may be forgotten.
    pub(super) forgotten: u64,
}

/// How much of the past is kept.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
    pub(super) age_max: Duration,
    /// Removals that are remembered, for those whom the ring has left behind.
    pub(super) removals_max: usize,
    /// Topics that may be there of which nothing is left, besides as many as there are of the others.
    pub(super) topics_spare: usize,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) count: u64,
}

/// One event. To clone it copies a handle of the frame.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: TopicId,
    pub(super) at: Instant,
    pub(super) frame: Frame,
}

#[derive(Debug)]
pub(super) struct Item {
    /// Of its latest event.
    pub(super) offset: u64,
    pub(super) id: TopicId,
    pub(super) topic: Arc<str>,
    pub(super) json: Utf8Bytes,
}

#[derive(Debug)]
pub(super) struct Removal {
    pub(super) key: Arc<str>,
    pub(super) id: TopicId,
    pub(super) topic: Arc<str>,
    pub(super) json: Utf8Bytes,
}

impl Log {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            topics_max: bounds.topics_spare,
            bounds,
            ring: VecDeque::new(),
            ring_bytes: 0,
            head: 0,
            controls: 0,
            topics: HashMap::new(),
            names: Vec::new(),
            generation: 0,
            state: BTreeMap::new(),
            changed: BTreeMap::new(),
            removed: BTreeMap::new(),
            removed_at: HashMap::new(),
            forgotten: 0,
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

    /// When the oldest event that the ring holds was published.
    pub(super) fn oldest_at(&self) -> Option<Instant> {
        self.ring.front().map(|entry| entry.at)
    }

    pub(super) fn state_items(&self) -> usize {
        self.state.len()
    }

    pub(super) fn controls(&self) -> u64 {
        self.controls
    }

    /// Puts a word to the shards in its place behind the last event. Gives its number.
    pub(super) fn control(&mut self) -> u64 {
        self.controls += 1;
        self.controls
    }

    /// The events behind `offset` that the ring still holds.
    pub(super) fn behind(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let known = (offset + 1).saturating_sub(self.oldest());
        self.ring.range(usize::try_from(known).unwrap_or(usize::MAX).min(self.ring.len())..)
    }

    /// How often topics were numbered anew.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The names of the topics with the number `first` and higher.
    pub(super) fn names_from(&self, first: usize) -> &[Arc<str>] {
        self.names.get(first..).unwrap_or_default()
    }

    pub(super) fn append(&mut self, publication: Publication, now: Instant) -> u64 {
        let offset = self.head + 1;
        let (id, topic, count) = self.count(&publication.topic);
        let frame = frames::event(offset, count, &publication);
        self.keep(Entry { id, at: now, frame });
        self.head = offset;
        self.evict(now);
        match publication.change {
            Change::Put { key, item } => self.put(key.into(), Item { offset, id, topic, json: item.into() }),
            Change::Remove { key } => {
                let json = frames::removal(&publication.topic, &publication.members).into();
                self.remove(offset, Removal { key: key.into(), id, topic, json });
            }
        }
        offset
    }

    #[cfg(test)]
    pub(super) fn append_frame(&mut self, topic: &str, frame: bytes::Bytes, now: Instant) -> u64 {
        let (id, ..) = self.count(topic);
        self.keep(Entry { id, at: now, frame: Frame::raw(frame) });
        self.head += 1;
        self.evict(now);
        self.head
    }

    /// Puts an event behind those that are kept.
    pub(super) fn keep(&mut self, entry: Entry) {
        self.ring_bytes += entry.frame.len() + ENTRY_BYTES;
        self.ring.push_back(entry);
    }

    /// Lets go of what is too much. The newest one stays whatever its size: a client at the head has to get it.
    pub(super) fn evict(&mut self, now: Instant) {
        while self.ring.len() > 1 && self.is_over(now) {
            if let Some(entry) = self.ring.pop_front() {
                self.ring_bytes -= entry.frame.len() + ENTRY_BYTES;
            }
        }
    }

    fn put(&mut self, key: Arc<str>, item: Item) {
        if let Some(at) = self.removed_at.remove(&key) {
            self.removed.remove(&at);
        }
        self.changed.insert(item.offset, key.clone());
        if let Some(before) = self.state.insert(key, item) {
            self.changed.remove(&before.offset);
        }
    }

    fn remove(&mut self, offset: u64, removal: Removal) {
        // One that was removed before is remembered, or nobody is left to be told.
        let Some(before) = self.state.remove(&removal.key) else { return };
        self.changed.remove(&before.offset);
        self.removed_at.insert(removal.key.clone(), offset);
        self.removed.insert(offset, removal);
        while self.removed.len() > self.bounds.removals_max {
            let Some((at, oldest)) = self.removed.pop_first() else { return };
            self.removed_at.remove(&oldest.key);
            self.forgotten = at;
        }
    }

    /// What the events behind `cursor` have made of what the filter wants: the latest state of each that changed, and each
    /// that was removed, in the order of their latest events. Of topics that the client has not seen until now it is all
    /// that there is. `None` when that is no longer known.
    pub(super) fn changes(
        &self,
        cursor: u64,
        filter: &mut Filter,
        saw: impl Fn(&str) -> bool,
    ) -> Option<Vec<Utf8Bytes>> {
        if cursor < self.forgotten {
            return None;
        }
        filter.number_by(self.generation);
        let behind = (Bound::Excluded(cursor), Bound::Unbounded);
        let changed = self.changed.range(behind).filter_map(|(at, key)| {
            let item = self.state.get(key)?;
            filter.wants(item.id, &item.topic).then(|| (*at, item.json.clone()))
        });
        let mut found: Vec<(u64, Utf8Bytes)> = changed.collect();
        let removed = self.removed.range(behind).filter(|(_, removal)| saw(&removal.topic));
        let removed = removed.filter(|(_, removal)| filter.wants(removal.id, &removal.topic));
        found.extend(removed.map(|(at, removal)| (*at, removal.json.clone())));
        let unchanged = self.state.values().filter(|item| item.offset <= cursor && !saw(&item.topic));
        let unseen = unchanged.filter(|item| filter.wants(item.id, &item.topic));
        found.extend(unseen.map(|item| (item.offset, item.json.clone())));
        found.sort_unstable_by_key(|(at, _)| *at);
        Some(found.into_iter().map(|(_, json)| json).collect())
    }

    fn is_over(&self, now: Instant) -> bool {
        let age = self.ring.front().map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest.at));
        self.ring.len() > self.bounds.events_max || self.ring_bytes > self.bounds.bytes_max || age > self.bounds.age_max
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
        if self.names.len() >= self.topics_max {
            self.forget_topics();
        }
        let topic: Arc<str> = name.into();
        let id = TopicId(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        self.topics.insert(topic.clone(), Topic { id, count: 1 });
        self.names.push(topic.clone());
        (id, topic, 1)
    }

    /// Numbers the topics anew that something is left of: an event, a state, or a removal.
    fn forget_topics(&mut self) {
        let ids = self.ring.iter().map(|entry| entry.id);
        let ids = ids.chain(self.state.values().map(|item| item.id)).chain(self.removed.values().map(|one| one.id));
        let used: BTreeSet<u32> = ids.map(|id| id.0).collect();
        let numbers: HashMap<u32, TopicId> = used.iter().copied().zip((0..).map(TopicId)).collect();
        let anew = |id: &mut TopicId| *id = numbers.get(&id.0).copied().unwrap_or(*id);
        self.ring.iter_mut().for_each(|entry| anew(&mut entry.id));
        self.state.values_mut().for_each(|item| anew(&mut item.id));
        self.removed.values_mut().for_each(|removal| anew(&mut removal.id));
        self.topics.retain(|_, topic| used.contains(&topic.id.0));
        self.topics.values_mut().for_each(|topic| anew(&mut topic.id));
        let known = std::mem::take(&mut self.names).into_iter().zip(0_u32..);
        self.names = known.filter(|(_, id)| used.contains(id)).map(|(name, _)| name).collect();
        self.generation += 1;
        self.topics_max = 2 * self.names.len() + self.bounds.topics_spare;
    }

    /// The latest state of all that the filter wants, in the order of the keys.
    pub(super) fn items(&self, filter: &mut Filter) -> Vec<Utf8Bytes> {
        filter.number_by(self.generation);
        let wanted = self.state.values().filter(|item| filter.wants(item.id, &item.topic));
        wanted.map(|item| item.json.clone()).collect()
    }
}
