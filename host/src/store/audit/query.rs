use crate::model::Glob;
use crate::store::audit::{AuditEntry, AuditKey, AuditOutcome, AuditRecord, decode_audit};
use crate::store::record::to_ms;
use crate::store::tables::AUDIT;
use crate::store::{Store, StoreError};
use redb::ReadTransaction;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

/// Records that one page holds at most.
pub const AUDIT_PAGE_MAX: usize = 1_000;
/// Records that are looked at for one page. Beyond it the page ends, and its cursor says where to go on.
pub const AUDIT_SCAN_MAX: usize = 20_000;

/// Which records are wanted: those to which all fits that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Who did it.
    pub who: Option<Glob>,
    /// What was done.
    pub what: Option<Glob>,
    /// On what.
    pub target: Option<Glob>,
    /// How it ended.
    pub outcome: Option<AuditOutcome>,
    /// By which request.
    pub request_id: Option<String>,
    /// Filed at that time or later. The time of filing never goes back, also when the clock does.
    pub since: Option<SystemTime>,
    /// Filed before that time.
    pub until: Option<SystemTime>,
}

impl AuditFilter {
    fn wants(&self, record: &AuditRecord) -> bool {
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.matches(text));
        fits(&self.who, &record.who)
            && fits(&self.what, &record.what)
            && fits(&self.target, &record.target)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.request_id.as_ref().is_none_or(|id| *id == record.request_id)
    }
}

/// Where a reading of the audit goes on. Stays good while records are added and removed. Shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor(AuditKey);

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0.to_bytes()))
    }
}

impl FromStr for AuditCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_proper = text.len() == 32 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let both = if is_proper { u128::from_str_radix(text, 16).map_err(drop)? } else { return Err(()) };
        Ok(Self(AuditKey::from_bytes(both.to_be_bytes())))
    }
}

/// In which direction the audit is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOrder {
    /// From the end.
    NewestFirst,
    /// From the beginning.
    OldestFirst,
}

/// One page of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// Which records.
    pub filter: AuditFilter,
    /// In which order.
    pub order: AuditOrder,
    /// Where an earlier page ended.
    pub cursor: Option<AuditCursor>,
    /// At most so many, and at most [`AUDIT_PAGE_MAX`].
    pub limit: usize,
}

/// Records, and where to go on. Without a cursor that was all. With one a page may be short, or empty: more than
/// [`AUDIT_SCAN_MAX`] records were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// In the order that was asked for.
    pub entries: Vec<AuditEntry>,
    /// For the next page.
    pub next: Option<AuditCursor>,
}

impl Store {
    /// A page of the audit, read on a thread of its own.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub async fn audit(&self, query: AuditQuery) -> Result<AuditPage, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        let read = tokio::task::spawn_blocking(move || snapshots.read(|txn| read(txn, &query)));
        read.await.map_err(|_| StoreError::Closed)??
    }
}

fn read(txn: &ReadTransaction, query: &AuditQuery) -> Result<Result<AuditPage, StoreError>, redb::Error> {
    let AuditQuery { filter, order, cursor, limit } = query;
    let mut first = filter.since.map_or(AuditKey::ORIGIN, |since| AuditKey { at_ms: to_ms(since), number: 0 });
    let mut end = filter.until.map_or(AuditKey::LAST, |until| AuditKey { at_ms: to_ms(until), number: 0 });
    match (order, cursor) {
        (AuditOrder::NewestFirst, Some(AuditCursor(last))) => end = end.min(*last),
        (AuditOrder::OldestFirst, Some(AuditCursor(last))) => first = first.max(last.next()),
        (_, None) => {}
    }
    let mut page = AuditPage { entries: Vec::new(), next: None };
    if first >= end {
        return Ok(Ok(page));
    }
    let table = txn.open_table(AUDIT)?;
    let mut range = table.range(first.to_bytes()..end.to_bytes())?;
    for looked_at in 1.. {
        let pair = match order {
            AuditOrder::NewestFirst => range.next_back(),
            AuditOrder::OldestFirst => range.next(),
        };
        let Some(pair) = pair else { break };
        let (key, value) = pair?;
        let key = AuditKey::from_bytes(key.value());
        match decode_audit(key, value.value()) {
            Ok(entry) if filter.wants(&entry.record) => page.entries.push(entry),
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
        if page.entries.len() >= (*limit).clamp(1, AUDIT_PAGE_MAX) || looked_at >= AUDIT_SCAN_MAX {
            page.next = Some(AuditCursor(key));
            break;
        }
    }
    Ok(Ok(page))
}
