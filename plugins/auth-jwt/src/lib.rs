//! Auth strategy: bearer tokens that an issuer elsewhere has signed.
//!
//! A token of another issuer is left to the next strategy, so that several of these may stand in one chain; what is from
//! this issuer is granted or denied here.

mod settings;

use crate::settings::Settings;
use plugin_jose::{FixedKeys, KeySource, NoToken, NotVerified, Policy, PublishedKeys, Refusal, Token, verify};
use plugin_sdk::strategy::{Credential, Identity, RequestFacts, StrategyInfo, Verdict};
use plugin_sdk::{AuthStrategy, Fault, HostHttp, Http};

/// The strategy.
#[derive(Debug)]
pub struct Jwt;

/// What the host offers, or a test in its place.
struct Host<'h> {
    settings: &'h str,
    now_ms: u64,
    http: &'h mut dyn Http,
    secret: fn(&str) -> Result<String, String>,
}

impl AuthStrategy for Jwt {
    fn describe() -> Result<StrategyInfo, Fault> {
        describe(&plugin_sdk::settings::get(), plugin_sdk::secrets::get)
    }

    fn authenticate(credential: Credential, _facts: RequestFacts) -> Result<Verdict, Fault> {
        let settings = plugin_sdk::settings::get();
        let now_ms = plugin_sdk::clock::now_ms();
        let host = Host { settings: &settings, now_ms, http: &mut HostHttp, secret: plugin_sdk::secrets::get };
        judge(host, credential)
    }
}

fn describe(settings: &str, secret: fn(&str) -> Result<String, String>) -> Result<StrategyInfo, Fault> {
    let settings = Settings::read(settings)?;
    if settings.needs_secret() {
        settings.secret(secret)?;
    }
    Ok(StrategyInfo { credentials: vec!["bearer".to_owned()], request_headers: Vec::new(), extra: Vec::new() })
}

fn judge(host: Host<'_>, credential: Credential) -> Result<Verdict, Fault> {
    let text = match credential {
        Credential::Bearer(text) => text,
        Credential::Password(_) | Credential::Headers(_) | Credential::Other(_) => return Ok(Verdict::NotMine),
    };
    let token = match Token::parse(&text) {
        Ok(token) => token,
        Err(NoToken::OtherForm) => return Ok(Verdict::NotMine),
        Err(NoToken::TooLarge) => return Ok(Refusal::TooLarge.into()),
    };
    let settings = Settings::read(host.settings)?;
    if token.claimed_issuer() != Some(&settings.issuer) {
        return Ok(Verdict::NotMine);
    }
    match identify(host, &settings, &token) {
        Ok(identity) => Ok(Verdict::Granted(identity)),
        Err(NotVerified::Refused(refusal)) => Ok(refusal.into()),
        Err(NotVerified::Fault(fault)) => Err(fault),
    }
}

fn identify(host: Host<'_>, settings: &Settings, token: &Token<'_>) -> Result<Identity, NotVerified> {
    let policy = Policy {
        issuer: &settings.issuer,
        audience: &settings.audience,
        algorithms: &settings.algorithms,
        leeway_s: settings.leeway_s,
    };
    let Host { now_ms, http, secret, settings: _ } = host;
    // The token's word is taken for one thing only: which of the operator's algorithms it is.
    let algorithm = token.algorithm(&settings.algorithms)?;
    let mut fixed;
    let mut published;
    let source: &mut dyn KeySource = match &settings.jwks_url {
        _ if algorithm.secret_bytes_min() > 0 => {
            fixed = FixedKeys::new(settings.secret(secret)?);
            &mut fixed
        }
        Some(url) => {
            published = PublishedKeys::new(http, url);
            &mut published
        }
        None => {
            fixed = FixedKeys::new(settings.fixed_keys()?);
            &mut fixed
        }
    };
    let claims = verify(token, &policy, source, now_ms)?;
    let expires_ms = claims.expires_s.map(|time_s| expiry_ms(time_s, settings.leeway_s, now_ms));
    Ok(settings.person_rule(&[&settings.name_claim]).identify(&claims, expires_ms)?)
}

/// `exp`, or the end of the leeway where only that is still to come.
fn expiry_ms(expires_s: i64, leeway_s: u32, now_ms: u64) -> u64 {
    let ms = |time_s: i64| u64::try_from(time_s).unwrap_or_default().saturating_mul(1000);
    let expires_ms = ms(expires_s);
    if expires_ms > now_ms { expires_ms } else { ms(expires_s.saturating_add(i64::from(leeway_s))) }
}

plugin_sdk::export_auth_strategy!(Jwt);

#[cfg(test)]
mod tests;
