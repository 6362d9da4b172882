use crate::model::Secret;
use crate::store::audit::{AuditEntry, AuditFilter, AuditOrder, AuditQuery};
use crate::store::record::decode_session;
use crate::store::tables::{ARTEFACT_KEY, META, SESSIONS};
use crate::store::{Session, SessionId, Store, StoreError};

/// Reading. Lookups of one record run where they are called, also on an async thread: they touch a few pages, nearly
/// always in memory, and never wait for the writer. A list moves to a blocking thread.
impl Store {
    /// The session with this key, whether or not it is over.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let bytes = self.shared.snapshots.read(|txn| {
            let table = txn.open_table(SESSIONS)?;
            Ok(table.get(id.0)?.map(|value| value.value().to_vec()))
        })?;
        bytes.map(|bytes| decode_session(&bytes)).transpose()
    }

    /// The key under which compiled plugins are sealed, if it was made.
    pub(super) fn find_artefact_key(&self) -> Result<Option<Secret>, StoreError> {
        let bytes = self.shared.snapshots.read(|txn| {
            let table = txn.open_table(META)?;
            Ok(table.get(ARTEFACT_KEY)?.map(|value| value.value().to_vec()))
        })?;
        let text = bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| StoreError::Record { table: "meta" }));
        Ok(text.transpose()?.map(Secret::new))
    }

    /// The newest records of the audit, newest first, at most [`AUDIT_PAGE_MAX`](crate::store::AUDIT_PAGE_MAX).
    ///
    /// # Errors
    /// As for [`Store::audit`].
    pub async fn recent_audit(&self, count: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let (filter, order) = (AuditFilter::default(), AuditOrder::NewestFirst);
        Ok(self.audit(AuditQuery { filter, order, cursor: None, limit: count }).await?.entries)
    }
}
