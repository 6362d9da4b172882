//! Auth strategy: OpenID Connect logins, by authorization code with PKCE.
//!
//! `begin` sends the browser to the provider; `complete` trades the code that it comes back with for an ID token, and
//! believes that only with the provider's signature, for this client, with the nonce of this login.
//!
//! Sources: OpenID Connect Core 1.0 section 3.1, Discovery 1.0 section 4, RFC 7636, RFC 9207.

mod begin;
mod complete;
mod form;
mod provider;
mod settings;

use crate::settings::Settings;
use plugin_sdk::strategy::{BeginRequest, Credential, Redirection, RequestFacts, ReturnRequest, StrategyInfo, Verdict};
use plugin_sdk::{AuthStrategy, Fault, HostHttp, Http, RedirectStrategy};

/// The strategy.
#[derive(Debug)]
pub struct Oidc;

/// What the host offers, or a test in its place.
struct Host<'h> {
    settings: &'h str,
    now_ms: u64,
    http: &'h mut dyn Http,
    secret: fn(&str) -> Result<String, String>,
    random: fn(u32) -> Vec<u8>,
}

impl AuthStrategy for Oidc {
    fn describe() -> Result<StrategyInfo, Fault> {
        describe(&plugin_sdk::settings::get())
    }

    fn authenticate(_credential: Credential, _facts: RequestFacts) -> Result<Verdict, Fault> {
        Ok(Verdict::NotMine)
    }
}

impl RedirectStrategy for Oidc {
    fn begin(request: BeginRequest) -> Result<Redirection, Fault> {
        with_host(|host| begin::begin(host, &request))
    }

    fn complete(request: ReturnRequest) -> Result<Verdict, Fault> {
        with_host(|host| complete::complete(host, &request))
    }
}

fn with_host<T>(call: impl FnOnce(Host<'_>) -> T) -> T {
    let settings = plugin_sdk::settings::get();
    call(Host {
        settings: &settings,
        now_ms: plugin_sdk::clock::now_ms(),
        http: &mut HostHttp,
        secret: plugin_sdk::secrets::get,
        random: plugin_sdk::random::bytes,
    })
}

fn describe(settings: &str) -> Result<StrategyInfo, Fault> {
    Settings::read(settings)?;
    Ok(StrategyInfo { credentials: vec!["redirect".to_owned()], request_headers: Vec::new(), extra: Vec::new() })
}

plugin_sdk::export_redirect_strategy!(Oidc);

#[cfg(test)]
mod tests;
