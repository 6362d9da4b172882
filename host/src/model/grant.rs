use crate::model::{NodeId, group_segment};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a connection that outlives its request stands on. All connections of one credential share one; it ends once and
/// never begins again, and until then what it allows may change. Allows nothing by default. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Grant(Arc<State>);

/// What a grant allows: actions by their words, e.g. `node.read`, everywhere or in some places alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    everywhere: BTreeSet<&'static str>,
    within: BTreeMap<&'static str, BTreeSet<Place>>,
}

/// A node, or a group on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// None for the node as a whole.
    pub group: Option<String>,
}

/// As the topics of the feed have it: `NODE/`, or `NODE/GROUP:` with the group percent-encoded.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => write!(f, "{}/", self.node),
            Some(group) => write!(f, "{}/{}:", self.node, group_segment(group)),
        }
    }
}

impl Allowance {
    /// Allows an action everywhere.
    pub fn everywhere(&mut self, action: &'static str) {
        self.everywhere.insert(action);
    }

    /// Allows an action in a place.
    pub fn within(&mut self, action: &'static str, place: Place) {
        self.within.entry(action).or_default().insert(place);
    }

    /// Whether it allows an action everywhere.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        self.everywhere.contains(action)
    }

    /// The places in which it allows an action that it does not allow everywhere.
    pub fn places(&self, action: &str) -> impl Iterator<Item = &Place> {
        self.within.get(action).into_iter().flatten()
    }
}

/// These actions everywhere.
impl FromIterator<&'static str> for Allowance {
    fn from_iter<T: IntoIterator<Item = &'static str>>(actions: T) -> Self {
        Self { everywhere: actions.into_iter().collect(), within: BTreeMap::new() }
    }
}

impl<const N: usize> From<[&'static str; N]> for Allowance {
    fn from(actions: [&'static str; N]) -> Self {
        actions.into_iter().collect()
    }
}

#[derive(Debug, Default)]
struct State {
    end: AtomicU8,
    rights: Mutex<Arc<Allowance>>,
    /// How often they changed.
    changes: AtomicU64,
    /// Seconds that were left when its end was announced; 0 before.
    ends_in: AtomicU32,
}

/// Why a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantEnd {
    /// The session or key was revoked, or its account is no more.
    Revoked,
    /// Its time is over.
    Expired,
    /// It stands for somebody else now, or no longer allows what its connections are for.
    Changed,
}

impl Grant {
    /// One that allows this.
    #[must_use]
    pub fn of(rights: Allowance) -> Self {
        Self(Arc::new(State { rights: Mutex::new(Arc::new(rights)), ..State::default() }))
    }

    /// Changes what it allows. True if that is something else than before.
    pub fn change(&self, rights: Allowance) -> bool {
        let mut now = self.lock();
        if **now == rights {
            return false;
        }
        *now = Arc::new(rights);
        // Under the lock: whoever sees the number reads these rights or later ones.
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// How often what it allows has changed. Read it before the rights: then no change is missed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Whether it allows an action everywhere.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        self.lock().allows(action)
    }

    /// What it allows.
    #[must_use]
    pub fn allowance(&self) -> Arc<Allowance> {
        Arc::clone(&self.lock())
    }

    /// Announces that its time will be over in so many seconds. True the first time.
    pub fn announce_end(&self, seconds: u32) -> bool {
        self.0.ends_in.compare_exchange(0, seconds.max(1), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The seconds that were left when its end was announced.
    #[must_use]
    pub fn ends_in(&self) -> Option<u32> {
        Some(self.0.ends_in.load(Ordering::Acquire)).filter(|seconds| *seconds > 0)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Allowance>> {
        self.0.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it. The first reason stays. True for whoever was first.
    pub fn end(&self, why: GrantEnd) -> bool {
        let code = match why {
            GrantEnd::Revoked => 1,
            GrantEnd::Expired => 2,
            GrantEnd::Changed => 3,
        };
        self.0.end.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<GrantEnd> {
        match self.0.end.load(Ordering::Acquire) {
            0 => None,
            1 => Some(GrantEnd::Revoked),
            2 => Some(GrantEnd::Expired),
            _ => Some(GrantEnd::Changed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_allows_changes_for_all_who_have_it_and_only_a_change_counts() {
        let grant = Grant::of(["node.read"].into());
        let same = grant.clone();
        assert!(grant.allows("node.read") && !grant.allows("log.read"));
        assert!(!grant.change(["node.read"].into()));
        assert_eq!(same.changes(), 0);
        assert!(grant.change(["log.read"].into()));
        assert_eq!((same.changes(), same.allows("log.read"), same.allows("node.read")), (1, true, false));
        assert!(grant.announce_end(60) && !grant.announce_end(59));
        assert_eq!((same.ends_in(), Grant::default().ends_in()), (Some(60), None));
    }

    #[test]
    fn the_first_reason_stays() {
        let grant = Grant::default();
        assert_eq!(grant.ended(), None);
        let same = grant.clone();
        assert!(same.end(GrantEnd::Expired));
        assert!(!grant.end(GrantEnd::Revoked));
        assert_eq!(grant.ended(), Some(GrantEnd::Expired));
    }
}
