use crate::model::Secret;
use crate::store::accounts::AccountChange;
use crate::store::audit::{self, AuditKey, AuditRecord, Ends, encode_audit};
use crate::store::configuration::{self, Configuration};
use crate::store::generation::encode_generations;
use crate::store::keys::KeyChange;
use crate::store::record::{decode_session, encode_session};
use crate::store::secrets::{self, SealedSecrets};
use crate::store::tables::{
    ACCOUNTS, API_KEYS, ARTEFACT_KEY, AUDIT, CONFIGURATIONS, GENERATIONS, META, PROBE, ROLES, SECRETS, SESSIONS,
};
use crate::store::writer::Write;
use crate::store::{Generations, Session, SessionId, StoreError};
use redb::{Database, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use std::time::{Duration, SystemTime};

/// A change of accounts, sessions or API keys.
pub(super) enum Change {
    Account(AccountChange),
    PutSession {
        id: SessionId,
        session: Session,
    },
    DeleteSession {
        id: SessionId,
    },
    TouchSession {
        id: SessionId,
        used: SystemTime,
    },
    PurgeSessions {
        now: SystemTime,
        idle_timeout: Duration,
    },
    /// Every one.
    EndSessions,
    Key(KeyChange),
    PutGenerations {
        plugin: String,
        generations: Generations,
    },
    PutConfiguration {
        made: Configuration,
        sealed: Option<SealedSecrets>,
    },
    PurgeAudit {
        before: SystemTime,
        now: SystemTime,
    },
    /// Writes for the sake of writing.
    Probe,
    /// Kept only if there is none: who asks at the same time gets the same one.
    MakeArtefactKey {
        key: Secret,
    },
}

impl Change {
    /// Whether it changes who has an account and what it may do.
    pub(super) const fn is_of_accounts(&self) -> bool {
        match self {
            Self::Account(_) => true,
            Self::PutSession { .. }
            | Self::DeleteSession { .. }
            | Self::TouchSession { .. }
            | Self::PurgeSessions { .. }
            | Self::EndSessions
            | Self::Key(_)
            | Self::PutGenerations { .. }
            | Self::PutConfiguration { .. }
            | Self::PurgeAudit { .. }
            | Self::Probe
            | Self::MakeArtefactKey { .. } => false,
        }
    }
}

/// Each caller's own answer: how many records its change touched, or why it was not made.
pub(super) type Results = Vec<Result<u64, StoreError>>;

/// Carries out a batch in one durable transaction. An error means that nothing of it was done; a change that its rules
/// forbid is a result of its own and does not disturb the others.
pub(super) fn commit(db: &Database, batch: &[Write]) -> Result<Results, redb::Error> {
    let mut txn = db.begin_write()?;
    // A restart after a crash then takes a millisecond instead of seconds.
    txn.set_quick_repair(true);
    let (results, is_changed) = apply(&txn, batch)?;
    if is_changed {
        txn.commit()?;
    } else {
        txn.abort()?;
    }
    Ok(results)
}

fn apply(txn: &WriteTransaction, batch: &[Write]) -> Result<(Results, bool), redb::Error> {
    let mut tables = Tables::open(txn)?;
    let mut results = Vec::with_capacity(batch.len());
    let mut is_changed = false;
    for write in batch {
        let result = match &write.change {
            Some(change) => tables.change(change)?,
            None => Ok(1),
        };
        if let Ok(1..) = result {
            is_changed = true;
            if let Some(record) = &write.audit {
                tables.append(record)?;
            }
        }
        results.push(result);
    }
    if is_changed {
        tables.finish()?;
    }
    Ok((results, is_changed))
}

pub(super) struct Tables<'txn> {
    pub(super) meta: Table<'txn, &'static str, &'static [u8]>,
    pub(super) accounts: Table<'txn, &'static str, &'static [u8]>,
    pub(super) roles: Table<'txn, &'static str, &'static [u8]>,
    pub(super) sessions: Table<'txn, [u8; 32], &'static [u8]>,
    pub(super) api_keys: Table<'txn, &'static str, &'static [u8]>,
    pub(super) secrets: Table<'txn, &'static str, &'static [u8]>,
    generations: Table<'txn, &'static str, &'static [u8]>,
    configurations: Table<'txn, u64, &'static [u8]>,
    audit: Table<'txn, [u8; AuditKey::BYTES], &'static [u8]>,
    ends: Ends,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        let meta = txn.open_table(META)?;
        Ok(Self {
            ends: Ends::read(&meta)?,
            meta,
            accounts: txn.open_table(ACCOUNTS)?,
            roles: txn.open_table(ROLES)?,
            sessions: txn.open_table(SESSIONS)?,
            api_keys: txn.open_table(API_KEYS)?,
            secrets: txn.open_table(SECRETS)?,
            generations: txn.open_table(GENERATIONS)?,
            configurations: txn.open_table(CONFIGURATIONS)?,
            audit: txn.open_table(AUDIT)?,
        })
    }

    /// Writes down where the audit ends. The last step of a transaction that is to be committed.
    pub(super) fn finish(&mut self) -> Result<(), redb::Error> {
        self.ends.write(&mut self.meta)
    }

    pub(super) fn append(&mut self, record: &AuditRecord) -> Result<(), redb::Error> {
        self.ends.append(&mut self.audit, record.at, &encode_audit(record)?)
    }

    fn change(&mut self, change: &Change) -> Result<Result<u64, StoreError>, redb::Error> {
        match change {
            Change::Account(change) => change.apply(self),
            Change::PutSession { id, session } => {
                self.sessions.insert(id.0, encode_session(session)?.as_slice())?;
                Ok(Ok(1))
            }
            Change::DeleteSession { id } => Ok(Ok(u64::from(self.sessions.remove(id.0)?.is_some()))),
            Change::TouchSession { id, used } => self.touch(*id, *used),
            Change::PurgeSessions { now, idle_timeout } => self.purge(*now, *idle_timeout),
            Change::EndSessions => {
                let ended = self.sessions.len()?;
                self.sessions.retain(|_, _| false)?;
                Ok(Ok(ended))
            }
            Change::Key(change) => match change.account() {
                // A key that is made while its account goes would be one of whoever has that name next.
                Some(name) if self.accounts.get(name)?.is_none() => {
                    Ok(Err(StoreError::NoAccount { name: name.to_owned() }))
                }
                _ => change.apply(&mut self.api_keys),
            },
            Change::PutGenerations { plugin, generations } => {
                self.generations.insert(plugin.as_str(), encode_generations(generations)?.as_slice())?;
                Ok(Ok(1))
            }
            Change::PutConfiguration { made, sealed } => {
                secrets::put(self, made, sealed.as_ref())?;
                configuration::put(&mut self.configurations, made)
            }
            Change::PurgeAudit { before, now } => Ok(Ok(audit::purge(&mut self.audit, &mut self.ends, *before, *now)?)),
            Change::Probe => {
                self.meta.insert(PROBE, [].as_slice())?;
                Ok(Ok(1))
            }
            Change::MakeArtefactKey { key } => self.make_artefact_key(key),
        }
    }

    fn make_artefact_key(&mut self, key: &Secret) -> Result<Result<u64, StoreError>, redb::Error> {
        if self.meta.get(ARTEFACT_KEY)?.is_some() {
            return Ok(Ok(0));
        }
        self.meta.insert(ARTEFACT_KEY, key.reveal().as_bytes())?;
        Ok(Ok(1))
    }

    /// A session that is gone stays gone, and an older use does not undo a later one.
    fn touch(&mut self, id: SessionId, used: SystemTime) -> Result<Result<u64, StoreError>, redb::Error> {
        let found = self.sessions.get(id.0)?.map(|value| decode_session(value.value()));
        let session = match found {
            None => return Ok(Ok(0)),
            Some(Err(error)) => return Ok(Err(error)),
            Some(Ok(session)) if session.last_used >= used => return Ok(Ok(0)),
            Some(Ok(session)) => Session { last_used: used, ..session },
        };
        self.sessions.insert(id.0, encode_session(&session)?.as_slice())?;
        Ok(Ok(1))
    }

    /// A session that cannot be understood admits nobody, so it goes too.
    fn purge(&mut self, now: SystemTime, idle_timeout: Duration) -> Result<Result<u64, StoreError>, redb::Error> {
        let before = self.sessions.len()?;
        self.sessions
            .retain(|_, value| decode_session(value).is_ok_and(|session| !session.is_over(now, idle_timeout)))?;
        Ok(Ok(before.saturating_sub(self.sessions.len()?)))
    }
}
