use crate::{Algorithm, Claims, KeySet, KeySource, NotVerified, Refusal, Token};

/// What a token has to be to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'p> {
    /// Whom it has to be from, letter for letter.
    pub issuer: &'p str,
    /// For whom it has to be, letter for letter, alone or among others.
    pub audience: &'p str,
    /// How it may be signed.
    pub algorithms: &'p [Algorithm],
    /// How far clocks may be apart, in seconds.
    pub leeway_s: u32,
}

/// Keys that are tried on one token, for issuers that name none: the old one and the new. Each try is 16 to 60 million
/// units of fuel for RSA, and anybody may ask for it.
pub const TRIES_MAX: usize = 2;

/// Checks the signature of a token, then what it says.
///
/// # Errors
/// [`NotVerified::Refused`] with what is wrong with the token, [`NotVerified::Fault`] when its issuer's keys cannot be
/// had.
pub fn verify(
    token: &Token<'_>,
    policy: &Policy<'_>,
    source: &mut dyn KeySource,
    now_ms: u64,
) -> Result<Claims, NotVerified> {
    let algorithm = token.algorithm(policy.algorithms)?;
    let claims = match open(token, algorithm, &source.keys()?) {
        Err(Refusal::UnknownKey) => match source.newer_keys()? {
            Some(keys) => open(token, algorithm, &keys)?,
            None => return Err(Refusal::UnknownKey.into()),
        },
        opened => opened?,
    };
    check(&claims, policy, now_ms)?;
    Ok(claims)
}

fn open(token: &Token<'_>, algorithm: Algorithm, keys: &KeySet) -> Result<Claims, Refusal> {
    let candidates = keys.candidates(token.key_id(), algorithm);
    match candidates.len() {
        0 => Err(Refusal::UnknownKey),
        1..=TRIES_MAX => {
            let opened = candidates.iter().find_map(|key| key.open(algorithm, &token.untrusted));
            opened.map(Claims::from).ok_or(Refusal::Signature)
        }
        _ => Err(Refusal::AmbiguousKey),
    }
}

fn check(claims: &Claims, policy: &Policy<'_>, now_ms: u64) -> Result<(), Refusal> {
    if claims.text("iss") != Some(policy.issuer) {
        return Err(Refusal::Issuer);
    }
    if !claims.texts("aud").contains(&policy.audience) {
        return Err(Refusal::Audience);
    }
    let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let leeway_s = i64::from(policy.leeway_s);
    if now_s >= claims.expires_s.ok_or(Refusal::NoExpiry)?.saturating_add(leeway_s) {
        return Err(Refusal::Expired);
    }
    let latest_start_s = claims.not_before_s.max(claims.issued_s);
    if latest_start_s.is_some_and(|start_s| start_s > now_s.saturating_add(leeway_s)) {
        return Err(Refusal::NotYet);
    }
    Ok(())
}
