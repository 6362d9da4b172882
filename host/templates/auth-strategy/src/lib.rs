//! Auth strategy: one bearer token lets a machine in as a viewer.
//!
//! An example to start from: a token in the source is no secret. Ask the host for one that the operator granted
//! (`plugin_sdk::secrets`), for accounts (`HostAccounts`), for API keys (`HostApiKeys`) or for another server's word
//! (`HostHttp`). Every call has a fresh instance: nothing in memory lasts from one to the next.

use plugin_sdk::strategy::{Credential, Identity, IdentitySource, RequestFacts, StrategyInfo, Verdict};
use plugin_sdk::{AuthStrategy, Fault, log};

/// The strategy.
#[derive(Debug)]
pub struct Strategy;

/// How our tokens begin; all others are somebody else's.
const PREFIX: &str = "machine-";
const KNOWN: &str = "machine-change-me";

impl AuthStrategy for Strategy {
    fn describe() -> Result<StrategyInfo, Fault> {
        let credentials = vec!["bearer".to_owned()];
        Ok(StrategyInfo { credentials, request_headers: Vec::new(), extra: Vec::new() })
    }

    fn authenticate(credential: Credential, facts: RequestFacts) -> Result<Verdict, Fault> {
        let Credential::Bearer(token) = credential else { return Ok(Verdict::NotMine) };
        if !token.starts_with(PREFIX) {
            return Ok(Verdict::NotMine);
        }
        if token != KNOWN {
            // The reason is for log and audit; who asks is never told.
            return Ok(Verdict::Denied("unknown_token".to_owned()));
        }
        log::info!("a machine came", peer = facts.peer_address);
        Ok(Verdict::Granted(Identity {
            name: "machine".to_owned(),
            // Somebody without an account here, who may do at most what the operator granted to this strategy.
            source: IdentitySource::External("viewer".to_owned()),
            scopes: Vec::new(),
            expires_ms: None,
            extra: Vec::new(),
        }))
    }
}

plugin_sdk::export_auth_strategy!(Strategy);

#[cfg(test)]
mod tests;
