use crate::auth::recognise::Recognised;
use crate::auth::{Action, AuthRefusal, KeyFault, allows, token};
use crate::model::{Object, Secret};
use crate::plugin::{ApiKey, ApiKeys};
use crate::store::{AuditRecord, IssuedKey, Store, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Begins every key, so that one that leaked is recognised as ours.
const PREFIX: &str = "ovk_";
const ID_BYTES: usize = 8;
/// Characters of a label.
const LABEL_CHARACTERS_MAX: usize = 100;
/// How often the last use of a key is written down, at most.
const TOUCH_INTERVAL: Duration = Duration::from_secs(300);

/// The API keys: `ovk_ID_SECRET`, shown once, kept as digests.
pub struct Keys {
    store: Store,
    /// Goes up whenever a key ends before its time, so that nobody goes on believing in it.
    epoch: AtomicU64,
}

/// What somebody wants of a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWish {
    /// What its owner calls it.
    pub label: String,
    /// The actions that it is to be limited to; empty for all that the account may.
    pub scopes: Vec<String>,
    /// When it is to end.
    pub expires: Option<SystemTime>,
}

impl KeyWish {
    /// Everything that is wrong with it: a key may do and last no more than the credential that it is made with.
    pub(super) fn faults(&self, caller: &Recognised, now: SystemTime) -> Vec<KeyFault> {
        let mut faults = Vec::new();
        let characters = self.label.chars().count();
        if !(1..=LABEL_CHARACTERS_MAX).contains(&characters) || self.label.chars().any(char::is_control) {
            faults.push(KeyFault::Label { max: LABEL_CHARACTERS_MAX });
        }
        if self.scopes.is_empty() && !caller.principal.scopes.is_empty() {
            faults.push(KeyFault::ScopesNeeded);
        }
        if self.scopes.len() > Action::ALL.len() {
            faults.push(KeyFault::TooManyScopes { max: Action::ALL.len() });
            return faults;
        }
        for (index, scope) in self.scopes.iter().enumerate() {
            match Action::parse(scope) {
                None => faults.push(KeyFault::UnknownScope { index }),
                Some(action) if !allows(&caller.principal.rights, action, Object::Somewhere) => {
                    faults.push(KeyFault::ScopeExceeds { index, action })
                }
                Some(_) => {}
            }
        }
        match (self.expires, caller.credential_expires()) {
            (Some(expires), _) if expires <= now => faults.push(KeyFault::Past),
            (wanted, Some(own)) if wanted.is_none_or(|wanted| wanted > own) => faults.push(KeyFault::Outlives),
            (None | Some(_), None | Some(_)) => {}
        }
        faults
    }
}

impl Keys {
    /// The keys in a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, epoch: AtomicU64::new(0) }
    }

    /// Makes a key for an account, and appends `audit` with the key's id as its target in the same transaction. The text is
    /// shown this once.
    pub(super) async fn issue(
        &self,
        account: &str,
        wish: KeyWish,
        audit: AuditRecord,
        now: SystemTime,
    ) -> Result<(Secret, IssuedKey), AuthRefusal> {
        let id: String = token::random::<ID_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = Secret::new(format!("{PREFIX}{id}_{}", token::word()?.reveal()));
        let KeyWish { label, scopes, expires } = wish;
        let key = IssuedKey {
            hash: token::sha256(text.reveal()),
            account: account.to_owned(),
            label,
            scopes,
            created: now,
            expires,
            last_used: None,
            revoked: None,
            id,
        };
        self.store.create_api_key(key.clone(), AuditRecord { target: key.id.clone(), ..audit }).await?;
        Ok((text, key))
    }

    /// Revokes a key at once, here and in the store. False if it was revoked before.
    pub(super) async fn revoke(&self, id: &str, audit: AuditRecord, now: SystemTime) -> Result<bool, StoreError> {
        let was_good = self.store.revoke_api_key(id, now, audit).await?;
        // After the store: whoever looks from now on finds it revoked.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(was_good)
    }

    /// Keys have gone with their account: nobody is to go on believing in them.
    pub(super) fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Differs from what it was when a key has been revoked since.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The good key that a text is, of an account that may be used.
    pub(super) fn find_at(&self, text: &str, now: SystemTime) -> Result<Option<IssuedKey>, StoreError> {
        let Some(id) = id_of(text) else { return Ok(None) };
        let Some(key) = self.store.api_key(id)? else { return Ok(None) };
        if !token::is_same(&token::sha256(text), &key.hash) || !key.is_good(now) {
            return Ok(None);
        }
        if self.store.account(&key.account)?.is_none_or(|account| account.is_disabled) {
            return Ok(None);
        }
        let since = key.last_used.map(|last| now.duration_since(last).unwrap_or_default());
        if since.is_none_or(|since| since >= TOUCH_INTERVAL)
            && let Err(error) = self.store.touch_api_key(&key.id, now)
        {
            tracing::debug!(%error, key = key.id, "the last use of an API key was not noted");
        }
        Ok(Some(key))
    }
}

impl ApiKeys for Keys {
    fn find(&self, text: Secret) -> Result<Option<ApiKey>, String> {
        let found = self.find_at(text.reveal(), SystemTime::now()).map_err(|error| error.to_string())?;
        Ok(found.map(|IssuedKey { id, account, scopes, expires, .. }| ApiKey { id, account, scopes, expires }))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// The id in a text that has a key's form.
pub(super) fn id_of(text: &str) -> Option<&str> {
    // The secret may hold an underscore, the id cannot.
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 2 * ID_BYTES && is_hex && secret.len() == 43).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stands_between_the_prefix_and_the_secret() {
        let secret = "_".repeat(43);
        assert_eq!(id_of(&format!("ovk_0123456789abcdef_{secret}")), Some("0123456789abcdef"));
        for bad in [
            "",
            "ovk_",
            "ovk__",
            "ovk_0123456789abcdef",
            &format!("ovk_0123456789ABCDEF_{secret}"),
            &format!("ovk_0123456789abcde_{secret}"),
            &format!("ovk_0123456789abcdef_{secret}_"),
            &format!("omni_0123456789abcdef_{secret}"),
        ] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
