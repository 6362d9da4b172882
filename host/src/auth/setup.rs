use crate::auth::password::{Passwords, check_new};
use crate::auth::{AuthRefusal, check_name, token};
use crate::model::{Role, RoleGrant, Secret};
use crate::store::{Account, AuditRecord, Store, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Creates the first administrator and appends `audit` in the same transaction. For `omnivisor init` and for setup
/// over the API. Of several callers at once exactly one succeeds.
///
/// # Errors
/// [`AuthRefusal::Account`] says which rule name or password breaks, [`AuthRefusal::SetupDone`] when there is an
/// account already, [`AuthRefusal::Busy`], [`AuthRefusal::Store`], [`AuthRefusal::Internal`].
pub async fn create_first_administrator(
    store: &Store,
    passwords: &Passwords,
    username: &str,
    password: Secret,
    audit: AuditRecord,
    now: SystemTime,
) -> Result<(), AuthRefusal> {
    check_name(username)?;
    check_new(&password)?;
    if store.accounts_count()? > 0 {
        return Err(AuthRefusal::SetupDone);
    }
    let grants = vec![RoleGrant::everywhere(Role::Admin)];
    let account = Account::new(username.to_owned(), passwords.hash(password).await?, grants, now);
    store
        .create_first_account(account, audit)
        .await
        .map_err(|error| if matches!(error, StoreError::AccountsExist) { AuthRefusal::SetupDone } else { error.into() })
}

/// The one-time token that allows creating the first administrator over the API. Only its digest is kept.
#[derive(Default)]
pub(super) struct SetupGate {
    digest: Mutex<Option<[u8; 32]>>,
}

impl SetupGate {
    /// Makes a token, which replaces an earlier one.
    pub(super) fn open(&self) -> Result<Secret, AuthRefusal> {
        let token = token::new()?;
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = token::digest(token.reveal());
        Ok(token)
    }

    /// Whether this is the token. [`AuthRefusal::SetupDone`] when there is none any more.
    pub(super) fn check(&self, offered: &Secret) -> Result<bool, AuthRefusal> {
        let kept = *self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.ok_or(AuthRefusal::SetupDone)?;
        Ok(token::digest(offered.reveal()).is_some_and(|offered| token::is_same(&offered, &kept)))
    }

    /// Ends the token for good.
    pub(super) fn close(&self) {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_for_its_token_alone_and_closes_for_good() {
        let gate = SetupGate::default();
        assert!(matches!(gate.check(&Secret::new("x".into())), Err(AuthRefusal::SetupDone)));
        let old = gate.open().unwrap();
        let token = gate.open().unwrap();
        assert!(gate.check(&token).unwrap());
        assert!(!gate.check(&old).unwrap() && !gate.check(&Secret::new(String::new())).unwrap());
        gate.close();
        assert!(matches!(gate.check(&token), Err(AuthRefusal::SetupDone)));
    }
}
