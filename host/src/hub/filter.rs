use crate::hub::Patterns;
use crate::hub::log::TopicId;
use crate::model::Grant;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a client may see, whatever it asks for: the topics whose first segment is one of these, e.g. `node`. Nothing by
/// default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reach(Box<[Box<str>]>);

/// Which actions a client's grant has to allow, by their words. It may change while the client is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// To have a connection at all, e.g. `feed.read`.
    pub needs: &'static str,
    /// Classes of topics, each with what it takes to see them, e.g. `node` and `node.read`. Others are seen by nobody.
    pub classes: &'static [(&'static str, &'static str)],
}

impl Access {
    /// What a grant lets somebody see.
    pub(super) fn reach(&self, grant: &Grant) -> Reach {
        let allowed = self.classes.iter().filter(|(_, action)| grant.allows(action));
        Reach::new(&allowed.map(|(class, _)| *class).collect::<Vec<_>>())
    }
}

impl Reach {
    /// Topics that begin with one of these segments.
    #[must_use]
    pub fn new<T: AsRef<str>>(classes: &[T]) -> Self {
        let mut classes: Vec<Box<str>> = classes.iter().map(|class| Box::from(class.as_ref())).collect();
        classes.sort_unstable();
        classes.dedup();
        Self(classes.into())
    }

    /// The classes that are in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|class| other.0.contains(class)).cloned().collect())
    }

    /// The classes that are in this one and not in another, as the beginnings of their topics.
    pub(super) fn without(&self, other: &Self) -> Vec<String> {
        self.0.iter().filter(|class| !other.0.contains(class)).map(|class| format!("{class}/")).collect()
    }

    pub(super) fn allows(&self, topic: &str) -> bool {
        let class = topic.split('/').next().unwrap_or_default();
        self.0.iter().any(|allowed| **allowed == *class)
    }
}

/// What a client asked for and what it may see: those with the same are one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FilterKey {
    pub(super) patterns: Patterns,
    pub(super) reach: Reach,
}

impl FilterKey {
    /// Tells what somebody saw from what others saw: part of their position, so that who comes back to see something else
    /// is not given the events alone.
    pub(super) fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// The answers of one group, two bits a topic: a topic is matched once for a group, not once for each event or client.
#[derive(Debug)]
pub(super) struct Filter {
    key: Arc<FilterKey>,
    /// Which numbers of topics these answers are for.
    generation: u64,
    answered: Vec<u64>,
    wanted: Vec<u64>,
}

impl Filter {
    fn new(key: Arc<FilterKey>) -> Self {
        Self { key, generation: 0, answered: Vec::new(), wanted: Vec::new() }
    }

    pub(super) fn key(&self) -> &Arc<FilterKey> {
        &self.key
    }

    /// Topics are numbered as in this generation of the log: answers about others are forgotten.
    pub(super) fn number_by(&mut self, generation: u64) {
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.answered.clear();
            self.wanted.clear();
        }
    }

    /// Whether the group is given events of a topic. The grant comes first, and both have to say yes.
    pub(super) fn wants(&mut self, id: TopicId, topic: &str) -> bool {
        let word = usize::try_from(id.0 / 64).unwrap_or(usize::MAX);
        let bit = 1_u64 << (id.0 % 64);
        if let (Some(answered), Some(wanted)) = (self.answered.get(word), self.wanted.get(word))
            && answered & bit != 0
        {
            return wanted & bit != 0;
        }
        let answer = self.key.reach.allows(topic) && self.key.patterns.matches(topic);
        if self.answered.len() <= word {
            self.answered.resize(word + 1, 0);
            self.wanted.resize(word + 1, 0);
        }
        if let (Some(answered), Some(wanted)) = (self.answered.get_mut(word), self.wanted.get_mut(word)) {
            *answered |= bit;
            if answer {
                *wanted |= bit;
            }
        }
        answer
    }
}

/// A group's number inside one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterId(usize);

/// The filters of one shard, one for each group that has a client.
#[derive(Debug, Default)]
pub(super) struct Filters {
    entries: Vec<Option<(Filter, usize)>>,
    by_key: HashMap<Arc<FilterKey>, usize>,
}

impl Filters {
    /// The group of one more client.
    pub(super) fn enter(&mut self, key: FilterKey) -> FilterId {
        if let Some(&at) = self.by_key.get(&key)
            && let Some(Some((_, clients))) = self.entries.get_mut(at)
        {
            *clients += 1;
            return FilterId(at);
        }
        let key = Arc::new(key);
        let entry = Some((Filter::new(key.clone()), 1));
        let at = match self.entries.iter_mut().enumerate().find(|(_, entry)| entry.is_none()) {
            Some((at, free)) => {
                *free = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.by_key.insert(key, at);
        FilterId(at)
    }

    /// One client less. The last one takes the filter with it.
    pub(super) fn leave(&mut self, id: FilterId) {
        let Some(entry) = self.entries.get_mut(id.0) else { return };
        if let Some((filter, clients)) = entry {
            *clients -= 1;
            if *clients == 0 {
                self.by_key.remove(filter.key());
                *entry = None;
            }
        }
    }

    pub(super) fn get_mut(&mut self, id: FilterId) -> Option<&mut Filter> {
        self.entries.get_mut(id.0)?.as_mut().map(|(filter, _)| filter)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pattern: &str, classes: &[&str]) -> FilterKey {
        FilterKey { patterns: Patterns::parse(&[pattern]).expect("legal"), reach: Reach::new(classes) }
    }

    #[test]
    fn what_is_asked_for_and_what_is_allowed_have_to_agree() {
        let mut filters = Filters::default();
        let id = filters.enter(key("*/*", &["node"]));
        let filter = filters.get_mut(id).unwrap();
        for _ in 0..2 {
            assert!(filter.wants(TopicId(0), "node/a"));
            assert!(!filter.wants(TopicId(1), "plugin/a"), "not allowed");
            assert!(!filter.wants(TopicId(2), "node/a/b"), "not asked for");
            assert!(!filter.wants(TopicId(3), "nodes/a"), "another word");
        }
        let nothing = filters.enter(key("*/*", &[]));
        assert!(!filters.get_mut(nothing).unwrap().wants(TopicId(0), "node/a"));
    }

    #[test]
    fn those_with_the_same_share_one_and_the_last_takes_it_along() {
        let mut filters = Filters::default();
        let first = filters.enter(key("a", &["node"]));
        let other = filters.enter(key("a", &["proc"]));
        assert_eq!(filters.enter(key("a", &["node"])), first);
        assert_ne!(first, other);
        filters.leave(first);
        assert_eq!(filters.len(), 2);
        filters.leave(first);
        assert_eq!(filters.len(), 1);
        assert!(filters.get_mut(first).is_none());
        assert_eq!(filters.enter(key("b", &["node"])), first, "its place is used again");
    }
}
