use super::*;
use crate::begin::{Keep, begin};
use crate::complete::complete;
use plugin_jose::Algorithm;
use plugin_jose::forge::{Script, Signer, part, with, without};
use plugin_sdk::strategy::{Identity, IdentitySource};
use plugin_sdk::{CacheMode, HttpFailure, HttpRequest};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_S: i64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example/realm";
const DISCOVERY: &str = "https://idp.example/realm/.well-known/openid-configuration";
const TOKEN: &str = "https://idp.example/token";
const KEYS: &str = "https://idp.example/keys";
const BACK: &str = "https://fleet.example/api/v1/login/auth-oidc/return";
const NONCE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn settings() -> Value {
    json!({"issuer": ISSUER, "client_id": "fleet:1", "role": "viewer"})
}

fn discovery() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://idp.example/authorize",
        "token_endpoint": TOKEN,
        "jwks_uri": KEYS,
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
    })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "fleet:1", "sub": "u-1", "preferred_username": "ada", "nonce": NONCE,
        "iat": NOW_S, "exp": NOW_S + 300,
    })
}

fn no_secret(name: &str) -> Result<String, String> {
    Err(format!("no secret `{name}` is granted"))
}

fn client_secret(name: &str) -> Result<String, String> {
    if name == "client" { Ok("p@ss word:%".to_owned()) } else { no_secret(name) }
}

fn sevens(count: u32) -> Vec<u8> {
    vec![7; usize::try_from(count).expect("a size")]
}

fn host<'h>(settings: &'h str, http: &'h mut Script) -> Host<'h> {
    Host { settings, now_ms: NOW_S.unsigned_abs() * 1000, http, secret: no_secret, random: sevens }
}

fn facts() -> RequestFacts {
    RequestFacts { peer_address: "192.0.2.1".to_owned(), request_id: "r1".to_owned(), extra: Vec::new() }
}

fn begun(settings: &Value, web: &mut Script) -> Result<Redirection, Fault> {
    let request = BeginRequest { redirect_uri: BACK.to_owned(), state: "s t&te".to_owned(), facts: facts() };
    begin(host(&settings.to_string(), web), &request)
}

fn back(parameters: &[(&str, &str)]) -> ReturnRequest {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let keep = json!({"nonce": NONCE, "verifier": NONCE}).to_string();
    ReturnRequest { redirect_uri: BACK.to_owned(), parameters, keep, facts: facts() }
}

const CODE: [(&str, &str); 2] = [("code", "c/1"), ("state", "s t&te")];

/// A provider that gives this ID token for a code.
fn provider(discovery: &Value, signer: &Signer, id_token: &str) -> Script {
    Script::default()
        .then(DISCOVERY, discovery, 30)
        .then(TOKEN, &json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token}), 0)
        .then(KEYS, &json!({"keys": [signer.jwk()]}), 0)
}

fn judged_by(settings: &Value, web: &mut Script, request: &ReturnRequest) -> Result<Verdict, Fault> {
    complete(host(&settings.to_string(), web), request)
}

/// The verdict on an ID token with these claims.
fn judged(settings: &Value, claims: &Value) -> Verdict {
    let signer = Signer::p256("k");
    let mut web = provider(&discovery(), &signer, &signer.token(Algorithm::Es256, claims));
    judged_by(settings, &mut web, &back(&CODE)).expect("a verdict")
}

fn denied(reason: &str) -> Verdict {
    Verdict::Denied(reason.to_owned())
}

fn granted(verdict: Verdict) -> Identity {
    let Verdict::Granted(identity) = verdict else { panic!("expected a yes, got {verdict:?}") };
    identity
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
}

fn query(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().expect("text").into_owned();
    let pairs = text.split('&').map(|pair| pair.split_once('=').expect("a pair"));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_browser_is_sent_with_state_nonce_and_challenge() {
    let mut web = Script::default().then(DISCOVERY, &discovery(), 0);
    let redirection = begun(&settings(), &mut web).expect("a redirection");
    let (endpoint, sent) = redirection.url.split_once('?').expect("a query");
    assert_eq!(endpoint, "https://idp.example/authorize");
    let challenge = "3Ev4DHdHPRMPoN6GukAY_pi7IUAF5qWJHRK6kURvnoE";
    let expected = [
        ("response_type", "code"),
        ("client_id", "fleet:1"),
        ("redirect_uri", BACK),
        ("scope", "openid profile"),
        ("state", "s t&te"),
        ("nonce", NONCE),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(query(sent), pairs(&expected));
    assert_eq!(web.questions(), [(DISCOVERY, CacheMode::MaxAge(300))]);
    let keep: Keep = serde_json::from_str(&redirection.keep).expect("what is kept");
    assert_eq!((keep.nonce.as_str(), keep.verifier.len()), (NONCE, 43));
}

#[test]
fn nonce_and_verifier_are_two_words() {
    fn counting(count: u32) -> Vec<u8> {
        static CALLS: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
        let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        vec![call; usize::try_from(count).expect("a size")]
    }
    let mut web = Script::default().then(DISCOVERY, &discovery(), 0);
    let settings = settings().to_string();
    let host = Host { random: counting, ..host(&settings, &mut web) };
    let request = BeginRequest { redirect_uri: BACK.to_owned(), state: "s".to_owned(), facts: facts() };
    let redirection = begin(host, &request).expect("a redirection");
    let keep: Keep = serde_json::from_str(&redirection.keep).expect("what is kept");
    assert_ne!(keep.nonce, keep.verifier);
    assert!(!redirection.url.contains(&keep.verifier), "the verifier leaves the host before the code is there");
}

#[test]
fn an_endpoint_that_has_a_query_keeps_it() {
    let document = with(discovery(), "authorization_endpoint", json!("https://idp.example/authorize?p=1"));
    let mut web = Script::default().then(DISCOVERY, &document, 0);
    let redirection = begun(&settings(), &mut web).expect("a redirection");
    assert!(
        redirection.url.starts_with("https://idp.example/authorize?p=1&response_type=code&"),
        "{}",
        redirection.url
    );
}

#[test]
fn a_good_return_is_the_name_that_people_know() {
    let identity = granted(judged(&settings(), &claims()));
    assert_eq!(identity.name, "ada");
    assert_eq!(identity.source, IdentitySource::External("viewer".to_owned()));
    assert_eq!(identity.expires_ms, None);
    let nameless = without(claims(), "preferred_username");
    assert_eq!(granted(judged(&settings(), &nameless)).name, "u-1");
    assert_eq!(granted(judged(&with(settings(), "name_claim", json!("sub")), &claims())).name, "u-1");
    let by_mail = with(settings(), "name_claim", json!("email"));
    assert_eq!(judged(&by_mail, &claims()), denied("bad_name"), "no other name in place of the one asked for");
}

#[test]
fn groups_give_roles() {
    let mapped = without(with(settings(), "role_claim", json!("groups")), "role");
    let mapped = with(mapped, "roles", json!({"ops": "operator"}));
    let identity = granted(judged(&mapped, &with(claims(), "groups", json!(["staff", "ops"]))));
    assert_eq!(identity.source, IdentitySource::External("operator".to_owned()));
    assert_eq!(judged(&mapped, &claims()), denied("no_role"));
}

#[test]
fn the_code_is_redeemed_with_the_verifier_and_the_clients_secret() {
    let signer = Signer::p256("k");
    let id_token = signer.token(Algorithm::Es256, &claims());
    let base =
        [("grant_type", "authorization_code"), ("code", "c/1"), ("redirect_uri", BACK), ("code_verifier", NONCE)];
    let asked = |secret| {
        let mut web = provider(&discovery(), &signer, &id_token);
        let settings = settings().to_string();
        granted(complete(Host { secret, ..host(&settings, &mut web) }, &back(&CODE)).expect("a verdict"));
        web.asked.remove(1)
    };
    let confidential = asked(client_secret);
    assert_eq!((confidential.method.as_str(), confidential.url.as_str()), ("POST", TOKEN));
    assert_eq!(confidential.cache, CacheMode::None);
    assert_eq!(header(&confidential, "content-type"), Some("application/x-www-form-urlencoded"));
    // base64 of `fleet%3A1:p%40ss%20word%3A%25`
    assert_eq!(header(&confidential, "authorization"), Some("Basic ZmxlZXQlM0ExOnAlNDBzcyUyMHdvcmQlM0ElMjU="));
    assert_eq!(query(std::str::from_utf8(&confidential.body).expect("text")), pairs(&base));
    let public = asked(no_secret);
    assert_eq!(header(&public, "authorization"), None);
    let mut with_client = base.to_vec();
    with_client.push(("client_id", "fleet:1"));
    assert_eq!(query(std::str::from_utf8(&public.body).expect("text")), pairs(&with_client));
}

#[test]
fn an_id_token_that_is_not_right_is_refused() {
    let cases = [
        (with(claims(), "nonce", json!("other")), "nonce"),
        (without(claims(), "nonce"), "nonce"),
        (with(claims(), "iss", json!("https://idp.example")), "issuer"),
        (with(claims(), "aud", json!("other")), "audience"),
        (with(claims(), "aud", json!(["fleet:1", "other"])), "audience"),
        (with(claims(), "azp", json!("other")), "audience"),
        (with(claims(), "azp", json!(7)), "audience"),
        (with(claims(), "exp", json!(NOW_S - 60)), "expired"),
        (without(claims(), "exp"), "no_expiry"),
        (with(claims(), "iat", json!(NOW_S + 61)), "not_yet_valid"),
        (without(claims(), "iat"), "incomplete"),
        (without(claims(), "sub"), "incomplete"),
        (with(claims(), "preferred_username", json!("a\nb")), "bad_name"),
    ];
    for (claims, reason) in cases {
        assert_eq!(judged(&settings(), &claims), denied(reason), "{claims}");
    }
    let shared = with(with(claims(), "aud", json!(["fleet:1", "other"])), "azp", json!("fleet:1"));
    assert_eq!(granted(judged(&settings(), &shared)).name, "ada");
}

#[test]
fn how_an_id_token_is_signed_is_the_providers_offer_and_never_a_secret() {
    let signer = Signer::p256("k");
    let judged_with = |discovery: &Value, id_token: &str| {
        let mut web = provider(discovery, &signer, id_token);
        let settings = settings().to_string();
        complete(Host { secret: client_secret, ..host(&settings, &mut web) }, &back(&CODE))
    };
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    assert_eq!(judged_with(&discovery(), &unsigned).expect("a verdict"), denied("algorithm"));
    for secret in ["p@ss word:%", &signer.jwk().to_string()] {
        let token = Signer::secret("k", secret.as_bytes()).token(Algorithm::Hs256, &claims());
        assert_eq!(judged_with(&discovery(), &token).expect("a verdict"), denied("algorithm"));
    }
    let good = signer.token(Algorithm::Es256, &claims());
    let silent = without(discovery(), "id_token_signing_alg_values_supported");
    assert_eq!(judged_with(&silent, &good).expect("a verdict"), denied("algorithm"), "RS256 is what silence means");
    let hmac_only = with(discovery(), "id_token_signing_alg_values_supported", json!(["HS256", "none"]));
    assert_eq!(judged_with(&hmac_only, &good).expect_err("a fault").code, "auth.bad_reply");
    let forged = Signer::p256("k").token(Algorithm::Es256, &claims());
    assert_eq!(judged_with(&discovery(), &forged).expect("a verdict"), denied("bad_signature"));
}

#[test]
fn a_key_that_the_provider_has_changed_is_found() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let mut web = Script::default()
        .then(DISCOVERY, &discovery(), 30)
        .then(TOKEN, &json!({"id_token": new.token(Algorithm::Es256, &claims())}), 0)
        .then(KEYS, &json!({"keys": [old.jwk()]}), 100)
        .then(KEYS, &json!({"keys": [new.jwk()]}), 0);
    granted(judged_by(&settings(), &mut web, &back(&CODE)).expect("a verdict"));
    assert_eq!(web.questions()[2..], [(KEYS, CacheMode::MaxAge(300)), (KEYS, CacheMode::Refresh)]);
}

#[test]
fn an_answer_of_another_provider_is_refused() {
    let signer = Signer::p256("k");
    let id_token = signer.token(Algorithm::Es256, &claims());
    let judged = |discovery: &Value, issuer: Option<&str>| {
        let mut web = provider(discovery, &signer, &id_token);
        let mut parameters = CODE.to_vec();
        parameters.extend(issuer.map(|issuer| ("iss", issuer)));
        let verdict = judged_by(&settings(), &mut web, &back(&parameters)).expect("a verdict");
        (verdict, web.asked.iter().any(|request| request.url == TOKEN))
    };
    let naming = with(discovery(), "authorization_response_iss_parameter_supported", json!(true));
    for document in [discovery(), naming.clone()] {
        assert_eq!(granted(judged(&document, Some(ISSUER)).0).name, "ada");
        for other in ["https://evil.example", "https://idp.example/realm/", ""] {
            assert_eq!(judged(&document, Some(other)), (denied("wrong_issuer"), false), "the code is not sent");
        }
    }
    assert_eq!(judged(&naming, None), (denied("wrong_issuer"), false));
}

#[test]
fn a_return_without_a_usable_code_is_refused_without_asking() {
    let long = "c".repeat(2049);
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("error", "access_denied"), ("state", "s")], "access_denied"),
        (&[("error", "server_error"), ("error_description", "x")], "provider_error"),
        (&[("error", "\u{1b}[31m"), ("code", "c")], "provider_error"),
        (&[("error", "access_denied"), ("iss", "https://evil.example")], "wrong_issuer"),
        (&[("state", "s")], "no_code"),
        (&[("code", "")], "no_code"),
        (&[("code", &long)], "no_code"),
        (&[("code", "a"), ("code", "b")], "repeated_parameter"),
    ];
    for (parameters, reason) in cases {
        let mut nothing = Script::default();
        let verdict = judged_by(&settings(), &mut nothing, &back(parameters)).expect("a verdict");
        assert_eq!(verdict, denied(reason), "{parameters:?}");
        assert!(nothing.asked.is_empty());
    }
}

#[test]
fn what_the_token_endpoint_says_is_told_apart() {
    let judged = |status, document: &Value| {
        let web = Script::default().then(DISCOVERY, &discovery(), 0);
        judged_by(&settings(), &mut web.then_status(TOKEN, status, document, 0), &back(&CODE))
    };
    assert_eq!(judged(400, &json!({"error": "invalid_grant"})).expect("a verdict"), denied("code_refused"));
    let cases = [
        (401, json!({"error": "invalid_client"}), "auth.client_refused", "invalid_client"),
        (400, json!({"error": "a secret: \u{7}"}), "auth.client_refused", "(not a code)"),
        (400, json!("no"), "auth.client_refused", "(not a code)"),
        (500, json!({"error": "invalid_grant"}), "auth.bad_reply", "status 500"),
        (302, json!({}), "auth.bad_reply", "status 302"),
        (200, json!({"access_token": "a"}), "auth.bad_reply", "gave no ID token"),
        (200, json!({"id_token": "opaque"}), "auth.bad_reply", "no signed token"),
    ];
    for (status, document, code, words) in cases {
        let fault = judged(status, &document).expect_err(words);
        assert_eq!(fault.code, code);
        assert!(fault.message.contains(words), "{}", fault.message);
    }
    let web = Script::default().then(DISCOVERY, &discovery(), 0);
    let mut web = web.then_failure(TOKEN, HttpFailure::TimedOut);
    assert_eq!(judged_by(&settings(), &mut web, &back(&CODE)).expect_err("a fault").code, "auth.timed_out");
}

#[test]
fn a_provider_that_does_not_take_the_secret_this_way_is_not_given_it() {
    let document = with(discovery(), "token_endpoint_auth_methods_supported", json!(["private_key_jwt"]));
    let mut web = Script::default().then(DISCOVERY, &document, 0);
    let settings = settings().to_string();
    let host = Host { secret: client_secret, ..host(&settings, &mut web) };
    assert_eq!(complete(host, &back(&CODE)).expect_err("a fault").code, "auth.bad_reply");
    assert_eq!(web.asked.len(), 1);
}

#[test]
fn a_discovery_document_that_is_not_right_sends_nobody_anywhere() {
    let cases = [
        (with(discovery(), "issuer", json!("https://idp.example/realm/")), "has to be spelt the same"),
        (without(discovery(), "issuer"), "missing field `issuer`"),
        (without(discovery(), "token_endpoint"), "missing field `token_endpoint`"),
        (with(discovery(), "token_endpoint", json!("http://idp.example/token")), "`token_endpoint`"),
        (with(discovery(), "jwks_uri", json!("file:///etc/passwd")), "`jwks_uri`"),
        (with(discovery(), "authorization_endpoint", json!("javascript:alert(1)")), "`authorization_endpoint`"),
        (json!([]), "is of no use"),
    ];
    for (document, words) in cases {
        let mut web = Script::default().then(DISCOVERY, &document, 0);
        let fault = begun(&settings(), &mut web).expect_err(words);
        assert!(fault.message.contains(words), "{}", fault.message);
    }
    let mut web = Script::default().then_status(DISCOVERY, 404, &discovery(), 0);
    assert_eq!(begun(&settings(), &mut web).expect_err("a fault").code, "auth.bad_reply");
}

#[test]
fn an_issuer_that_ends_in_a_slash_is_asked_at_the_same_place() {
    let slashed = format!("{ISSUER}/");
    let mut web = Script::default().then(DISCOVERY, &with(discovery(), "issuer", json!(slashed)), 0);
    assert!(begun(&with(settings(), "issuer", json!(slashed)), &mut web).is_ok());
}

#[test]
fn what_was_kept_has_to_come_back() {
    let request = ReturnRequest { keep: "{}".to_owned(), ..back(&CODE) };
    let fault = judged_by(&settings(), &mut Script::default(), &request).expect_err("a fault");
    assert_eq!(fault.code, "auth.keep");
}

#[test]
fn settings_that_make_no_sense_are_faults_that_name_the_key() {
    let cases = [
        (without(settings(), "issuer"), "missing field `issuer`"),
        (with(settings(), "issuer", json!("idp.example")), "`issuer`: it is no usable address"),
        (with(settings(), "issuer", json!("https://idp.example/?a")), "`issuer`: it has a query"),
        (with(settings(), "client_id", json!("")), "`client_id`: it is empty"),
        (with(settings(), "client_secret", json!("x")), "unknown field `client_secret`"),
        (with(settings(), "scopes", json!(["profile"])), "`scopes`: they are [\"profile\"]; expected \"openid\""),
        (with(settings(), "scopes", json!(["openid", "a b"])), "`scopes[1]`: it is no scope"),
        (with(settings(), "leeway_s", json!(301)), "`leeway_s`: 301 seconds"),
        (without(settings(), "role"), "`role`: nobody would get a role"),
        (with(settings(), "roles", json!({"ops": "operator"})), "`roles`: nothing uses it"),
    ];
    for (settings, words) in cases {
        let fault = describe(&settings.to_string()).expect_err(words);
        assert_eq!(fault.code, "settings.invalid");
        assert!(fault.message.contains(words), "{}", fault.message);
    }
    assert_eq!(describe(&settings().to_string()).expect("a strategy").credentials, ["redirect"]);
}

#[test]
fn no_credential_is_its_own() {
    for credential in [Credential::Bearer("a.b.c".to_owned()), Credential::Other("redirect".to_owned())] {
        assert_eq!(Oidc::authenticate(credential, facts()).expect("a verdict"), Verdict::NotMine);
    }
}

proptest! {
    #[test]
    fn no_return_makes_it_panic_or_say_yes(
        code in ".{0,30}", keep in ".{0,30}", id_token in ".{0,60}", document in "[ -~]{0,60}",
    ) {
        let signer = Signer::ed25519("k");
        let document = serde_json::from_str(&document).unwrap_or(Value::String(document));
        for document in [discovery(), document] {
            for keep in [keep.clone(), back(&[]).keep] {
                let mut web = provider(&document, &signer, &id_token);
                let request = ReturnRequest { keep, ..back(&[("code", &code)]) };
                let result = judged_by(&settings(), &mut web, &request);
                prop_assert!(!matches!(result, Ok(Verdict::Granted(_))), "{result:?}");
            }
        }
    }
}
