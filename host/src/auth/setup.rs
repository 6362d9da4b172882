use crate::auth::password::{Passwords, check_new};
use crate::auth::{AccountFault, AuthRefusal, token};
use crate::model::{Role, Secret};
use crate::store::{Account, AuditRecord, Store, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes that an account's name has at most, as in the contract of auth strategies.
const NAME_BYTES_MAX: usize = 255;

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
    let account = Account {
        name: username.to_owned(),
        password_hash: passwords.hash(password).await?,
        role: Role::Admin,
        is_disabled: false,
        created: now,
    };
    store
        .create_first_account(account, audit)
        .await
        .map_err(|error| if matches!(error, StoreError::AccountsExist) { AuthRefusal::SetupDone } else { error.into() })
}

/// The rules for a name: no text that could be mistaken for another one or break a line.
fn check_name(name: &str) -> Result<(), AccountFault> {
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
