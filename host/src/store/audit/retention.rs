use crate::store::apply::Change;
use crate::store::audit::chain::{AuditLink, End, Ends};
use crate::store::audit::{AuditKey, AuditOutcome, AuditRecord, encode_audit};
use crate::store::record::to_ms;
use crate::store::{Store, StoreError};
use redb::{ReadableTable, Table};
use std::time::SystemTime;

/// Records that one transaction removes at most.
pub const AUDIT_PURGE_MAX: usize = 10_000;

impl Store {
    /// Removes the oldest records of the audit, those filed before `before`, at most [`AUDIT_PURGE_MAX`] of them, and
    /// appends a record of it in the same transaction. Answers how many; none leaves no record.
    ///
    /// # Errors
    /// As for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn purge_audit(&self, before: SystemTime, now: SystemTime) -> Result<u64, StoreError> {
        self.write(Some(Change::PurgeAudit { before, now }), None).await
    }
}

/// As [`Store::purge_audit`].
pub(in crate::store) fn purge(
    records: &mut Table<'_, [u8; AuditKey::BYTES], &'static [u8]>,
    ends: &mut Ends,
    before: SystemTime,
    now: SystemTime,
) -> Result<u64, redb::Error> {
    let first = ends.base.key.number.saturating_add(1);
    let mut removed = 0;
    while removed < AUDIT_PURGE_MAX {
        let oldest = match records.first()? {
            Some((key, value)) if AuditKey::from_bytes(key.value()).at_ms < to_ms(before) => {
                let link = AuditLink::split(value.value()).map_or(ends.base.link, |(link, _)| link);
                End { key: AuditKey::from_bytes(key.value()), link }
            }
            _ => break,
        };
        records.remove(oldest.key.to_bytes())?;
        ends.base = oldest;
        removed += 1;
    }
    if removed > 0 {
        let record = AuditRecord {
            at: now,
            who: String::new(),
            what: "audit.retention".into(),
            target: format!("{first}-{}", ends.base.key.number),
            outcome: AuditOutcome::Done,
            reason: format!("{removed} records too old"),
            request_id: String::new(),
            address: None,
        };
        ends.append(records, now, &encode_audit(&record)?)?;
    }
    Ok(removed as u64)
}
