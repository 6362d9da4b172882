use crate::auth::AuthRefusal;
use crate::model::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Begins every token, so that one that leaked is recognised as ours.
const PREFIX: &str = "omni_";
const RANDOM_BYTES: usize = 32;
/// The prefix and 32 bytes in base64 without padding.
const LENGTH: usize = PREFIX.len() + 43;

/// A new token of 256 random bits.
pub(super) fn new() -> Result<Secret, AuthRefusal> {
    Ok(Secret::new(format!("{PREFIX}{}", word()?.reveal())))
}

/// 256 random bits as 43 characters that may stand in a URL, a header or a cookie.
pub(super) fn word() -> Result<Secret, AuthRefusal> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<RANDOM_BYTES>()?)))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AuthRefusal> {
    let mut random = [0_u8; N];
    getrandom::fill(&mut random).map_err(|_| AuthRefusal::Internal { what: "the system's random source" })?;
    Ok(random)
}

/// Whether a text claims to be a session's token. Such a text goes to no strategy, also when it is cut short.
pub(super) fn is_of_session(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// What is kept of a token: its SHA-256. A token holds 256 random bits, so nothing slower is needed.
///
/// `None` for a text that no token looks like, which saves the look into the store.
pub(super) fn digest(token: &str) -> Option<[u8; 32]> {
    let is_one = token.len() == LENGTH && token.starts_with(PREFIX);
    is_one.then(|| sha256(token))
}

/// SHA-256 of a text.
pub(super) fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares two digests in a time that does not depend on where they differ.
pub(super) fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ours_long_and_never_the_same() {
        let tokens: std::collections::HashSet<_> = (0..100).map(|_| new().unwrap().reveal().to_owned()).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| digest(token).is_some()));
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let token = new().unwrap();
        let token = token.reveal();
        for bad in ["", "omni_", &token[1..], &format!("{token}A"), &token.replace("omni_", "oknm_")] {
            assert_eq!(digest(bad), None, "{bad}");
        }
    }

    #[test]
    fn digests_are_the_same_only_when_every_byte_is() {
        let a = digest(new().unwrap().reveal()).unwrap();
        assert!(is_same(&a, &a.clone()));
        for at in 0..32 {
            let mut b = a;
            b[at] ^= 1;
            assert!(!is_same(&a, &b), "byte {at}");
        }
    }
}
