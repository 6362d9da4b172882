use crate::{Algorithm, Key, KeyError};
use serde::Deserialize;
use serde_json::Value;

/// The keys of one issuer, at most [`KEYS_MAX`].
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// Keys that a set may have. No issuer has more than a handful at once.
pub const KEYS_MAX: usize = 64;

/// Why a document is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySetError {
    /// No JSON object with an array `keys`.
    Malformed,
    /// It has so many keys, and [`KEYS_MAX`] are the most.
    TooMany(usize),
}

impl KeySetError {
    /// What is wrong, for people.
    #[must_use]
    pub fn problem(self) -> String {
        match self {
            Self::Malformed => "it is not a JSON object with an array `keys`".to_owned(),
            Self::TooMany(count) => format!("it has {count} keys, and {KEYS_MAX} are the most"),
        }
    }
}

impl KeySet {
    /// Reads what an issuer publishes. Keys of no use here are left out: a set may hold some for other purposes.
    ///
    /// # Errors
    /// [`KeySetError`].
    ///
    /// Source: RFC 7517 section 5, which asks to ignore what is not understood.
    pub fn from_json(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } = serde_json::from_slice(text).map_err(|_| KeySetError::Malformed)?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(keys.len()));
        }
        Ok(Self { keys: keys.iter().filter_map(|key| Key::from_jwk(key).ok()).collect() })
    }

    /// Takes keys that an operator wrote down, all of which have to be of use.
    ///
    /// # Errors
    /// The index of the first that is not, and why.
    pub fn from_jwks(keys: &[Value]) -> Result<Self, (usize, KeyError)> {
        let keys = keys.iter().enumerate().map(|(index, key)| Key::from_jwk(key).map_err(|error| (index, error)));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// The keys that a token of that algorithm and key id may be signed with: those with its id, or else those without
    /// any. A token without an id may be signed with each.
    pub(crate) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let fitting = || self.keys.iter().filter(|key| key.fits(algorithm));
        let Some(id) = id else { return fitting().collect() };
        let of_that_id: Vec<_> = fitting().filter(|key| key.id.as_deref() == Some(id)).collect();
        if of_that_id.is_empty() { fitting().filter(|key| key.id.is_none()).collect() } else { of_that_id }
    }
}

impl From<Key> for KeySet {
    fn from(key: Key) -> Self {
        Self { keys: vec![key] }
    }
}
