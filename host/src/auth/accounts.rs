//! Accounts, roles and sessions of others: who may change whom.
//!
//! Nobody gives, takes or changes what is beyond his own rights. That is judged here, by what the caller's and the other's
//! account are at one revision each; the store's transaction takes the change only while they still are.

use crate::auth::facade::{Auth, Inner};
use crate::auth::login::entry;
use crate::auth::password::check_new;
use crate::auth::recognise::Recognised;
use crate::auth::{AccountFault, AuthRefusal};
use crate::model::{Action, Actions, PeerFacts, Principal, Rights, Role, RoleGrant, Scope, Secret};
use crate::plugin::PasswordCheck;
use crate::store::{
    Account, AccountEdit, AuditOutcome, AuditRecord, CustomRole, Editor, Session, SessionId, StoreError,
};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes that an account's name has at most, as in the contract of auth strategies.
const NAME_BYTES_MAX: usize = 255;
/// Characters of a role's name.
const ROLE_NAME_MAX: usize = 64;
/// Bytes of what the audit says of a change.
const DETAIL_BYTES_MAX: usize = 1_024;

/// An account that is wished for.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
    /// Its grants.
    pub grants: Vec<RoleGrant>,
    /// True if nobody may use it yet.
    pub is_disabled: bool,
}

/// What is to be changed about how an account is used. Either ends its sessions.
#[derive(Debug, Clone, Default)]
pub struct AccessEdit {
    /// A new password.
    pub password: Option<Secret>,
    /// Whether it is disabled.
    pub is_disabled: Option<bool>,
}

/// A role, built in or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFacts {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub actions: Actions,
    /// Its revision; none of one that is built in.
    pub revision: Option<u64>,
}

/// A session, without anything that a token could be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// By what it is called: 16 hexadecimal digits.
    pub id: String,
    /// The session.
    pub session: Session,
    /// True of the one that asks.
    pub is_own: bool,
}

/// The rules for a name: no text that could be mistaken for another one or break a line.
///
/// # Errors
/// [`AccountFault`] says which rule it breaks.
pub fn check_name(name: &str) -> Result<(), AccountFault> {
    let bytes = name.len();
    if bytes == 0 {
        return Err(AccountFault::NameEmpty);
    }
    if bytes > NAME_BYTES_MAX {
        return Err(AccountFault::NameTooLong { bytes, max: NAME_BYTES_MAX });
    }
    let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    match name.chars().find(|&c| !is_allowed(c)) {
        Some(character) => Err(AccountFault::NameCharacter { character }),
        None => Ok(()),
    }
}

/// Whether a text may be a role's name: 1 to 64 of `a-z 0-9 - _`, beginning with a letter, and none that is built in.
#[must_use]
pub fn check_role_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.len() <= ROLE_NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_word)
        && Role::parse(name).is_none()
}

/// Somebody who changes something: what he may do, and by which revision of his account that is so.
struct Standing {
    rights: Arc<Rights>,
    by: Option<Editor>,
}

impl Standing {
    /// Whether all of this is within his own rights.
    fn covers(&self, rights: &Rights, what: &'static str) -> Result<(), AuthRefusal> {
        if self.rights.includes(rights) { Ok(()) } else { Err(AuthRefusal::Exceeds { what }) }
    }
}

/// What these grants come to. A role that is not there grants nothing.
pub(super) fn rights_of(grants: &[RoleGrant], roles: &[CustomRole]) -> Arc<Rights> {
    if let [RoleGrant { role, scope: Scope::Everything }] = grants
        && let Some(role) = Role::parse(role)
    {
        return Rights::of(role);
    }
    let actions = |name: &str| match Role::parse(name) {
        Some(role) => role.actions(),
        None => roles.iter().find(|role| role.name == name).map(actions_of).unwrap_or_default(),
    };
    Arc::new(Rights::new(grants.iter().map(|grant| (grant.scope.clone(), actions(&grant.role)))))
}

fn actions_of(role: &CustomRole) -> Actions {
    role.actions.iter().filter_map(|word| Action::parse(word)).collect()
}

impl Inner {
    /// The account and what it was granted, or why nobody may use it.
    pub(super) fn enabled_account(
        &self,
        name: &str,
    ) -> Result<Result<(Account, Arc<Rights>), &'static str>, AuthRefusal> {
        Ok(match self.store.account_with_roles(name)? {
            None => Err("unknown_account"),
            Some((account, _)) if account.is_disabled => Err("disabled_account"),
            Some((account, roles)) => {
                let granted = rights_of(&account.grants, &roles);
                Ok((account, granted))
            }
        })
    }

    /// Whoever asks, as his account is now.
    fn standing(&self, principal: &Principal) -> Result<Standing, AuthRefusal> {
        if principal.is_external {
            return Ok(Standing { rights: Arc::clone(&principal.rights), by: None });
        }
        let (account, granted) = self.enabled_account(&principal.name)?.map_err(|_| AuthRefusal::Required)?;
        let by = Some(Editor { name: account.name.clone(), revision: account.revision });
        let Principal { name, strategy, scopes, .. } = principal.clone();
        let now = Principal::new(name, strategy, false, granted, scopes);
        Ok(Standing { rights: now.rights, by })
    }

    /// An account with all that it was granted, enabled or not.
    fn other(&self, name: &str) -> Result<(Account, Arc<Rights>), AuthRefusal> {
        let found = self.store.account_with_roles(name)?;
        let (account, roles) = found.ok_or_else(|| StoreError::NoAccount { name: name.to_owned() })?;
        let granted = rights_of(&account.grants, &roles);
        Ok((account, granted))
    }

    async fn wished(&self, grants: &[RoleGrant]) -> Result<Arc<Rights>, AuthRefusal> {
        Ok(rights_of(grants, &self.store.roles().await?))
    }

    /// Has what changed taken up by whoever is connected, before anybody is told that it did.
    async fn settle_accounts(&self, now: SystemTime) {
        if !self.compare_accounts() {
            self.watches.forget_accounts();
        }
        self.close_ended(now).await;
    }

    /// Changes an account of this revision, which has to be within the caller's rights before and after.
    async fn edit(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        edit: AccountEdit,
        record: AuditRecord,
    ) -> Result<(), AuthRefusal> {
        const OTHERS: &str = "this account may do what you may not";
        let standing = self.standing(principal)?;
        let (account, has) = self.other(name)?;
        if account.revision != revision {
            return Err(StoreError::Stale.into());
        }
        standing.covers(&has, OTHERS)?;
        if let AccountEdit::Grants(grants) = &edit {
            standing.covers(&*self.wished(grants).await?, "the grants allow what you may not")?;
        }
        let ends_sessions = !matches!(edit, AccountEdit::Grants(_));
        let now = record.at;
        self.store.edit_account(name, revision, edit, standing.by, record).await?;
        if ends_sessions {
            self.sessions.end_all_here(name, None);
        }
        self.keys.forget();
        self.settle_accounts(now).await;
        Ok(())
    }

    async fn change_own_password(
        &self,
        caller: &Recognised,
        (old, new): (Secret, Secret),
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        const WHAT: &str = "account.password";
        let name = &caller.principal.name;
        check_new(&new)?;
        self.begin_attempt(WHAT, name, facts, now).await?;
        let checked = match self.passwords.check(name.clone(), old).await {
            Ok(PasswordCheck::Matches) => Ok(()),
            Ok(PasswordCheck::Differs) => Err(AuthRefusal::Failed),
            Err(refusal) => Err(refusal),
        };
        self.end_attempt(name, facts, &checked);
        checked?;
        let hash = self.passwords.hash(new).await?;
        let (account, _) = self.other(name)?;
        let keep = caller.session().map(|session| session.session_id);
        let edit = AccountEdit::Access { password_hash: Some(hash), is_disabled: None, keep };
        let by = Some(Editor { name: name.clone(), revision: account.revision });
        let record = AuditRecord { target: name.clone(), ..entry(WHAT, name, AuditOutcome::Done, "", facts, now) };
        self.store.edit_account(name, account.revision, edit, by, record).await?;
        self.sessions.end_all_here(name, keep.map(|id| (id, account.revision.saturating_add(1))));
        self.close_ended(now).await;
        Ok(())
    }

    /// Sessions of somebody that are not over.
    async fn sessions_of(&self, name: &str, now: SystemTime) -> Result<Vec<(SessionId, Session)>, AuthRefusal> {
        let idle = self.server.borrow().session_idle_timeout;
        let mut sessions = self.store.sessions_of(name.to_owned()).await?;
        sessions.retain(|(_, session)| !session.is_over(now, idle));
        sessions.sort_unstable_by(|(a, one), (b, other)| other.created.cmp(&one.created).then_with(|| a.cmp(b)));
        Ok(sessions)
    }

    async fn end_sessions(
        &self,
        ids: Vec<SessionId>,
        record: &AuditRecord,
        now: SystemTime,
    ) -> Result<usize, AuthRefusal> {
        let mut ended = 0;
        for id in ids {
            let record = AuditRecord { target: format!("{}/{id}", record.target), ..record.clone() };
            ended += usize::from(self.sessions.end(id, record).await?);
        }
        self.close_ended(now).await;
        Ok(ended)
    }

    /// What somebody whose sessions are to be ended may do at most.
    fn rights_of_anybody(&self, name: &str) -> Result<Arc<Rights>, AuthRefusal> {
        // No account has a slash in its name.
        let Some((strategy, _)) = name.split_once('/') else { return Ok(self.other(name)?.1) };
        Ok(Rights::of(self.external_role(strategy, Role::Admin).unwrap_or(Role::Viewer)))
    }
}

/// Accounts. Each change is audited in its own transaction.
impl Auth {
    /// The accounts whose names come after one, at most `limit`.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`].
    pub async fn accounts(&self, after: Option<String>, limit: usize) -> Result<Vec<Account>, AuthRefusal> {
        Ok(self.inner().store.accounts(after, limit).await?)
    }

    /// One account.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`], also when there is none.
    pub fn account(&self, name: &str) -> Result<Account, AuthRefusal> {
        let found = self.inner().store.account(name)?;
        Ok(found.ok_or_else(|| StoreError::NoAccount { name: name.to_owned() })?)
    }

    /// Creates an account with grants within the caller's own rights.
    ///
    /// # Errors
    /// [`AuthRefusal::Account`], [`AuthRefusal::Exceeds`], [`AuthRefusal::Busy`], [`AuthRefusal::Store`] (the name is taken, a
    /// role is not there, there are too many).
    ///
    /// # Cancel safety
    /// Once polled, the account is perhaps made.
    pub async fn create_account(
        &self,
        principal: &Principal,
        wish: NewAccount,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Account, AuthRefusal> {
        check_name(&wish.name)?;
        check_new(&wish.password)?;
        let inner = self.inner();
        let standing = inner.standing(principal)?;
        standing.covers(&*inner.wished(&wish.grants).await?, "the grants allow what you may not")?;
        let record = change("account.create", principal, &wish.name, &detail(&wish.grants), facts, now);
        let hash = inner.passwords.hash(wish.password).await?;
        let account =
            Account { is_disabled: wish.is_disabled, ..Account::new(wish.name.clone(), hash, wish.grants, now) };
        inner.store.create_account(account, standing.by, record).await?;
        self.account(&wish.name)
    }

    /// Gives an account of this revision these grants instead of what it had. All of both has to be within the caller's own
    /// rights. Open connections follow before this answers.
    ///
    /// # Errors
    /// [`AuthRefusal::Exceeds`], [`AuthRefusal::Store`] (not there, another revision, the last administrator).
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn set_grants(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        grants: Vec<RoleGrant>,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Account, AuthRefusal> {
        let record = change("account.grant", principal, name, &detail(&grants), facts, now);
        self.edit_aside(principal, (name, revision), AccountEdit::Grants(grants), record).await?;
        self.account(name)
    }

    /// Sets an account's password or whether it is disabled, and ends its sessions.
    ///
    /// # Errors
    /// [`AuthRefusal::Account`], [`AuthRefusal::Busy`], and those of [`Auth::set_grants`].
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn set_access(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        edit: AccessEdit,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Account, AuthRefusal> {
        let what = match (&edit.password, edit.is_disabled) {
            (Some(_), None) => "account.password",
            (_, Some(true)) => "account.disable",
            (_, Some(false)) => "account.enable",
            (None, None) => return self.account(name),
        };
        let detail = if edit.password.is_some() { "password" } else { "" };
        let record = change(what, principal, name, detail, facts, now);
        let password_hash = match edit.password {
            Some(password) => {
                check_new(&password)?;
                Some(self.inner().passwords.hash(password).await?)
            }
            None => None,
        };
        let edit = AccountEdit::Access { password_hash, is_disabled: edit.is_disabled, keep: None };
        self.edit_aside(principal, (name, revision), edit, record).await?;
        self.account(name)
    }

    /// Removes an account with its sessions and API keys.
    ///
    /// # Errors
    /// As for [`Auth::set_grants`].
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn remove_account(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        let record = change("account.remove", principal, name, "", facts, now);
        self.edit_aside(principal, (name, revision), AccountEdit::Remove, record).await
    }

    /// What was begun is carried through, also when the caller leaves: sessions that the store ended have to end here.
    async fn edit_aside(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        edit: AccountEdit,
        record: AuditRecord,
    ) -> Result<(), AuthRefusal> {
        let (auth, principal, name) = (self.clone(), principal.clone(), name.to_owned());
        let work =
            self.tracker().spawn(async move { auth.inner().edit(&principal, (&name, revision), edit, record).await });
        work.await.map_err(|_| AuthRefusal::Internal { what: "the task of a change of an account" })?
    }

    /// Sets the caller's own password against the old one, and ends the account's other sessions.
    ///
    /// # Errors
    /// [`AuthRefusal::NoAccount`], [`AuthRefusal::Limited`], [`AuthRefusal::Account`]; [`AuthRefusal::Failed`] for a wrong
    /// old password, which counts as a failed login; [`AuthRefusal::TooManyAttempts`], [`AuthRefusal::Busy`],
    /// [`AuthRefusal::Store`].
    ///
    /// # Cancel safety
    /// As for [`Auth::login`].
    pub async fn set_own_password(
        &self,
        caller: &Recognised,
        (old, new): (Secret, Secret),
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        if caller.principal.is_external {
            return Err(AuthRefusal::NoAccount);
        }
        unlimited(&caller.principal)?;
        let (auth, caller, facts) = (self.clone(), caller.clone(), facts.clone());
        let work = self
            .tracker()
            .spawn(async move { auth.inner().change_own_password(&caller, (old, new), &facts, now).await });
        work.await.map_err(|_| AuthRefusal::Internal { what: "the task of a change of a password" })?
    }

    /// The caller's own sessions that are not over, newest first.
    ///
    /// # Errors
    /// [`AuthRefusal::Limited`], [`AuthRefusal::Store`].
    pub async fn own_sessions(&self, caller: &Recognised, now: SystemTime) -> Result<Vec<SessionFacts>, AuthRefusal> {
        unlimited(&caller.principal)?;
        self.sessions_of(caller, &caller.principal.name, now).await
    }

    /// Sessions of somebody that are not over, newest first. `name` is an account's, or `STRATEGY/NAME`.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`].
    pub async fn sessions_of(
        &self,
        caller: &Recognised,
        name: &str,
        now: SystemTime,
    ) -> Result<Vec<SessionFacts>, AuthRefusal> {
        let own = caller.session().map(|session| session.session_id);
        let sessions = self.inner().sessions_of(name, now).await?.into_iter();
        let facts =
            |(id, session): (SessionId, Session)| SessionFacts { id: id.to_string(), session, is_own: own == Some(id) };
        Ok(sessions.map(facts).collect())
    }

    /// Ends one session of the caller's own, or all of them, each on the record. Answers how many.
    ///
    /// # Errors
    /// [`AuthRefusal::Limited`], [`AuthRefusal::NoSuchSession`], [`AuthRefusal::Store`].
    ///
    /// # Cancel safety
    /// Dropped while it ends several, some may be left.
    pub async fn end_own_sessions(
        &self,
        caller: &Recognised,
        id: Option<&str>,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<usize, AuthRefusal> {
        unlimited(&caller.principal)?;
        self.end_them(&caller.principal, &caller.principal.name, id, facts, now).await
    }

    /// Ends one session of somebody, or all of them, whose rights are within the caller's own. Answers how many.
    ///
    /// # Errors
    /// [`AuthRefusal::Exceeds`], [`AuthRefusal::NoSuchSession`], [`AuthRefusal::Store`].
    ///
    /// # Cancel safety
    /// Dropped while it ends several, some may be left.
    pub async fn end_sessions_of(
        &self,
        principal: &Principal,
        name: &str,
        id: Option<&str>,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<usize, AuthRefusal> {
        let inner = self.inner();
        let standing = inner.standing(principal)?;
        standing.covers(&*inner.rights_of_anybody(name)?, "this account may do what you may not")?;
        self.end_them(principal, name, id, facts, now).await
    }

    async fn end_them(
        &self,
        principal: &Principal,
        name: &str,
        id: Option<&str>,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<usize, AuthRefusal> {
        let inner = self.inner();
        let sessions = inner.sessions_of(name, now).await?.into_iter().map(|(id, _)| id);
        let ids: Vec<_> = sessions.filter(|known| id.is_none_or(|id| known.to_string() == id)).collect();
        if id.is_some() && ids.is_empty() {
            return Err(AuthRefusal::NoSuchSession);
        }
        inner.end_sessions(ids, &change("session.end", principal, name, "", facts, now), now).await
    }
}

/// Roles.
impl Auth {
    /// Every role: the built-in ones, then the others by their names.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`].
    pub async fn roles(&self) -> Result<Vec<RoleFacts>, AuthRefusal> {
        let others = self.inner().store.roles().await?;
        Ok(Role::ALL.into_iter().map(built_in).chain(others.iter().map(custom)).collect())
    }

    /// One role.
    ///
    /// # Errors
    /// [`AuthRefusal::Store`], also when there is none.
    pub fn role(&self, name: &str) -> Result<RoleFacts, AuthRefusal> {
        if let Some(role) = Role::parse(name) {
            return Ok(built_in(role));
        }
        let found = self.inner().store.role(name)?;
        Ok(found.as_ref().map(custom).ok_or_else(|| StoreError::NoRole { name: name.to_owned() })?)
    }

    /// Keeps a role that is not built in, in the place of one of this revision, or as a new one without. What it may do,
    /// before and after, has to be within the caller's own rights over everything. Open connections follow before this
    /// answers.
    ///
    /// # Errors
    /// [`AuthRefusal::BuiltIn`], [`AuthRefusal::Exceeds`], [`AuthRefusal::Store`] (it is there, it is not, another revision, too
    /// many).
    ///
    /// # Cancel safety
    /// Once polled, the role is perhaps kept, and connections follow within a second.
    pub async fn put_role(
        &self,
        principal: &Principal,
        (name, revision): (&str, Option<u64>),
        actions: Actions,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<RoleFacts, AuthRefusal> {
        let standing = self.may_change(principal, name, revision, actions)?;
        let what = if revision.is_some() { "role.replace" } else { "role.create" };
        let record = change(what, principal, name, &actions.words().join(" "), facts, now);
        let next = revision.map_or_else(|| first_revision(now), |revision| revision.saturating_add(1));
        let role = CustomRole { name: name.to_owned(), actions: actions.words(), revision: next };
        self.inner().store.put_role(role, revision, standing.by, record).await?;
        self.inner().settle_accounts(now).await;
        self.role(name)
    }

    /// Removes a role of this revision that nobody has.
    ///
    /// # Errors
    /// [`AuthRefusal::BuiltIn`], [`AuthRefusal::Exceeds`], [`AuthRefusal::Store`] (it is not there, another revision, somebody
    /// has it).
    ///
    /// # Cancel safety
    /// Once polled, the role is perhaps removed.
    pub async fn remove_role(
        &self,
        principal: &Principal,
        (name, revision): (&str, u64),
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        let standing = self.may_change(principal, name, Some(revision), Actions::default())?;
        let record = change("role.remove", principal, name, "", facts, now);
        Ok(self.inner().store.remove_role(name, revision, standing.by, record).await?)
    }

    fn may_change(
        &self,
        principal: &Principal,
        name: &str,
        revision: Option<u64>,
        actions: Actions,
    ) -> Result<Standing, AuthRefusal> {
        if Role::parse(name).is_some() {
            return Err(AuthRefusal::BuiltIn { name: name.to_owned() });
        }
        let standing = self.inner().standing(principal)?;
        let before = self.inner().store.role(name)?;
        if let (Some(before), Some(revision)) = (&before, revision)
            && before.revision != revision
        {
            return Err(StoreError::Stale.into());
        }
        let all = before.as_ref().map(actions_of).unwrap_or_default().union(actions);
        standing
            .covers(&Rights::new([(Scope::Everything, all)]), "the role allows what you may not, over everything")?;
        Ok(standing)
    }
}

fn built_in(role: Role) -> RoleFacts {
    RoleFacts { name: role.as_str().to_owned(), actions: role.actions(), revision: None }
}

fn custom(role: &CustomRole) -> RoleFacts {
    RoleFacts { name: role.name.clone(), actions: actions_of(role), revision: Some(role.revision) }
}

fn first_revision(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// No action stands for what is everybody's own; who limited a credential did not mean that either.
fn unlimited(principal: &Principal) -> Result<(), AuthRefusal> {
    if principal.scopes.is_empty() { Ok(()) } else { Err(AuthRefusal::Limited) }
}

fn change(
    what: &str,
    principal: &Principal,
    target: &str,
    detail: &str,
    facts: &PeerFacts,
    now: SystemTime,
) -> AuditRecord {
    AuditRecord { target: target.to_owned(), ..entry(what, &principal.name, AuditOutcome::Done, detail, facts, now) }
}

/// Grants as the audit has them.
fn detail(grants: &[RoleGrant]) -> String {
    let said: Vec<String> = grants.iter().map(|grant| format!("{} {}", grant.role, grant.scope)).collect();
    let mut text = said.join(", ");
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_never_tricks() {
        for good in ["ann", "ann.b-c_d@example.org", "zoë+1", &"x".repeat(255)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_name(""), Err(AccountFault::NameEmpty));
        assert_eq!(check_name(&"x".repeat(256)), Err(AccountFault::NameTooLong { bytes: 256, max: 255 }));
        for bad in ["a b", "a\n", "\u{202e}nna", "<b>", "a/../b", "a:b"] {
            assert!(matches!(check_name(bad), Err(AccountFault::NameCharacter { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_role_is_named_by_a_word_that_is_not_taken() {
        for good in ["deploy", "on-call_2", "x"] {
            assert!(check_role_name(good), "{good}");
        }
        for bad in ["", "Admin", "admin", "viewer", "2x", "a b", "a/b", &"x".repeat(65)] {
            assert!(!check_role_name(bad), "{bad}");
        }
    }
}
