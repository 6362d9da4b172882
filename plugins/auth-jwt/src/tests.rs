use super::*;
use plugin_jose::Algorithm;
use plugin_jose::forge::{Script, Signer, part, with, without};
use plugin_sdk::strategy::IdentitySource;
use plugin_sdk::{CacheMode, HttpFailure};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_S: i64 = 1_800_000_000;
const URL: &str = "https://idp.example/keys";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn claims() -> Value {
    json!({"iss": "https://idp.example", "aud": "fleet", "sub": "ada", "groups": ["staff", "ops"], "exp": NOW_S + 600})
}

fn settings() -> Value {
    json!({"issuer": "https://idp.example", "audience": "fleet", "algorithms": ["ES256"], "jwks_url": URL, "role": "viewer"})
}

fn hmac_settings() -> Value {
    without(with(settings(), "algorithms", json!(["HS256"])), "jwks_url")
}

fn granted_secret(name: &str) -> Result<String, String> {
    if name == "hmac" { Ok(SECRET.to_owned()) } else { Err(format!("no secret `{name}` is granted")) }
}

fn no_secret(name: &str) -> Result<String, String> {
    Err(format!("no secret `{name}` is granted"))
}

fn judged_by(settings: &Value, http: &mut Script, text: &str) -> Result<Verdict, Fault> {
    let settings = settings.to_string();
    let now_ms = NOW_S.unsigned_abs() * 1000;
    judge(Host { settings: &settings, now_ms, http, secret: granted_secret }, Credential::Bearer(text.to_owned()))
}

/// The verdict on a token of a published P-256 key.
fn judged(settings: &Value, claims: &Value) -> Verdict {
    let signer = Signer::p256("k");
    let mut web = Script::default().then(URL, &json!({"keys": [signer.jwk()]}), 0);
    judged_by(settings, &mut web, &signer.token(Algorithm::Es256, claims)).expect("a verdict")
}

fn denied(reason: &str) -> Verdict {
    Verdict::Denied(reason.to_owned())
}

fn granted(verdict: Verdict) -> Identity {
    let Verdict::Granted(identity) = verdict else { panic!("expected a yes, got {verdict:?}") };
    identity
}

fn role(identity: &Identity) -> &str {
    let IdentitySource::External(role) = &identity.source else { panic!("{identity:?}") };
    role
}

#[test]
fn a_good_token_is_its_subject_until_it_ends() {
    let identity = granted(judged(&settings(), &claims()));
    assert_eq!((identity.name.as_str(), role(&identity)), ("ada", "viewer"));
    assert_eq!(identity.expires_ms, Some((NOW_S.unsigned_abs() + 600) * 1000));
    assert!(identity.scopes.is_empty());
}

#[test]
fn a_token_inside_the_leeway_ends_with_it() {
    let identity = granted(judged(&settings(), &with(claims(), "exp", json!(NOW_S - 10))));
    assert_eq!(identity.expires_ms, Some((NOW_S.unsigned_abs() + 50) * 1000));
}

#[test]
fn name_and_role_come_from_the_claims_that_are_set() {
    let roles = json!({"ops": "operator", "root": "admin"});
    let mapped = with(with(settings(), "role_claim", json!("groups")), "roles", roles.clone());
    assert_eq!(role(&granted(judged(&mapped, &claims()))), "operator");
    assert_eq!(role(&granted(judged(&mapped, &without(claims(), "groups")))), "viewer", "the role for all");
    let strict = without(mapped.clone(), "role");
    assert_eq!(judged(&strict, &with(claims(), "groups", json!(["staff"]))), denied("no_role"));
    let nested = with(mapped, "role_claim", json!("/realm_access/roles"));
    assert_eq!(role(&granted(judged(&nested, &with(claims(), "realm_access", json!({"roles": ["root"]}))))), "admin");
    let by_mail = with(settings(), "name_claim", json!("email"));
    assert_eq!(granted(judged(&by_mail, &with(claims(), "email", json!("ada@example.org")))).name, "ada@example.org");
    for mail in [json!(null), json!(7), json!(""), json!("a\nb"), json!("x".repeat(256))] {
        assert_eq!(judged(&by_mail, &with(claims(), "email", mail)), denied("bad_name"));
    }
}

#[test]
fn tokens_of_other_issuers_and_other_texts_are_left_to_others() {
    for claims in [with(claims(), "iss", json!("https://other.example")), without(claims(), "iss")] {
        assert_eq!(judged(&settings(), &claims), Verdict::NotMine);
    }
    for text in ["ovk_1234", "a.b.c", "opaque", ""] {
        assert_eq!(judged_by(&settings(), &mut Script::default(), text).expect("a verdict"), Verdict::NotMine);
    }
    let pair = || ("ada".to_owned(), "x".to_owned());
    for other in [Credential::Password(pair()), Credential::Headers(vec![pair()]), Credential::Other("x".to_owned())] {
        let host = Host { settings: "{}", now_ms: 0, http: &mut Script::default(), secret: no_secret };
        assert_eq!(judge(host, other).expect("a verdict"), Verdict::NotMine);
    }
}

#[test]
fn what_is_from_this_issuer_and_not_right_is_refused() {
    let cases = [
        ("exp", json!(NOW_S - 60), "expired"),
        ("nbf", json!(NOW_S + 61), "not_yet_valid"),
        ("iat", json!(NOW_S + 61), "not_yet_valid"),
        ("aud", json!("other"), "audience"),
    ];
    for (claim, value, reason) in cases {
        assert_eq!(judged(&settings(), &with(claims(), claim, value)), denied(reason), "{claim}");
    }
    assert_eq!(judged(&settings(), &without(claims(), "exp")), denied("no_expiry"));
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
    assert_eq!(judged_by(&settings(), &mut Script::default(), &unsigned).expect("a verdict"), denied("algorithm"));
    let oversize = Signer::p256("k").token(Algorithm::Es256, &with(claims(), "pad", json!("x".repeat(8192))));
    assert_eq!(judged_by(&settings(), &mut Script::default(), &oversize).expect("a verdict"), denied("too_large"));
    let forger = Signer::p256("k");
    let mut web = Script::default().then(URL, &json!({"keys": [Signer::p256("k").jwk()]}), 0);
    let forged = forger.token(Algorithm::Es256, &claims());
    assert_eq!(judged_by(&settings(), &mut web, &forged).expect("a verdict"), denied("bad_signature"));
}

#[test]
fn a_token_that_chooses_its_algorithm_is_refused() {
    let signer = Signer::p256("k");
    let jwk = signer.jwk();
    let with_public_key = Signer::secret("k", jwk.to_string().as_bytes()).token(Algorithm::Hs256, &claims());
    let mut nothing = Script::default();
    assert_eq!(judged_by(&settings(), &mut nothing, &with_public_key).expect("a verdict"), denied("algorithm"));
    assert!(nothing.asked.is_empty(), "refused before anybody is asked");
    // Even where both kinds are allowed, a shared secret is the granted one and nothing published.
    let both = with(settings(), "algorithms", json!(["ES256", "HS256"]));
    let mut web = Script::default().then(URL, &json!({"keys": [jwk]}), 0);
    assert_eq!(judged_by(&both, &mut web, &with_public_key).expect("a verdict"), denied("bad_signature"));
    assert!(web.asked.is_empty());
}

#[test]
fn a_shared_secret_is_the_granted_one() {
    let good = Signer::secret("any", SECRET.as_bytes()).token(Algorithm::Hs256, &claims());
    let verdict = judged_by(&hmac_settings(), &mut Script::default(), &good).expect("a verdict");
    assert_eq!(granted(verdict).name, "ada");
    let other = Signer::secret("any", &[7; 32]).token(Algorithm::Hs256, &claims());
    let verdict = judged_by(&hmac_settings(), &mut Script::default(), &other).expect("a verdict");
    assert_eq!(verdict, denied("bad_signature"));
}

#[test]
fn keys_in_the_settings_need_no_web() {
    let signer = Signer::ed25519("k");
    let fixed = with(without(settings(), "jwks_url"), "keys", json!([signer.jwk()]));
    let fixed = with(fixed, "algorithms", json!(["EdDSA"]));
    let mut nothing = Script::default();
    let good = signer.token(Algorithm::EdDsa, &claims());
    assert_eq!(granted(judged_by(&fixed, &mut nothing, &good).expect("a verdict")).name, "ada");
    let stranger = Signer::ed25519("other").token(Algorithm::EdDsa, &claims());
    assert_eq!(judged_by(&fixed, &mut nothing, &stranger).expect("a verdict"), denied("unknown_key"));
    assert!(nothing.asked.is_empty());
}

#[test]
fn a_key_that_the_issuer_has_changed_is_found() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let mut web = Script::default().then(URL, &json!({"keys": [old.jwk()]}), 120).then(
        URL,
        &json!({"keys": [old.jwk(), new.jwk()]}),
        0,
    );
    let verdict = judged_by(&settings(), &mut web, &new.token(Algorithm::Es256, &claims())).expect("a verdict");
    assert_eq!(granted(verdict).name, "ada");
    assert_eq!(web.questions(), [(URL, CacheMode::MaxAge(300)), (URL, CacheMode::Refresh)]);
}

#[test]
fn without_the_issuers_keys_nobody_gets_in() {
    let token = Signer::p256("k").token(Algorithm::Es256, &claims());
    let mut web = Script::default().then_failure(URL, HttpFailure::Unreachable("no route".to_owned()));
    let fault = judged_by(&settings(), &mut web, &token).expect_err("a fault");
    assert_eq!(fault.code, "auth.unreachable");
    assert!(!fault.message.contains(&token), "the token is in the fault");
}

#[test]
fn settings_that_make_no_sense_are_faults_that_name_the_key() {
    let jwk = Signer::p256("k").jwk();
    let fixed = |keys: Value| with(without(settings(), "jwks_url"), "keys", keys);
    let cases = [
        (without(settings(), "issuer"), "missing field `issuer`"),
        (with(settings(), "issuer", json!("")), "`issuer`: it is empty"),
        (with(settings(), "audience", json!("x".repeat(513))), "`audience`: it is empty or too long"),
        (with(settings(), "algorithms", json!([])), "`algorithms`: it is empty"),
        (with(settings(), "algorithms", json!(["none"])), "`algorithms[0]`: unknown variant `none`"),
        (with(settings(), "leeway_s", json!(301)), "`leeway_s`: 301 seconds; expected 0 to 300"),
        (with(settings(), "leeway_s", json!(-1)), "`leeway_s`: "),
        (with(settings(), "jwks_url", json!("idp.example")), "`jwks_url`: it is no usable address"),
        (without(settings(), "jwks_url"), "`jwks_url`: it is missing"),
        (with(settings(), "keys", json!([jwk])), "`keys`: there is `jwks_url` too"),
        (fixed(json!([])), "`keys`: there are 0; expected 1 to 64"),
        (fixed(json!(vec![jwk.clone(); 65])), "`keys`: there are 65; expected 1 to 64"),
        (fixed(json!([jwk, with(jwk.clone(), "d", json!("AAAA"))])), "`keys[1]`: it has a private part"),
        (fixed(json!([{"kty": "oct", "k": "AAAA"}])), "`keys[0]`: it is a shared secret"),
        (fixed(json!([with(jwk.clone(), "use", json!("enc"))])), "`keys[0]`: its `use`"),
        (with(hmac_settings(), "jwks_url", json!(URL)), "`jwks_url`: no algorithm uses it"),
        (without(settings(), "role"), "`role`: nobody would get a role"),
        (with(settings(), "role_claim", json!("groups")), "`roles`: it is empty"),
        (with(settings(), "hmac", json!("x")), "unknown field `hmac`"),
    ];
    for (settings, words) in cases {
        let fault = describe(&settings.to_string(), granted_secret).expect_err(words);
        assert_eq!(fault.code, "settings.invalid");
        assert!(fault.message.contains(words), "{words}: {}", fault.message);
    }
    assert_eq!(describe(&settings().to_string(), no_secret).expect("a strategy").credentials, ["bearer"]);
}

#[test]
fn a_secret_that_is_missing_or_short_is_a_fault_at_once() {
    assert!(describe(&hmac_settings().to_string(), granted_secret).is_ok());
    let fault = describe(&hmac_settings().to_string(), no_secret).expect_err("a fault");
    assert!(fault.message.contains("grant a secret `hmac` of at least 32 bytes"), "{}", fault.message);
    let longer = with(hmac_settings(), "algorithms", json!(["HS256", "HS512"]));
    let fault = describe(&longer.to_string(), granted_secret).expect_err("a fault");
    assert!(fault.message.contains("the secret `hmac` has 32 bytes; grant"), "{}", fault.message);
    assert!(!fault.message.contains(SECRET), "the secret is in the fault");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_say_yes(
        text in ".{0,60}",
        header in "[ -~]{0,40}",
        claims in prop_oneof![Just(claims().to_string()), "[ -~]{0,60}".prop_map(|text| text)],
        signature in "[A-Za-z0-9_-]{0,90}",
    ) {
        let jwk = Signer::p256("k").jwk();
        let shaped = |header: &Value| {
            let claims = serde_json::from_str(&claims).unwrap_or(Value::String(claims.clone()));
            format!("{}.{}.{signature}", part(header), part(&claims))
        };
        let header = serde_json::from_str(&header).unwrap_or(Value::String(header));
        let texts = [text, shaped(&header), shaped(&json!({"alg": "ES256"})), shaped(&json!({"alg": "HS256"}))];
        for text in texts {
            for settings in [settings(), hmac_settings()] {
                let mut web = Script::default().then(URL, &json!({"keys": [jwk]}), 0);
                let verdict = judged_by(&settings, &mut web, &text).expect("a verdict");
                prop_assert!(matches!(verdict, Verdict::Denied(_) | Verdict::NotMine), "{verdict:?}");
            }
        }
    }
}
