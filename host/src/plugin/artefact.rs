//! Compiled code, and why it may be run. The one file with `unsafe` in it.
//!
//! The engine runs whatever a compiled file says: one flipped byte is accepted and executed. So an [`Artefact`] is made
//! in two ways only: from our own compiler, or from a file whose keyed digest is ours.

use crate::model::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the digest in front of a sealed artefact.
pub(super) const SEAL_BYTES: usize = 32;

/// Changes when what is sealed, or how, changes.
const DOMAIN: &[u8] = b"omnivisor artefact 1";

/// Machine code that our compiler made, exactly as it made it.
pub(super) struct Artefact {
    bytes: Vec<u8>,
    /// Where the code begins: behind the seal, if it was read with one.
    start: usize,
}

/// What an artefact was made of and for. It is sealed with the code: a file under another's name is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Of the server, the engine's version, its settings and this machine's kind, in hexadecimal.
    pub engine: String,
}

/// Seals artefacts and knows its own seals again.
#[derive(Clone)]
pub(super) struct Seal(Hmac<Sha256>);

impl Artefact {
    /// What our own compiler has just made.
    pub(super) fn compiled(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// The machine code.
    pub(super) fn code(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Makes it a component of this engine, which has to be of the kind that it was compiled for.
    ///
    /// # Errors
    /// The engine's words, when it is for another kind of engine or processor.
    #[expect(unsafe_code, reason = "the engine cannot check machine code; its origin was checked instead")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are those that `Engine::precompile_component` made, in this process or in one of ours, or
        // carry our seal. They are copied from memory that nobody else can write to, not mapped from a file.
        unsafe { Component::deserialize(engine, self.code()) }
    }
}

impl Origin {
    /// `server` tells servers apart that keep their code in one directory.
    pub(super) fn new(digest: &str, engine: &Engine, server: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        server.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Self { digest: digest.to_owned(), engine: format!("{:016x}", hasher.finish()) }
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}.cwasm", self.digest, self.engine)
    }
}

impl Seal {
    /// # Errors
    /// A sentence, when the key is empty.
    pub(super) fn new(key: &Secret) -> Result<Self, String> {
        let key = key.reveal().as_bytes();
        if key.is_empty() {
            return Err("there is no key".to_owned());
        }
        Hmac::new_from_slice(key).map(Self).map_err(|error| error.to_string())
    }

    /// What tells this key from others, and nothing about it.
    pub(super) fn id(&self) -> [u8; SEAL_BYTES] {
        self.0.clone().chain_update(b"omnivisor server").finalize().into_bytes().into()
    }

    /// The seal of an artefact.
    pub(super) fn of(&self, origin: &Origin, artefact: &Artefact) -> [u8; SEAL_BYTES] {
        self.over(origin, artefact.code()).finalize().into_bytes().into()
    }

    /// Takes a file that was read whole for an artefact, if it begins with the seal of the rest.
    pub(super) fn open(&self, origin: &Origin, bytes: Vec<u8>) -> Option<Artefact> {
        let (seal, code) = bytes.split_at_checked(SEAL_BYTES)?;
        // Compares in constant time.
        self.over(origin, code).verify_slice(seal).ok()?;
        Some(Artefact { bytes, start: SEAL_BYTES })
    }

    fn over(&self, origin: &Origin, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [DOMAIN, origin.digest.as_bytes(), origin.engine.as_bytes(), code] {
            // With its length, so that no part can be taken for the end of another.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &str) -> Seal {
        Seal::new(&Secret::new(key.to_owned())).expect("a key")
    }

    fn origin(digest: &str, engine: &str) -> Origin {
        Origin { digest: digest.to_owned(), engine: engine.to_owned() }
    }

    #[test]
    fn a_seal_holds_for_the_same_code_of_the_same_origin_under_the_same_key_alone() {
        let (ours, from) = (seal("ours"), origin("aa", "11"));
        let artefact = Artefact::compiled(b"code".to_vec());
        let sealed = [ours.of(&from, &artefact).as_slice(), b"code"].concat();
        assert_eq!(ours.open(&from, sealed.clone()).expect("whole").code(), b"code");
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(ours.open(&from, flipped).is_none(), "byte {at}");
        }
        for end in 0..sealed.len() {
            assert!(ours.open(&from, sealed[..end].to_vec()).is_none(), "cut at {end}");
        }
        assert!(ours.open(&from, [sealed.as_slice(), b"x"].concat()).is_none(), "longer");
        assert!(ours.open(&origin("ab", "11"), sealed.clone()).is_none(), "of another component");
        assert!(ours.open(&origin("aa", "12"), sealed.clone()).is_none(), "for another engine");
        assert!(ours.open(&origin("aa1", "1"), sealed.clone()).is_none(), "the parts do not run together");
        assert!(seal("theirs").open(&from, sealed).is_none(), "under another key");
        assert!(Seal::new(&Secret::new(String::new())).is_err());
        assert_eq!(format!("{:?}", seal("hunter2")), "Seal(***)");
    }
}
