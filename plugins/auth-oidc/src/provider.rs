use plugin_identity::settings::check_url;
use plugin_jose::{Algorithm, web};
use plugin_sdk::{CacheMode, Fault, Http};
use serde::Deserialize;

/// How old the discovery document may be, in seconds.
const AGE_MAX_S: u32 = 300;
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const WHAT: &str = "the provider's discovery document";

/// What a provider says of itself.
///
/// Source: OpenID Connect Discovery 1.0 section 3, RFC 9207 section 3.
#[derive(Deserialize)]
pub(crate) struct Provider {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    #[serde(default = "rs256")]
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it names itself in every answer that it sends by the browser.
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(crate) names_itself: bool,
}

/// The one that every provider has.
fn rs256() -> Vec<String> {
    vec![Algorithm::Rs256.name().to_owned()]
}

impl Provider {
    pub(crate) fn discover(http: &mut dyn Http, issuer: &str) -> Result<Self, Fault> {
        let url = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
        let response = web::get(http, WHAT, &url, CacheMode::MaxAge(AGE_MAX_S))?;
        let provider: Self = serde_json::from_slice(&response.body).map_err(|error| bad(&url, &error.to_string()))?;
        if provider.issuer != issuer {
            let problem = format!("its issuer is `{}`; `issuer` has to be spelt the same", provider.issuer);
            return Err(bad(&url, &problem));
        }
        let endpoints = [
            ("authorization_endpoint", &provider.authorization_endpoint),
            ("token_endpoint", &provider.token_endpoint),
            ("jwks_uri", &provider.jwks_uri),
        ];
        for (name, endpoint) in endpoints {
            let is_downgrade = issuer.starts_with("https://") && !endpoint.starts_with("https://");
            if is_downgrade || check_url(name, endpoint).is_err() {
                return Err(bad(&url, &format!("its `{name}` is no usable address")));
            }
        }
        Ok(provider)
    }

    /// How it may sign: what it offers, of what does not need a shared secret. A client's secret is no key.
    pub(crate) fn algorithms(&self) -> Result<Vec<Algorithm>, Fault> {
        let offered = self.id_token_signing_alg_values_supported.iter();
        let offered = offered.filter_map(|name| Algorithm::parse(name));
        let usable: Vec<_> = offered.filter(|algorithm| algorithm.secret_bytes_min() == 0).collect();
        if usable.is_empty() {
            return Err(Fault::plugin(web::BAD_REPLY, "the provider offers no way of signing that is known here"));
        }
        Ok(usable)
    }

    /// Whether a client with a secret may send it as HTTP basic credentials.
    pub(crate) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

fn bad(url: &str, problem: &str) -> Fault {
    Fault::plugin(web::BAD_REPLY, format!("{WHAT} is of no use: {problem}")).with("url", url)
}
