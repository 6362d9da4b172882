//! Secrets at rest: sealed with a key that is not in the database, and bound to what they are for.
//!
//! The only file that names ring. A sealed secret opens under its key, for its kind, its name and what it is bound to; put
//! under another name or for another address, it does not.

use crate::config::{STORAGE_KEY_BYTES, StorageKey};
use crate::model::Secret;
use crate::store::StoreError;
use crate::store::record::{decode, encode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a secret is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// The password of a node that the API owns.
    NodePassword,
}

impl SecretKind {
    /// The word that its records begin with.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NodePassword => "node",
        }
    }
}

/// Where a secret belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace {
    /// What it is of.
    pub kind: SecretKind,
    /// Of which one.
    pub name: String,
    /// What it may be used for, as a node's address: for anything else it does not open.
    pub bound_to: String,
}

impl SecretPlace {
    /// The key of its record.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }
}

/// Why a secret cannot be had. Nobody can do anything about it but to give it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretGap {
    /// There is none.
    #[error("it is not kept")]
    Absent,
    /// It is sealed, and there is no key.
    #[error("it is sealed, and `[storage]` names no key")]
    NoKey,
    /// It is sealed for something else, or was changed.
    #[error("it was given for another address or adapter")]
    Elsewhere,
}

/// The form on the disk.
#[derive(Serialize, Deserialize)]
struct SecretRecord {
    /// Which key seals it.
    key_id: String,
    /// Part of what is authenticated, and kept so that a rotation knows it.
    bound_to: String,
    /// Nonce and sealed text.
    sealed: String,
}

/// What the check value is of: no record has such a key.
const CHECK: &str = "check";

/// A key that is ready.
pub(super) struct Sealer {
    key: LessSafeKey,
    id: String,
}

impl Sealer {
    /// # Errors
    /// [`StoreError::Sealing`], which does not happen with a key of the right length.
    pub(super) fn new(key: &StorageKey) -> Result<Self, StoreError> {
        let bytes: &[u8; STORAGE_KEY_BYTES] = key.reveal();
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, bytes).map_err(|_| StoreError::Sealing)?;
        Ok(Self { key: LessSafeKey::new(unbound), id: key_id(bytes) })
    }

    /// The public name of the key.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A record that holds a secret for its place.
    pub(super) fn seal(&self, place: &SecretPlace, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        self.seal_as(&place.key(), &place.bound_to, secret.reveal().as_bytes())
    }

    /// What says later which key it was.
    pub(super) fn check(&self) -> Result<Vec<u8>, StoreError> {
        self.seal_as(CHECK, "", b"")
    }

    /// The secret of a record, if it is this place's.
    pub(super) fn open(&self, place: &SecretPlace, record: &[u8]) -> Result<Secret, SecretGap> {
        let record: SecretRecord = decode(record).ok_or(SecretGap::Elsewhere)?;
        if record.bound_to != place.bound_to {
            return Err(SecretGap::Elsewhere);
        }
        let text = self.open_as(&place.key(), &record).ok_or(SecretGap::Elsewhere)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| SecretGap::Elsewhere)
    }

    /// Whether this is the key that a check value was made with.
    pub(super) fn made(&self, check: &[u8]) -> bool {
        decode::<SecretRecord>(check).is_some_and(|record| self.open_as(CHECK, &record).is_some())
    }

    /// The same record under another key. None if it does not open under this one.
    pub(super) fn reseal(&self, name: &str, record: &[u8], to: &Self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(record) = decode::<SecretRecord>(record) else { return Ok(None) };
        let Some(text) = self.open_as(name, &record) else { return Ok(None) };
        to.seal_as(name, &record.bound_to, &text).map(Some)
    }

    fn seal_as(&self, name: &str, bound_to: &str, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| StoreError::Sealing)?;
        let mut sealed = text.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated(name, bound_to));
        self.key.seal_in_place_append_tag(unique, aad, &mut sealed).map_err(|_| StoreError::Sealing)?;
        let sealed = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat());
        let record = SecretRecord { key_id: self.id.clone(), bound_to: bound_to.to_owned(), sealed };
        encode(&record).map_err(|_| StoreError::Sealing)
    }

    fn open_as(&self, name: &str, record: &SecretRecord) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(&record.sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = sealed.to_vec();
        let aad = Aad::from(associated(name, &record.bound_to));
        Some(self.key.open_in_place(nonce, aad, &mut text).ok()?.to_vec())
    }
}

/// The public name of the key that a record or check value is sealed with.
pub(super) fn key_id_of(record: &[u8]) -> Option<String> {
    decode::<SecretRecord>(record).map(|record| record.key_id)
}

/// From 32 random bytes, of which eight bytes of a hash tell nothing.
fn key_id(key: &[u8; STORAGE_KEY_BYTES]) -> String {
    let hash = Sha256::new().chain_update(b"omnivisor storage key id\0").chain_update(key).finalize();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What is authenticated beside the text. Lengths stand first, so that no two pairs look alike.
fn associated(name: &str, bound_to: &str) -> Vec<u8> {
    let mut bytes = b"omnivisor secret 1".to_vec();
    for part in [name, bound_to] {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> StorageKey {
        StorageKey::of_test(seed)
    }

    fn place(name: &str, bound_to: &str) -> SecretPlace {
        SecretPlace { kind: SecretKind::NodePassword, name: name.into(), bound_to: bound_to.into() }
    }

    proptest! {
        #[test]
        fn p17_a_sealed_secret_opens_only_under_its_key_its_name_and_its_address(
            name in "[a-z]{1,9}", bound_to in ".{0,40}", text in ".{0,300}", other in "[a-z]{1,9}", elsewhere in ".{0,40}",
            at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let sealer = Sealer::new(&key(1)).unwrap();
            let (here, secret) = (place(&name, &bound_to), Secret::new(text.clone()));
            let record = sealer.seal(&here, &secret).unwrap();
            prop_assert_eq!(sealer.open(&here, &record).unwrap(), secret);
            prop_assert!(Sealer::new(&key(2)).unwrap().open(&here, &record).is_err());
            if other != name {
                prop_assert!(sealer.open(&place(&other, &bound_to), &record).is_err());
            }
            if elsewhere != bound_to {
                prop_assert!(sealer.open(&place(&name, &elsewhere), &record).is_err());
                // Whoever can write the file cannot say that it was for elsewhere, either.
                let mut moved: SecretRecord = decode(&record).unwrap();
                moved.bound_to = elsewhere.clone();
                prop_assert!(sealer.open(&place(&name, &elsewhere), &encode(&moved).unwrap()).is_err());
            }
            let mut changed: SecretRecord = decode(&record).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&changed.sealed).unwrap();
            *at.get_mut(&mut bytes) ^= 1 << bit;
            changed.sealed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(sealer.open(&here, &encode(&changed).unwrap()).is_err());
        }

        #[test]
        fn no_bytes_make_the_opener_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sealer = Sealer::new(&key(1)).unwrap();
            prop_assert!(sealer.open(&place("a", ""), &bytes).is_err() && !sealer.made(&bytes));
        }
    }

    #[test]
    fn the_same_secret_is_sealed_another_way_each_time_and_the_check_value_knows_its_key() {
        let (sealer, other) = (Sealer::new(&key(1)).unwrap(), Sealer::new(&key(2)).unwrap());
        let (here, secret) = (place("a", "b"), Secret::new("x".into()));
        assert_ne!(sealer.seal(&here, &secret).unwrap(), sealer.seal(&here, &secret).unwrap());
        let check = sealer.check().unwrap();
        assert!(sealer.made(&check) && !other.made(&check));
        assert_eq!(key_id_of(&check).as_deref(), Some(sealer.id()));
        assert_ne!(sealer.id(), other.id());
        let resealed = sealer.reseal("node/a", &sealer.seal(&here, &secret).unwrap(), &other).unwrap().unwrap();
        assert_eq!(other.open(&here, &resealed).unwrap(), secret);
    }
}
