//! Accounts and roles: their tables and what may be done to them.
//!
//! What must hold between records is decided here, in the writer's transaction, so that of two changes at once the second
//! sees the first: revisions, the last administrator, roles in use. Who may change what is somebody else's question.

use crate::model::{Role, RoleGrant, Scope, Secret};
use crate::store::apply::{Change, Tables};
use crate::store::record::{
    decode_account, decode_key, decode_role, decode_session, encode_account, encode_role, encode_session,
};
use crate::store::tables::{ACCOUNTS, ROLES, SESSIONS};
use crate::store::{Account, AuditRecord, CustomRole, Session, SessionId, Store, StoreError};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// Accounts in all.
pub const ACCOUNTS_MAX: usize = 10_000;
/// Roles that are not built in.
pub const ROLES_MAX: usize = 256;
/// Grants of one account.
pub const GRANTS_MAX: usize = 64;

/// Who changes something, as he was when it was judged whether he may: if his account has changed since, nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Editor {
    /// The account.
    pub name: String,
    /// Its revision.
    pub revision: u64,
}

/// What is changed about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEdit {
    /// These grants instead of all that it has.
    Grants(Vec<RoleGrant>),
    /// The password or whether it is disabled, or both. Its sessions end, but one that is kept.
    Access {
        /// The new password's hash.
        password_hash: Option<Secret>,
        /// Whether it is disabled.
        is_disabled: Option<bool>,
        /// The session that goes on.
        keep: Option<SessionId>,
    },
    /// It is removed, with its sessions and API keys.
    Remove,
}

/// A change of accounts or roles.
pub(super) enum AccountChange {
    Create {
        account: Account,
        /// Only if there is none at all.
        is_first: bool,
        by: Option<Editor>,
    },
    Edit {
        name: String,
        revision: u64,
        edit: AccountEdit,
        by: Option<Editor>,
    },
    PutRole {
        role: CustomRole,
        /// The revision that it has; none for a new one.
        revision: Option<u64>,
        by: Option<Editor>,
    },
    RemoveRole {
        name: String,
        revision: u64,
        by: Option<Editor>,
    },
}

type Applied = Result<Result<u64, StoreError>, redb::Error>;

/// Gives a refusal of a rule on as such.
macro_rules! rule {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}

impl AccountChange {
    pub(super) fn apply(&self, tables: &mut Tables<'_>) -> Applied {
        let (Self::Create { by, .. } | Self::Edit { by, .. } | Self::PutRole { by, .. } | Self::RemoveRole { by, .. }) =
            self;
        if let Some(by) = by {
            let account = rule!(find(tables, &by.name)?);
            if account.is_none_or(|account| account.is_disabled || account.revision != by.revision) {
                return Ok(Err(StoreError::Stale));
            }
        }
        match self {
            Self::Create { account, is_first, .. } => create(tables, account, *is_first),
            Self::Edit { name, revision, edit, .. } => edit_account(tables, name, *revision, edit),
            Self::PutRole { role, revision, .. } => put_role(tables, role, *revision),
            Self::RemoveRole { name, revision, .. } => remove_role(tables, name, *revision),
        }
    }
}

fn find(tables: &Tables<'_>, name: &str) -> Result<Result<Option<Account>, StoreError>, redb::Error> {
    let found = tables.accounts.get(name)?;
    Ok(found.map(|value| decode_account(name, value.value())).transpose())
}

fn create(tables: &mut Tables<'_>, account: &Account, is_first: bool) -> Applied {
    if is_first && !tables.accounts.is_empty()? {
        return Ok(Err(StoreError::AccountsExist));
    }
    if tables.accounts.get(account.name.as_str())?.is_some() {
        return Ok(Err(StoreError::AccountExists { name: account.name.clone() }));
    }
    if tables.accounts.len()? >= ACCOUNTS_MAX as u64 {
        return Ok(Err(StoreError::TooMany { what: "accounts", limit: ACCOUNTS_MAX }));
    }
    rule!(check_roles(tables, &account.grants)?);
    put(tables, account)
}

fn put(tables: &mut Tables<'_>, account: &Account) -> Applied {
    tables.accounts.insert(account.name.as_str(), encode_account(account)?.as_slice())?;
    Ok(Ok(1))
}

/// Every role that is granted has to be there.
fn check_roles(tables: &Tables<'_>, grants: &[RoleGrant]) -> Result<Result<(), StoreError>, redb::Error> {
    for grant in grants.iter().filter(|grant| Role::parse(&grant.role).is_none()) {
        if tables.roles.get(grant.role.as_str())?.is_none() {
            return Ok(Err(StoreError::NoRole { name: grant.role.clone() }));
        }
    }
    Ok(Ok(()))
}

fn edit_account(tables: &mut Tables<'_>, name: &str, revision: u64, edit: &AccountEdit) -> Applied {
    let Some(before) = rule!(find(tables, name)?) else {
        return Ok(Err(StoreError::NoAccount { name: name.to_owned() }));
    };
    if before.revision != revision {
        return Ok(Err(StoreError::Stale));
    }
    let was_administrator = is_administrator(&before);
    let mut after = Account { revision: before.revision.saturating_add(1), ..before };
    match edit {
        AccountEdit::Grants(grants) => {
            rule!(check_roles(tables, grants)?);
            after.grants.clone_from(grants);
        }
        AccountEdit::Access { password_hash, is_disabled, .. } => {
            after.epoch = after.revision;
            after.is_disabled = is_disabled.unwrap_or(after.is_disabled);
            if let Some(hash) = password_hash {
                after.password_hash = hash.clone();
            }
        }
        AccountEdit::Remove => {}
    }
    let stays = is_administrator(&after) && *edit != AccountEdit::Remove;
    if was_administrator && !stays && !rule!(has_other_administrator(tables, name)?) {
        return Ok(Err(StoreError::LastAdministrator));
    }
    match edit {
        AccountEdit::Grants(_) => put(tables, &after),
        AccountEdit::Access { keep, .. } => {
            end_sessions(tables, name, keep.map(|id| (id, after.epoch)))?;
            put(tables, &after)
        }
        AccountEdit::Remove => {
            end_sessions(tables, name, None)?;
            tables.api_keys.retain(|id, bytes| decode_key(id, bytes).is_ok_and(|key| key.account != name))?;
            tables.accounts.remove(name)?;
            Ok(Ok(1))
        }
    }
}

/// Ends an account's sessions, but one, which is of the new epoch then.
fn end_sessions(tables: &mut Tables<'_>, name: &str, keep: Option<(SessionId, u64)>) -> Result<(), redb::Error> {
    let of_account = |bytes: &[u8]| decode_session(bytes).ok().filter(|session| session.account == name);
    let mut kept = None;
    if let Some((id, epoch)) = keep
        && let Some(session) = tables.sessions.get(id.0)?.and_then(|value| of_account(value.value()))
    {
        kept = Some((id, Session { epoch, ..session }));
    }
    tables.sessions.retain(|_, bytes| of_account(bytes).is_none())?;
    if let Some((id, session)) = kept {
        tables.sessions.insert(id.0, encode_session(&session)?.as_slice())?;
    }
    Ok(())
}

fn is_administrator(account: &Account) -> bool {
    let is_all = |grant: &RoleGrant| grant.role == Role::Admin.as_str() && grant.scope == Scope::Everything;
    !account.is_disabled && account.grants.iter().any(is_all)
}

fn has_other_administrator(tables: &Tables<'_>, but: &str) -> Result<Result<bool, StoreError>, redb::Error> {
    for entry in tables.accounts.iter()? {
        let (name, value) = entry?;
        // One that cannot be understood helps nobody.
        if name.value() != but && decode_account(name.value(), value.value()).is_ok_and(|a| is_administrator(&a)) {
            return Ok(Ok(true));
        }
    }
    Ok(Ok(false))
}

fn put_role(tables: &mut Tables<'_>, role: &CustomRole, revision: Option<u64>) -> Applied {
    let found = tables.roles.get(role.name.as_str())?.map(|value| decode_role(&role.name, value.value())).transpose();
    match (rule!(found), revision) {
        (Some(_), None) => return Ok(Err(StoreError::RoleExists { name: role.name.clone() })),
        (None, Some(_)) => return Ok(Err(StoreError::NoRole { name: role.name.clone() })),
        (Some(found), Some(revision)) if found.revision != revision => return Ok(Err(StoreError::Stale)),
        (None, None) if tables.roles.len()? >= ROLES_MAX as u64 => {
            return Ok(Err(StoreError::TooMany { what: "roles", limit: ROLES_MAX }));
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    tables.roles.insert(role.name.as_str(), encode_role(role)?.as_slice())?;
    Ok(Ok(1))
}

fn remove_role(tables: &mut Tables<'_>, name: &str, revision: u64) -> Applied {
    let found = tables.roles.get(name)?.map(|value| decode_role(name, value.value())).transpose();
    match rule!(found) {
        None => return Ok(Err(StoreError::NoRole { name: name.to_owned() })),
        Some(found) if found.revision != revision => return Ok(Err(StoreError::Stale)),
        Some(_) => {}
    }
    let mut accounts = 0;
    for entry in tables.accounts.iter()? {
        let (holder, value) = entry?;
        let account = decode_account(holder.value(), value.value());
        accounts += usize::from(account.is_ok_and(|account| account.grants.iter().any(|grant| grant.role == name)));
    }
    if accounts > 0 {
        return Ok(Err(StoreError::RoleInUse { name: name.to_owned(), accounts }));
    }
    tables.roles.remove(name)?;
    Ok(Ok(1))
}

impl Store {
    /// Creates an account and appends `audit` in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`], [`StoreError::TooMany`], [`StoreError::NoRole`]; [`StoreError::Stale`] when `by` has
    /// changed since; otherwise as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn create_account(
        &self,
        account: Account,
        by: Option<Editor>,
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        self.change_account(AccountChange::Create { account, is_first: false, by }, audit).await
    }

    /// Creates an account if there is none at all, and appends `audit` in the same transaction. Of several callers at
    /// once exactly one succeeds.
    ///
    /// # Errors
    /// [`StoreError::AccountsExist`] if there is an account; otherwise as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn create_first_account(&self, account: Account, audit: AuditRecord) -> Result<(), StoreError> {
        self.change_account(AccountChange::Create { account, is_first: true, by: None }, audit).await
    }

    /// Changes an account that has this revision, and appends `audit` in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`]; [`StoreError::Stale`] with another revision, or when `by` has changed since;
    /// [`StoreError::NoRole`] for a grant; [`StoreError::LastAdministrator`]; otherwise as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn edit_account(
        &self,
        name: &str,
        revision: u64,
        edit: AccountEdit,
        by: Option<Editor>,
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        self.change_account(AccountChange::Edit { name: name.to_owned(), revision, edit, by }, audit).await
    }

    /// Keeps a role, in the place of one of this revision, or as a new one without; and appends `audit` in the same
    /// transaction.
    ///
    /// # Errors
    /// [`StoreError::RoleExists`], [`StoreError::NoRole`], [`StoreError::Stale`], [`StoreError::TooMany`]; otherwise as for
    /// [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn put_role(
        &self,
        role: CustomRole,
        revision: Option<u64>,
        by: Option<Editor>,
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        self.change_account(AccountChange::PutRole { role, revision, by }, audit).await
    }

    /// Removes a role of this revision that nobody has, and appends `audit` in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::NoRole`], [`StoreError::Stale`], [`StoreError::RoleInUse`]; otherwise as for [`Store::append_audit`].
    ///
    /// # Cancel safety
    /// As for [`Store::append_audit`].
    pub async fn remove_role(
        &self,
        name: &str,
        revision: u64,
        by: Option<Editor>,
        audit: AuditRecord,
    ) -> Result<(), StoreError> {
        self.change_account(AccountChange::RemoveRole { name: name.to_owned(), revision, by }, audit).await
    }

    async fn change_account(&self, change: AccountChange, audit: AuditRecord) -> Result<(), StoreError> {
        self.write(Some(Change::Account(change)), Some(audit)).await.map(drop)
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.shared.snapshots.read(|txn| account(txn, name))?
    }

    /// The account of this name, with those of its roles that are not built in, of the same moment.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn account_with_roles(&self, name: &str) -> Result<Option<(Account, Vec<CustomRole>)>, StoreError> {
        self.shared.snapshots.read(|txn| {
            let account = match account(txn, name)? {
                Ok(Some(account)) => account,
                Ok(None) => return Ok(Ok(None)),
                Err(error) => return Ok(Err(error)),
            };
            let names = account.grants.iter().map(|grant| grant.role.as_str());
            let names: BTreeSet<&str> = names.filter(|name| Role::parse(name).is_none()).collect();
            let table = txn.open_table(ROLES)?;
            let mut roles = Vec::new();
            for name in names {
                if let Some(value) = table.get(name)? {
                    roles.push(rule!(decode_role(name, value.value())));
                }
            }
            Ok(Ok(Some((account, roles))))
        })?
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Closed`].
    pub fn accounts_count(&self) -> Result<u64, StoreError> {
        self.shared.snapshots.read(|txn| Ok(txn.open_table(ACCOUNTS)?.len()?))
    }

    /// The accounts whose names come after one, by their names, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub async fn accounts(&self, after: Option<String>, limit: usize) -> Result<Vec<Account>, StoreError> {
        self.read_aside(move |txn| {
            let table = txn.open_table(ACCOUNTS)?;
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut accounts = Vec::new();
            for entry in table.range::<&str>((from, Bound::Unbounded))?.take(limit) {
                let (name, value) = entry?;
                accounts.push(rule!(decode_account(name.value(), value.value())));
            }
            Ok(Ok(accounts))
        })
        .await
    }

    /// The roles that are not built in, by their names; at most [`ROLES_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub async fn roles(&self) -> Result<Vec<CustomRole>, StoreError> {
        self.read_aside(|txn| {
            let mut roles = Vec::new();
            for entry in txn.open_table(ROLES)?.iter()? {
                let (name, value) = entry?;
                roles.push(rule!(decode_role(name.value(), value.value())));
            }
            Ok(Ok(roles))
        })
        .await
    }

    /// The role of this name that is not built in.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Record`], [`StoreError::Closed`].
    pub fn role(&self, name: &str) -> Result<Option<CustomRole>, StoreError> {
        self.shared.snapshots.read(|txn| {
            let table = txn.open_table(ROLES)?;
            Ok(table.get(name)?.map(|value| decode_role(name, value.value())).transpose())
        })?
    }

    /// The sessions of one account or of somebody known elsewhere, over or not, in no order.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Closed`].
    pub async fn sessions_of(&self, account: String) -> Result<Vec<(SessionId, Session)>, StoreError> {
        self.read_aside(move |txn| {
            let mut sessions = Vec::new();
            for entry in txn.open_table(SESSIONS)?.iter()? {
                let (id, value) = entry?;
                // One that cannot be understood admits nobody.
                if let Ok(session) = decode_session(value.value())
                    && session.account == account
                {
                    sessions.push((SessionId(id.value()), session));
                }
            }
            Ok(Ok(sessions))
        })
        .await
    }

    async fn read_aside<T: Send + 'static>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<Result<T, StoreError>, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let snapshots = Arc::clone(&self.shared.snapshots);
        let reading = tokio::task::spawn_blocking(move || snapshots.read(read));
        reading.await.map_err(|_| StoreError::Closed)??
    }
}

fn account(txn: &ReadTransaction, name: &str) -> Result<Result<Option<Account>, StoreError>, redb::Error> {
    let table = txn.open_table(ACCOUNTS)?;
    Ok(table.get(name)?.map(|value| decode_account(name, value.value())).transpose())
}
