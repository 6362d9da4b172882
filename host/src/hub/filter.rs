use crate::hub::Patterns;
use crate::hub::log::TopicId;
use crate::model::Grant;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a client may see, whatever it asks for: the topics that begin with one of these, e.g. `node/`, `node/web-1/` or
/// `log/web-1/shop:`. Nothing by default.
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
    /// What a grant lets somebody see: a class where the grant allows its action everywhere, else the grant's places in it.
    pub(super) fn reach(&self, grant: &Grant) -> Reach {
        let allowance = grant.allowance();
        let beginnings = self.classes.iter().flat_map(|(class, action)| {
            let everywhere = allowance.allows(action);
            let places = allowance.places(action).filter(move |_| !everywhere);
            let places = places.map(move |place| format!("{class}/{place}"));
            everywhere.then(|| format!("{class}/")).into_iter().chain(places)
        });
        Reach::of(beginnings.map(String::into_boxed_str).collect())
    }
}

impl Reach {
    /// All topics of these classes.
    #[must_use]
    pub fn new<T: AsRef<str>>(classes: &[T]) -> Self {
        Self::of(classes.iter().map(|class| format!("{}/", class.as_ref()).into_boxed_str()).collect())
    }

    fn of(mut beginnings: Vec<Box<str>>) -> Self {
        beginnings.sort_unstable();
        beginnings.dedup();
        Self(beginnings.into())
    }

    /// What somebody who sees this still knows who is told to forget what is not, as a whole, in another.
    pub(super) fn kept(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|beginning| other.allows(beginning)).cloned().collect())
    }

    /// The beginnings of topics that are in this one and, as a whole, in none of another.
    pub(super) fn without(&self, other: &Self) -> Vec<String> {
        self.0.iter().filter(|beginning| !other.allows(beginning)).map(|beginning| beginning.to_string()).collect()
    }

    /// Whether a topic is in it, or all topics that begin so.
    ///
    /// Looked up by the few beginnings that a topic has: a reach may hold thousands of nodes.
    pub(super) fn allows(&self, topic: &str) -> bool {
        let has = |end: usize| {
            let beginning = topic.get(..end).unwrap_or_default();
            self.0.binary_search_by(|known| (**known).cmp(beginning)).is_ok()
        };
        let Some(class) = topic.find('/') else { return false };
        if has(class + 1) {
            return true;
        }
        let behind = topic.get(class + 1..).unwrap_or_default();
        let Some(place) = behind.find('/').map(|at| class + 1 + at) else { return false };
        let group = topic.get(place + 1..).unwrap_or_default().find(':').map(|at| place + 1 + at);
        has(place + 1) || group.is_some_and(|at| has(at + 1))
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
    use crate::model::{Allowance, NodeId, Place};

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
    fn a_place_is_seen_and_no_other_whose_name_begins_like_it() {
        let place = |node: &str, group: Option<&str>| Place {
            node: NodeId::parse(node).unwrap(),
            group: group.map(str::to_owned),
        };
        let mut allowance = Allowance::from(["feed"]);
        allowance.within("node", place("web-1", None));
        allowance.within("proc", place("web-1", None));
        allowance.within("log", place("web-1", Some("a b")));
        let access = Access { needs: "feed", classes: &[("node", "node"), ("proc", "proc"), ("log", "log")] };
        let reach = access.reach(&Grant::of(allowance));
        for topic in ["node/web-1/state", "proc/web-1/state", "log/web-1/a%20b:x/stdout", "log/web-1/a%20b:y%3A/stderr"]
        {
            assert!(reach.allows(topic), "{topic}");
        }
        for topic in [
            "node/web-10/state",
            "node/web/state",
            "proc/db/state",
            "log/web-1/a%20bc:x/stdout",
            "log/web-1/a:x/stdout",
            "log/web-2/a%20b:x/stdout",
            "plugin/web-1",
            "node/",
            "node",
            "",
            "log/web-1/a%20b",
        ] {
            assert!(!reach.allows(topic), "{topic}");
        }
    }

    #[test]
    fn what_is_forgotten_is_given_again_as_far_as_it_may_still_be_seen() {
        let reach = |beginnings: &[&str]| Reach::of(beginnings.iter().map(|text| Box::from(*text)).collect());
        let (all, one) = (reach(&["node/"]), reach(&["node/a/"]));
        assert_eq!((all.without(&one), all.kept(&one)), (vec!["node/".to_owned()], reach(&[])));
        assert_eq!(one.without(&all.kept(&one)), ["node/a/"], "it was forgotten with the others");
        assert_eq!((one.without(&all), one.kept(&all)), (vec![], one.clone()), "nothing of it is lost");
        assert_eq!(all.without(&one.kept(&all)), ["node/"]);
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
