use crate::Host;
use crate::begin::Keep;
use crate::form::{encode, encode_pairs};
use crate::provider::Provider;
use crate::settings::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plugin_jose::{Claims, NotVerified, Policy, PublishedKeys, Refusal, Token, verify, web};
use plugin_sdk::strategy::{Identity, ReturnRequest, Verdict};
use plugin_sdk::{CacheMode, Fault, HttpRequest, HttpResponse, log};
use serde::Deserialize;

/// Bytes that a code may have.
const CODE_BYTES_MAX: usize = 2048;
/// The client's secret, where it has one.
const SECRET: &str = "client";
const TOKEN_ENDPOINT: &str = "the provider's token endpoint";

/// Why nobody gets in.
#[derive(Debug)]
enum Failure {
    /// The login is at fault: the reason for log and audit.
    Denied(&'static str),
    /// There is no telling.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(refusal.reason())
    }
}

impl From<NotVerified> for Failure {
    fn from(failure: NotVerified) -> Self {
        match failure {
            NotVerified::Refused(refusal) => refusal.into(),
            NotVerified::Fault(fault) => fault.into(),
        }
    }
}

/// Who it is that came back.
pub(crate) fn complete(host: Host<'_>, request: &ReturnRequest) -> Result<Verdict, Fault> {
    match identify(host, request) {
        Ok(identity) => Ok(Verdict::Granted(identity)),
        Err(Failure::Denied(reason)) => Ok(Verdict::Denied(reason.to_owned())),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}

fn identify(mut host: Host<'_>, request: &ReturnRequest) -> Result<Identity, Failure> {
    let settings = Settings::read(host.settings)?;
    let keep: Keep = serde_json::from_str(&request.keep)
        .map_err(|_| Fault::plugin("auth.keep", "what `begin` had kept did not come back"))?;
    let issuer = parameter(request, "iss")?;
    if issuer.is_some_and(|issuer| issuer != settings.issuer) {
        return Err(Failure::Denied("wrong_issuer"));
    }
    if let Some(error) = parameter(request, "error")? {
        return Err(provider_refused(error));
    }
    let code = parameter(request, "code")?.filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
    let code = code.ok_or(Failure::Denied("no_code"))?;
    let provider = Provider::discover(host.http, &settings.issuer)?;
    // Without it, an answer of another provider could pass for one of this (RFC 9207 section 2.4).
    if provider.names_itself && issuer.is_none() {
        return Err(Failure::Denied("wrong_issuer"));
    }
    let id_token = redeem(&mut host, &settings, &provider, request, code, &keep.verifier)?;
    let claims = read_id_token(host, &settings, &provider, &id_token, &keep.nonce)?;
    // An ID token's end says until when it may be presented, not for how long somebody is logged in.
    Ok(settings.person_rule(&settings.name_claims()).identify(&claims, None)?)
}

/// The value of a parameter; one that is there twice is nobody's.
///
/// Source: RFC 6749 section 3.1.
fn parameter<'r>(request: &'r ReturnRequest, name: &str) -> Result<Option<&'r str>, Failure> {
    let mut values = request.parameters.iter().filter(|parameter| parameter.0 == name);
    let first = values.next().map(|parameter| parameter.1.as_str());
    if values.next().is_some() { Err(Failure::Denied("repeated_parameter")) } else { Ok(first) }
}

fn provider_refused(error: &str) -> Failure {
    if error == "access_denied" {
        return Failure::Denied("access_denied");
    }
    log::warn!("the provider refused the login", error = error_code(error));
    Failure::Denied("provider_error")
}

/// An error's code as far as it has the form of one: the browser may have brought anything.
fn error_code(error: &str) -> &str {
    let is_code = error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_code { error } else { "(not a code)" }
}

/// Trades the code for an ID token.
///
/// Source: OpenID Connect Core 1.0 section 3.1.3, RFC 6749 sections 2.3.1 and 5, RFC 7636 section 4.5.
fn redeem(
    host: &mut Host<'_>,
    settings: &Settings,
    provider: &Provider,
    request: &ReturnRequest,
    code: &str,
    verifier: &str,
) -> Result<String, Failure> {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &request.redirect_uri),
        ("code_verifier", verifier),
    ];
    let mut headers = vec![
        ("accept", "application/json".to_owned()),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    match (host.secret)(SECRET) {
        Ok(_) if !provider.takes_basic() => {
            let message =
                "the provider does not take the client's secret as HTTP basic credentials, the way known here";
            return Err(Fault::plugin(web::BAD_REPLY, message).into());
        }
        Ok(secret) => {
            let pair = STANDARD.encode(format!("{}:{}", encode(&settings.client_id), encode(&secret)));
            headers.push(("authorization", format!("Basic {pair}")));
        }
        Err(_) => form.push(("client_id", &settings.client_id)),
    }
    let response = web::send(
        host.http,
        TOKEN_ENDPOINT,
        HttpRequest {
            method: "POST".to_owned(),
            url: provider.token_endpoint.clone(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: encode_pairs(&form).into_bytes(),
            cache: CacheMode::None,
        },
    )?;
    read_token_response(&provider.token_endpoint, &response)
}

fn read_token_response(url: &str, response: &HttpResponse) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Tokens {
        id_token: String,
    }
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    match response.status {
        200 => serde_json::from_slice::<Tokens>(&response.body).map(|tokens| tokens.id_token).map_err(|_| {
            let message = format!("{TOKEN_ENDPOINT} gave no ID token");
            Fault::plugin(web::BAD_REPLY, message).with("url", url).into()
        }),
        400 | 401 => {
            let problem = serde_json::from_slice::<Problem>(&response.body).ok();
            let error = problem.as_ref().map_or("(not a code)", |problem| error_code(&problem.error));
            if error == "invalid_grant" {
                return Err(Failure::Denied("code_refused"));
            }
            let message = format!("{TOKEN_ENDPOINT} refused this client: {error}");
            Err(Fault::plugin("auth.client_refused", message).with("url", url).into())
        }
        status => Err(web::bad_status(TOKEN_ENDPOINT, url, status).into()),
    }
}

/// Source: OpenID Connect Core 1.0 section 3.1.3.7.
fn read_id_token(
    host: Host<'_>,
    settings: &Settings,
    provider: &Provider,
    text: &str,
    nonce: &str,
) -> Result<Claims, Failure> {
    let algorithms = provider.algorithms()?;
    let token = Token::parse(text)
        .map_err(|_| Fault::plugin(web::BAD_REPLY, "the provider's ID token is no signed token of a size to read"))?;
    let policy = Policy {
        issuer: &settings.issuer,
        audience: &settings.client_id,
        algorithms: &algorithms,
        leeway_s: settings.leeway_s,
    };
    let mut keys = PublishedKeys::new(host.http, &provider.jwks_uri);
    let claims = verify(&token, &policy, &mut keys, host.now_ms)?;
    let is_for_others_too = claims.texts("aud").len() > 1;
    if (is_for_others_too || claims.has("azp")) && claims.text("azp") != Some(&settings.client_id) {
        return Err(Refusal::Audience.into());
    }
    if claims.text("nonce") != Some(nonce) {
        return Err(Failure::Denied("nonce"));
    }
    if claims.issued_s.is_none() || claims.text("sub").is_none_or(str::is_empty) {
        return Err(Refusal::Incomplete.into());
    }
    Ok(claims)
}
