use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a connection that outlives its request stands on. All connections of one credential share one; it ends once and
/// never begins again. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Grant(Arc<AtomicU8>);

/// Why a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantEnd {
    /// The session or key was revoked, or its account is no more.
    Revoked,
    /// Its time is over.
    Expired,
    /// Whoever has it may now do more or less than before.
    Changed,
}

impl Grant {
    /// Ends it. The first reason stays. True for whoever was first.
    pub fn end(&self, why: GrantEnd) -> bool {
        let code = match why {
            GrantEnd::Revoked => 1,
            GrantEnd::Expired => 2,
            GrantEnd::Changed => 3,
        };
        self.0.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<GrantEnd> {
        match self.0.load(Ordering::Acquire) {
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
    fn the_first_reason_stays() {
        let grant = Grant::default();
        assert_eq!(grant.ended(), None);
        let same = grant.clone();
        assert!(same.end(GrantEnd::Expired));
        assert!(!grant.end(GrantEnd::Revoked));
        assert_eq!(grant.ended(), Some(GrantEnd::Expired));
    }
}
