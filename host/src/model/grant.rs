use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a connection that outlives its request stands on. All connections of one credential share one; it ends once and
/// never begins again, and until then what it allows may change. Allows nothing by default. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Grant(Arc<State>);

#[derive(Debug, Default)]
struct State {
    end: AtomicU8,
    /// The words of the actions that it allows, e.g. `node.read`.
    rights: Mutex<BTreeSet<&'static str>>,
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
    /// One that allows these actions, by their words.
    #[must_use]
    pub fn of(rights: BTreeSet<&'static str>) -> Self {
        Self(Arc::new(State { rights: Mutex::new(rights), ..State::default() }))
    }

    /// Changes what it allows. True if that is something else than before.
    pub fn change(&self, rights: BTreeSet<&'static str>) -> bool {
        let mut now = self.rights();
        if *now == rights {
            return false;
        }
        *now = rights;
        // Under the lock: whoever sees the number reads these rights or later ones.
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// How often what it allows has changed. Read it before the rights: then no change is missed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Whether it allows an action.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        self.rights().contains(action)
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

    fn rights(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
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
        let grant = Grant::of(BTreeSet::from(["node.read"]));
        let same = grant.clone();
        assert!(grant.allows("node.read") && !grant.allows("log.read"));
        assert!(!grant.change(BTreeSet::from(["node.read"])));
        assert_eq!(same.changes(), 0);
        assert!(grant.change(BTreeSet::from(["log.read"])));
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
