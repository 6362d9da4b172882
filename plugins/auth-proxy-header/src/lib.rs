//! Auth strategy: the name that a trusted proxy puts into a header.
//!
//! The header is worth as much as the address that the connection comes from, which the host sees itself. What headers
//! say about addresses (`x-forwarded-for`) is never looked at.

mod settings;

use crate::settings::Settings;
use plugin_identity::{BadName, external};
use plugin_sdk::strategy::{Credential, RequestFacts, StrategyInfo, Verdict};
use plugin_sdk::{AuthStrategy, Fault};

/// The strategy.
#[derive(Debug)]
pub struct ProxyHeader;

/// The header comes from somewhere that nobody trusts.
const UNTRUSTED_PEER: &str = "untrusted_peer";
/// A header is there twice: a proxy that adds where it should replace lets its clients choose.
const REPEATED_HEADER: &str = "repeated_header";
/// No word in the header gives a role, and there is no role for all.
const NO_ROLE: &str = "no_role";

impl AuthStrategy for ProxyHeader {
    fn describe() -> Result<StrategyInfo, Fault> {
        describe(&plugin_sdk::settings::get())
    }

    fn authenticate(credential: Credential, facts: RequestFacts) -> Result<Verdict, Fault> {
        judge(&plugin_sdk::settings::get(), credential, &facts)
    }
}

fn describe(settings: &str) -> Result<StrategyInfo, Fault> {
    let settings = Settings::read(settings)?;
    let credentials = vec!["headers".to_owned()];
    Ok(StrategyInfo { credentials, request_headers: settings.headers(), extra: Vec::new() })
}

fn judge(settings: &str, credential: Credential, facts: &RequestFacts) -> Result<Verdict, Fault> {
    let headers = match credential {
        Credential::Headers(headers) => headers,
        Credential::Password(_) | Credential::Bearer(_) | Credential::Other(_) => return Ok(Verdict::NotMine),
    };
    let settings = Settings::read(settings)?;
    let named = |name: &str| headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name)).collect::<Vec<_>>();
    let names = named(&settings.name_header);
    let words = settings.role_header.as_deref().map(named).unwrap_or_default();
    if names.is_empty() && words.is_empty() {
        return Ok(Verdict::NotMine);
    }
    if !settings.trusts(&facts.peer_address) {
        return Ok(denied(UNTRUSTED_PEER));
    }
    if names.len() > 1 || words.len() > 1 {
        return Ok(denied(REPEATED_HEADER));
    }
    // Roles without a name: the proxy knows nobody, and somebody else may.
    let Some((_, name)) = names.first() else { return Ok(Verdict::NotMine) };
    let words = words.iter().flat_map(|header| header.1.split(',')).map(str::trim);
    let Some(role) = settings.role_rule().pick(words) else { return Ok(denied(NO_ROLE)) };
    Ok(external(name, role, None).map_or_else(|BadName| denied(BadName::REASON), Verdict::Granted))
}

fn denied(reason: &str) -> Verdict {
    Verdict::Denied(reason.to_owned())
}

plugin_sdk::export_auth_strategy!(ProxyHeader);

#[cfg(test)]
mod tests;
