use crate::auth::slots::Slots;
use crate::auth::{AccountFault, AuthRefusal};
use crate::model::Secret;
use crate::plugin::{Accounts, BoxFuture, PasswordCheck};
use crate::store::Store;
use crate::task::TaskGroup;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::time::Duration;

/// Characters that a new password has at least.
const CHARACTERS_MIN: usize = 12;
/// Bytes that a password has at most. Longer ones are refused before they cost anything.
const BYTES_MAX: usize = 1_024;
/// Hashes that may wait for a core.
const WAITERS_MAX: usize = 64;
/// How long a hash waits for a core.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// argon2id with 19 MiB, 2 passes, 1 lane. Source: OWASP's Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash of nothing, of the same cost, to compare with where there is no account. No known password has it.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$b21uaXZpc29yLWR1bW15$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Hashes passwords, and checks them against the stored accounts. At most one hash a core runs at a time, on blocking
/// threads, so that memory stays bounded and the server goes on answering.
pub struct Passwords {
    store: Store,
    tracker: TaskGroup,
    slots: Slots,
    #[cfg(test)]
    pub(super) hashes: std::sync::atomic::AtomicUsize,
}

impl Passwords {
    /// Checks against the accounts of `store`, hashing on blocking threads that `tracker` waits for.
    #[must_use]
    pub fn new(store: Store, tracker: TaskGroup) -> Self {
        Self {
            store,
            tracker,
            slots: Slots::new(cores(), WAITERS_MAX, WAIT_MAX),
            #[cfg(test)]
            hashes: Default::default(),
        }
    }

    /// The PHC string of a new password, which has passed [`check_new`].
    ///
    /// # Errors
    /// [`AuthRefusal::Busy`], [`AuthRefusal::Internal`].
    ///
    /// # Cancel safety
    /// A hash that was begun is finished and thrown away.
    pub(super) async fn hash(&self, password: Secret) -> Result<Secret, AuthRefusal> {
        const WHAT: AuthRefusal = AuthRefusal::Internal { what: "hashing the password" };
        let hashed =
            self.work(move |argon2| Some(argon2.hash_password(password.reveal().as_bytes()).ok()?.to_string()));
        hashed.await?.map(Secret::new).ok_or(WHAT)
    }

    /// Whether it is the password of this account. Costs the same where there is none.
    ///
    /// # Errors
    /// [`AuthRefusal::Busy`], [`AuthRefusal::Store`], [`AuthRefusal::Internal`].
    pub(super) async fn check(&self, username: String, password: Secret) -> Result<PasswordCheck, AuthRefusal> {
        if password.reveal().len() > BYTES_MAX {
            return Ok(PasswordCheck::Differs);
        }
        let account = self.store.account(&username)?;
        let is_enabled = account.as_ref().is_some_and(|account| !account.is_disabled);
        let stored = account.map_or_else(|| Secret::new(DUMMY.into()), |account| account.password_hash);
        let matches = self.work(move |argon2| {
            let hash = PasswordHash::new(stored.reveal()).ok();
            hash.is_some_and(|hash| argon2.verify_password(password.reveal().as_bytes(), &hash).is_ok())
        });
        // The work comes first: whether there is such an account must not show in the time.
        let matches = matches.await?;
        Ok(if matches && is_enabled { PasswordCheck::Matches } else { PasswordCheck::Differs })
    }

    /// Runs one hash on a blocking thread. The slot goes with the work, not with the caller, who may leave.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, AuthRefusal> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
        let params = params.map_err(|_| AuthRefusal::Internal { what: "setting up argon2" })?;
        let slot = self.slots.enter().await.ok_or(AuthRefusal::BUSY)?;
        #[cfg(test)]
        self.hashes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let work = self.tracker.spawn_blocking(move || {
            let _slot = slot;
            work(&Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
        });
        work.await.map_err(|_| AuthRefusal::Internal { what: "a hashing thread" })
    }
}

impl Accounts for Passwords {
    fn check_password(&self, username: String, password: Secret) -> BoxFuture<'_, Result<PasswordCheck, String>> {
        Box::pin(async move { self.check(username, password).await.map_err(|refusal| refusal.to_string()) })
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

/// Cores of this machine, which is how many hashes run at a time.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The rules for a new password.
///
/// # Errors
/// [`AccountFault::PasswordTooShort`], [`AccountFault::PasswordTooLong`].
pub fn check_new(password: &Secret) -> Result<(), AccountFault> {
    let bytes = password.reveal().len();
    if bytes > BYTES_MAX {
        return Err(AccountFault::PasswordTooLong { bytes, max: BYTES_MAX });
    }
    let characters = password.reveal().chars().count();
    if characters < CHARACTERS_MIN {
        return Err(AccountFault::PasswordTooShort { characters, min: CHARACTERS_MIN });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_hash_costs_the_same_as_a_real_one() {
        let dummy = PasswordHash::new(DUMMY).unwrap();
        let params = Params::try_from(&dummy).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!((dummy.algorithm.as_str(), dummy.version), ("argon2id", Some(19)));
        assert_eq!(dummy.hash.unwrap().as_bytes().len(), Params::DEFAULT_OUTPUT_LEN);
    }

    #[test]
    fn a_new_password_is_neither_short_nor_endless() {
        let check = |text: String| check_new(&Secret::new(text));
        assert_eq!(check("elevenchars".into()), Err(AccountFault::PasswordTooShort { characters: 11, min: 12 }));
        assert_eq!(check("ä".repeat(11)), Err(AccountFault::PasswordTooShort { characters: 11, min: 12 }));
        assert_eq!(check("x".repeat(1_025)), Err(AccountFault::PasswordTooLong { bytes: 1_025, max: 1_024 }));
        assert_eq!(check("twelve chars".into()), Ok(()));
        assert_eq!(check("x".repeat(1_024)), Ok(()));
    }
}
