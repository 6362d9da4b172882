//! The audit: a log that only grows, each of whose records is tied to all before it.

mod chain;
mod query;
mod retention;
mod verify;

pub use chain::{AuditLink, AuditMark};
pub use query::{AUDIT_PAGE_MAX, AUDIT_SCAN_MAX, AuditCursor, AuditFilter, AuditOrder, AuditPage, AuditQuery};
pub use retention::AUDIT_PURGE_MAX;
pub use verify::{AuditFault, AuditVerdict};

pub(super) use chain::{Ends, chain_unchained};
pub(super) use retention::purge;
pub(super) use verify::verify;

use crate::store::StoreError;
use crate::store::record::{from_ms, to_ms};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::SystemTime;

/// Something that somebody did or tried, for the record. Never holds a secret.
///
/// Each text is cut at 1,024 bytes when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: SystemTime,
    /// Who: an account's name, or the name somebody claimed to have. Empty when nobody said.
    pub who: String,
    /// What, as `resource.action`, e.g. `session.login`, `process.start`.
    pub what: String,
    /// On what, e.g. `web-1/web:web_00`.
    pub target: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Why, as a code, e.g. `bad_password`. Empty when there is nothing to explain.
    pub reason: String,
    /// The request's id, as in the log and the answer.
    pub request_id: String,
    /// From where, if it came over the network.
    pub address: Option<IpAddr>,
}

/// How an audited act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// It is about to be done. Written before a change leaves this host.
    Intended,
    /// It was done.
    Done,
    /// It was not allowed.
    Refused,
    /// It was allowed and did not work.
    Failed,
    /// It was begun, and how it ended is not known.
    Unknown,
}

impl AuditOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Intended, Self::Done, Self::Refused, Self::Failed, Self::Unknown];

    /// The word used in the store and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads a word of [`AuditOutcome::as_str`].
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A record of the audit with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number: 1 for the first, then one more each, without a hole.
    pub number: u64,
    /// What ties it to all before it.
    pub link: AuditLink,
    /// The record.
    pub record: AuditRecord,
}

const TEXT_BYTES_MAX: usize = 1_024;

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    at_ms: u64,
    who: String,
    what: String,
    target: String,
    outcome: String,
    reason: String,
    request_id: String,
    address: Option<IpAddr>,
}

/// Where a record stands: time, then number, both big-endian, so that the keys sort.
///
/// The time in the key never goes back, also when the clock does; the record keeps the clock's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AuditKey {
    at_ms: u64,
    number: u64,
}

impl AuditKey {
    pub(super) const BYTES: usize = 16;

    /// The key before the first.
    pub(super) const ORIGIN: Self = Self { at_ms: 0, number: 0 };

    /// The key behind every other.
    pub(super) const LAST: Self = Self { at_ms: u64::MAX, number: u64::MAX };

    /// The smallest key behind this one.
    pub(super) fn next(self) -> Self {
        Self::from_bytes(u128::from_be_bytes(self.to_bytes()).saturating_add(1).to_be_bytes())
    }

    pub(super) fn after(self, at: SystemTime) -> Self {
        Self { at_ms: self.at_ms.max(to_ms(at)), number: self.number.saturating_add(1) }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        ((u128::from(self.at_ms) << 64) | u128::from(self.number)).to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let low = both & u128::from(u64::MAX);
        Self { at_ms: u64::try_from(both >> 64).unwrap_or_default(), number: u64::try_from(low).unwrap_or_default() }
    }
}

/// The record as text, which is what its link is made of.
pub(super) fn encode_audit(record: &AuditRecord) -> Result<Vec<u8>, redb::Error> {
    let stored = StoredRecord {
        at_ms: to_ms(record.at),
        who: cut(&record.who),
        what: cut(&record.what),
        target: cut(&record.target),
        outcome: record.outcome.as_str().to_owned(),
        reason: cut(&record.reason),
        request_id: cut(&record.request_id),
        address: record.address,
    };
    serde_json::to_vec(&stored).map_err(|error| redb::Error::Io(error.into()))
}

pub(super) fn decode_audit(key: AuditKey, value: &[u8]) -> Result<AuditEntry, StoreError> {
    let broken = || StoreError::Record { table: "audit" };
    let (link, text) = AuditLink::split(value).ok_or_else(broken)?;
    let stored: StoredRecord = serde_json::from_slice(text).map_err(|_| broken())?;
    let record = AuditRecord {
        at: from_ms(stored.at_ms),
        who: stored.who,
        what: stored.what,
        target: stored.target,
        outcome: AuditOutcome::parse(&stored.outcome).ok_or_else(broken)?,
        reason: stored.reason,
        request_id: stored.request_id,
        address: stored.address,
    };
    Ok(AuditEntry { number: key.number, link, record })
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_they_were_given_out_even_when_the_clock_goes_back(
            times in proptest::collection::vec(0..2_000_000_000_000_u64, 1..50),
        ) {
            let mut key = AuditKey::ORIGIN;
            for (n, ms) in times.into_iter().enumerate() {
                let next = key.after(from_ms(ms));
                prop_assert!(next.to_bytes() > key.to_bytes());
                prop_assert_eq!(AuditKey::from_bytes(next.to_bytes()), next);
                prop_assert_eq!(usize::try_from(next.number).unwrap(), n + 1);
                key = next;
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_audit(AuditKey::ORIGIN, &bytes);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let record = AuditRecord {
            at: SystemTime::UNIX_EPOCH,
            who: "ä".repeat(1_000),
            what: "session.login".into(),
            target: String::new(),
            outcome: AuditOutcome::Refused,
            reason: "x".repeat(1_025),
            request_id: "\u{1b}[31m".into(),
            address: None,
        };
        let text = encode_audit(&record).unwrap();
        let entry = decode_audit(AuditKey::ORIGIN, &AuditLink::ORIGIN.before(&text)).unwrap();
        assert_eq!((entry.record.who.len(), entry.record.reason.len()), (1_024, 1_024));
        assert_eq!(
            entry.record.request_id, record.request_id,
            "text is kept as it is; showing it safely is the reader's"
        );
    }
}
