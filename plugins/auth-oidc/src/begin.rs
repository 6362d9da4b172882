use crate::Host;
use crate::form::encode_pairs;
use crate::provider::Provider;
use crate::settings::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plugin_sdk::Fault;
use plugin_sdk::strategy::{BeginRequest, Redirection};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What has to be the same when the browser is back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keep {
    /// Comes back inside of the ID token.
    pub(crate) nonce: String,
    /// Proves to the provider that whoever has the code also began.
    pub(crate) verifier: String,
}

/// Bytes of randomness in a nonce and in a verifier, which is 43 characters of the latter, the fewest allowed.
///
/// Source: RFC 7636 section 4.1.
const RANDOM_BYTES: u32 = 32;

/// Where the browser goes, and what the host keeps.
pub(crate) fn begin(host: Host<'_>, request: &BeginRequest) -> Result<Redirection, Fault> {
    let settings = Settings::read(host.settings)?;
    let provider = Provider::discover(host.http, &settings.issuer)?;
    let word = || URL_SAFE_NO_PAD.encode((host.random)(RANDOM_BYTES));
    let keep = Keep { nonce: word(), verifier: word() };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&keep.verifier));
    let query = encode_pairs(&[
        ("response_type", "code"),
        ("client_id", &settings.client_id),
        ("redirect_uri", &request.redirect_uri),
        ("scope", &settings.scopes.join(" ")),
        ("state", &request.state),
        ("nonce", &keep.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let endpoint = provider.authorization_endpoint;
    let mark = if endpoint.contains('?') { '&' } else { '?' };
    let keep = serde_json::to_string(&keep).map_err(|error| Fault::plugin("auth.keep", error.to_string()))?;
    Ok(Redirection { url: format!("{endpoint}{mark}{query}"), keep })
}
