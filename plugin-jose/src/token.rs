use crate::{Algorithm, Claims, Refusal};
use jwt_compact::UntrustedToken;
use serde_json::{Map, Value};

/// A text that has the form of a signed token. Nothing in it is to be believed yet.
pub struct Token<'t> {
    pub(crate) untrusted: UntrustedToken<'t, Map<String, Value>>,
    claimed: Claims,
}

/// Bytes that a token may have.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoToken {
    /// Not three parts in base64url of which the first two are JSON objects.
    OtherForm,
    /// More than [`TOKEN_BYTES_MAX`].
    TooLarge,
}

impl<'t> Token<'t> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// [`NoToken`].
    ///
    /// Source: RFC 7515 section 7.1, RFC 7519 section 7.2.
    pub fn parse(text: &'t str) -> Result<Self, NoToken> {
        if text.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(NoToken::OtherForm);
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(NoToken::TooLarge);
        }
        let untrusted = UntrustedToken::try_from(text).map_err(|_| NoToken::OtherForm)?;
        let claimed = untrusted.deserialize_claims_unchecked().map_err(|_| NoToken::OtherForm)?;
        Ok(Self { untrusted, claimed: Claims::from(claimed) })
    }

    /// Whom it says it is from. Good for choosing whom to ask, and for nothing else.
    #[must_use]
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claimed.text("iss")
    }

    /// The algorithm that it says it is signed with, if that is one of those allowed.
    ///
    /// # Errors
    /// [`Refusal::Algorithm`], also for `none`; [`Refusal::Critical`].
    pub fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Refusal> {
        // Extensions that whoever does not know them has to refuse; we know none.
        if self.untrusted.header().other_fields.contains_key("crit") {
            return Err(Refusal::Critical);
        }
        let algorithm = Algorithm::parse(self.untrusted.algorithm());
        algorithm.filter(|algorithm| allowed.contains(algorithm)).ok_or(Refusal::Algorithm)
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.untrusted.header().key_id.as_deref()
    }
}
