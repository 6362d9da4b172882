use crate::store::audit::chain::{AuditLink, AuditMark, End, Ends};
use crate::store::audit::{AuditKey, decode_audit};
use crate::store::tables::AUDIT;
use crate::store::{Store, StoreError};
use redb::{ReadTransaction, ReadableTable};
use std::fmt;
use std::sync::Arc;

/// What going through the whole audit showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Records that are there.
    pub records: u64,
    /// The last record that was removed for its age; number 0 if none was.
    pub removed: AuditMark,
    /// The last record.
    pub head: AuditMark,
    /// What is wrong with it, the first thing that was found.
    pub fault: Option<AuditFault>,
}

/// What is wrong with the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFault {
    /// The record with this number is not what was written, or one before it is not.
    Altered(u64),
    /// The record with this number is gone.
    Missing(u64),
    /// What was last has been cut off: the record with this number, and perhaps more.
    CutOff(u64),
    /// The record with this number has another link than the one noted.
    NotAsNoted(u64),
    /// The record that was noted is not there any more, or not yet: this one.
    NotThere(u64),
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(number) => write!(f, "record {number} is not what was written, or one before it was changed"),
            Self::Missing(number) => write!(f, "record {number} is missing"),
            Self::CutOff(number) => write!(f, "the end is missing from record {number} on"),
            Self::NotAsNoted(number) => write!(f, "record {number} has another link than the one that was noted"),
            Self::NotThere(number) => write!(f, "record {number}, which was noted, is not there"),
        }
    }
}

impl Store {
    /// Goes through the whole audit, on a thread of its own, and says whether each record is what was written. With a
    /// mark that was noted earlier it says too whether that record is still the one noted.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Closed`].
    pub async fn verify_audit(&self, noted: Option<AuditMark>) -> Result<AuditVerdict, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        let verified = tokio::task::spawn_blocking(move || snapshots.read(|txn| verify(txn, noted)));
        verified.await.map_err(|_| StoreError::Closed)?
    }
}

/// As [`Store::verify_audit`].
pub(in crate::store) fn verify(txn: &ReadTransaction, noted: Option<AuditMark>) -> Result<AuditVerdict, redb::Error> {
    let ends = Ends::of(txn)?;
    let (mut last, mut records, mut fault) = (ends.base, 0, None);
    let mut seen = (noted == Some(AuditMark { number: 0, link: AuditLink::ORIGIN })).then_some(AuditLink::ORIGIN);
    let mut look = |end: End| {
        if noted.is_some_and(|noted| noted.number == end.key.number) {
            seen = Some(end.link);
        }
    };
    look(ends.base);
    for pair in txn.open_table(AUDIT)?.iter()? {
        let (key, value) = pair?;
        let key = AuditKey::from_bytes(key.value());
        records += 1;
        let expected = last.key.number.saturating_add(1);
        if key.number != expected {
            fault = fault.or(Some(AuditFault::Missing(expected)));
        }
        let proper = AuditLink::split(value.value()).filter(|(link, text)| *link == last.link.next(key, text));
        match proper.filter(|_| decode_audit(key, value.value()).is_ok()) {
            Some((link, _)) => last = End { key, link },
            None => {
                fault = fault.or(Some(AuditFault::Altered(key.number)));
                // What follows is judged by what it claims to follow.
                last = End { key, link: AuditLink::split(value.value()).map_or(last.link, |(link, _)| link) };
            }
        }
        look(last);
    }
    if last != ends.head {
        fault = fault.or(Some(AuditFault::CutOff(last.key.number.saturating_add(1))));
    }
    if let Some(noted) = noted.filter(|noted| seen != Some(noted.link)) {
        let number = noted.number;
        fault = fault.or(Some(seen.map_or(AuditFault::NotThere(number), |_| AuditFault::NotAsNoted(number))));
    }
    Ok(AuditVerdict { records, removed: ends.base.mark(), head: ends.head.mark(), fault })
}
