//! What is believed of a token, and every way of not being believed.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

use plugin_jose::forge::{Script, Signer, part, with, without};
use plugin_jose::{
    Algorithm, Claims, FixedKeys, Key, KeySet, KeySource, NoToken, NotVerified, Policy, PublishedKeys, Refusal, Token,
    verify,
};
use plugin_sdk::{CacheMode, HttpFailure};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_S: i64 = 1_800_000_000;
const URL: &str = "https://idp.example/keys";

fn claims() -> Value {
    json!({"iss": "https://idp.example", "aud": "fleet", "sub": "ada", "exp": NOW_S + 600, "iat": NOW_S - 10})
}

fn policy(algorithms: &[Algorithm]) -> Policy<'_> {
    Policy { issuer: "https://idp.example", audience: "fleet", algorithms, leeway_s: 60 }
}

fn judge_by(source: &mut dyn KeySource, algorithms: &[Algorithm], text: &str) -> Result<Claims, NotVerified> {
    let token = Token::parse(text).expect("a token by its form");
    verify(&token, &policy(algorithms), source, NOW_S.unsigned_abs() * 1000)
}

fn judge(keys: KeySet, algorithms: &[Algorithm], text: &str) -> Result<Claims, NotVerified> {
    judge_by(&mut FixedKeys::new(keys), algorithms, text)
}

fn keys(signers: &[&Signer]) -> KeySet {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    KeySet::from_jwks(&keys).unwrap_or_else(|(index, error)| panic!("key {index}: {}", error.problem()))
}

fn refusal(result: Result<Claims, NotVerified>) -> Refusal {
    let Err(NotVerified::Refused(refusal)) = result else { panic!("expected a refusal, got {result:?}") };
    refusal
}

/// The refusal of a token with these claims that is signed as it should be.
fn refusal_of(claims: &Value) -> Refusal {
    let signer = Signer::ed25519("k");
    refusal(judge(keys(&[&signer]), &[Algorithm::EdDsa], &signer.token(Algorithm::EdDsa, claims)))
}

#[test]
fn every_algorithm_is_believed_with_its_own_key_and_no_other() {
    let secret = "s".repeat(64);
    let signers = [Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e"), Signer::secret("s", secret.as_bytes())];
    let key_set = |index: usize| match index {
        3 => KeySet::from(Key::from_secret(&secret)),
        index => keys(&[&signers[index]]),
    };
    let of = |algorithm: Algorithm| match algorithm.name().get(..2) {
        Some("RS" | "PS") => 0,
        Some("ES") => 1,
        Some("Ed") => 2,
        _ => 3,
    };
    for algorithm in Algorithm::ALL {
        let signer = &signers[of(algorithm)];
        let text = signer.token(algorithm, &claims());
        let read = judge(key_set(of(algorithm)), &[algorithm], &text).expect("claims");
        assert_eq!(read.text("sub"), Some("ada"), "{algorithm:?}");
        // The same token, when the operator pinned any other algorithm.
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let refused = refusal(judge(key_set(of(algorithm)), &[other], &text));
            assert_eq!(refused, Refusal::Algorithm, "{algorithm:?} where {other:?} is pinned");
        }
        // The same token, when only keys of other kinds are there.
        for index in (0..4).filter(|index| *index != of(algorithm)) {
            let refused = refusal(judge(key_set(index), &[algorithm], &text));
            assert_eq!(refused, Refusal::UnknownKey, "{algorithm:?} with key {index}");
        }
        // A header that claims another algorithm than the one that signed, both being allowed.
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let lying = signer.token_with(&json!({"alg": other.name()}), algorithm, &claims());
            let result = judge(key_set(of(algorithm)), &Algorithm::ALL, &lying);
            assert!(matches!(refusal(result), Refusal::Signature | Refusal::UnknownKey), "{algorithm:?} as {other:?}");
        }
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let signer = Signer::p256("k");
    let jwk = signer.jwk();
    // What an attacker has: the public key, in whatever form a careless verifier might use as an HMAC secret.
    let x = jwk["x"].as_str().expect("a coordinate").to_owned();
    for secret in [jwk.to_string(), x] {
        let forger = Signer::secret("k", secret.as_bytes());
        let text = forger.token(Algorithm::Hs256, &claims());
        let both = [Algorithm::Es256, Algorithm::Hs256];
        assert_eq!(refusal(judge(keys(&[&signer]), &both, &text)), Refusal::UnknownKey);
        assert_eq!(refusal(judge(keys(&[&signer]), &[Algorithm::Es256], &text)), Refusal::Algorithm);
    }
}

#[test]
fn an_unsigned_token_is_refused_however_it_is_spelt() {
    let signer = Signer::ed25519("k");
    let signed = signer.token(Algorithm::EdDsa, &claims());
    let signature = signed.rsplit('.').next().expect("three parts");
    for name in ["none", "None", "NONE", "nOnE", ""] {
        for signature in ["", signature] {
            let text = format!("{}.{}.{signature}", part(&json!({"alg": name, "kid": "k"})), part(&claims()));
            let result = judge(keys(&[&signer]), &Algorithm::ALL, &text);
            assert_eq!(refusal(result), Refusal::Algorithm, "{name:?} with {signature:?}");
        }
    }
    let emptied = signed.replace(signature, "");
    assert_eq!(refusal(judge(keys(&[&signer]), &[Algorithm::EdDsa], &emptied)), Refusal::Signature);
}

#[test]
fn a_changed_token_is_refused() {
    let signer = Signer::p256("k");
    let text = signer.token(Algorithm::Es256, &claims());
    let parts: Vec<_> = text.split('.').collect();
    let other_claims = format!("{}.{}.{}", parts[0], part(&with(claims(), "sub", json!("eve"))), parts[2]);
    assert_eq!(refusal(judge(keys(&[&signer]), &[Algorithm::Es256], &other_claims)), Refusal::Signature);
    let namesake = Signer::p256("k");
    assert_eq!(refusal(judge(keys(&[&namesake]), &[Algorithm::Es256], &text)), Refusal::Signature);
}

#[test]
fn a_key_keeps_to_the_algorithm_that_it_is_for() {
    let signer = Signer::rsa("k");
    let jwk = with(signer.jwk(), "alg", json!("RS256"));
    let key_set = || KeySet::from_jwks(std::slice::from_ref(&jwk)).unwrap_or_default();
    let both = [Algorithm::Rs256, Algorithm::Rs512];
    assert!(judge(key_set(), &both, &signer.token(Algorithm::Rs256, &claims())).is_ok());
    let refused = refusal(judge(key_set(), &both, &signer.token(Algorithm::Rs512, &claims())));
    assert_eq!(refused, Refusal::UnknownKey);
}

#[test]
fn extensions_that_have_to_be_understood_are_refused() {
    let signer = Signer::ed25519("k");
    for crit in [json!(["b64"]), json!([]), json!(null)] {
        let header = json!({"alg": "EdDSA", "kid": "k", "crit": crit, "b64": false});
        let text = signer.token_with(&header, Algorithm::EdDsa, &claims());
        assert_eq!(refusal(judge(keys(&[&signer]), &[Algorithm::EdDsa], &text)), Refusal::Critical);
    }
}

#[test]
fn time_counts_with_the_leeway_and_to_the_second() {
    let signer = Signer::ed25519("k");
    let judged = |name: &str, time_s: i64| {
        let text = signer.token(Algorithm::EdDsa, &with(claims(), name, json!(time_s)));
        judge(keys(&[&signer]), &[Algorithm::EdDsa], &text)
    };
    assert!(judged("exp", NOW_S - 59).is_ok());
    assert_eq!(refusal(judged("exp", NOW_S - 60)), Refusal::Expired);
    assert_eq!(refusal(judged("exp", -1)), Refusal::Expired);
    for name in ["nbf", "iat"] {
        assert!(judged(name, NOW_S + 60).is_ok(), "{name}");
        assert_eq!(refusal(judged(name, NOW_S + 61)), Refusal::NotYet, "{name}");
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert_eq!(refusal_of(&without(claims(), "exp")), Refusal::NoExpiry);
}

#[test]
fn issuer_and_audience_count_letter_for_letter() {
    for issuer in [json!("https://idp.example/"), json!("https://IDP.example"), json!(7), json!(null)] {
        assert_eq!(refusal_of(&with(claims(), "iss", issuer)), Refusal::Issuer);
    }
    for audience in [json!("Fleet"), json!("fleet "), json!(["a", "b"]), json!([]), json!({"fleet": 1}), json!(null)] {
        assert_eq!(refusal_of(&with(claims(), "aud", audience)), Refusal::Audience);
    }
    let signer = Signer::ed25519("k");
    let text = signer.token(Algorithm::EdDsa, &with(claims(), "aud", json!(["other", "fleet"])));
    assert!(judge(keys(&[&signer]), &[Algorithm::EdDsa], &text).is_ok(), "one of several audiences");
}

#[test]
fn a_new_key_is_asked_for_once() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let set = |keys: &[&Signer]| json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()});
    let mut web = Script::default().then(URL, &set(&[&old]), 200).then(URL, &set(&[&old, &new]), 0);
    let text = new.token(Algorithm::Es256, &claims());
    judge_by(&mut PublishedKeys::new(&mut web, URL), &[Algorithm::Es256], &text).expect("the new key");
    assert_eq!(web.questions(), [(URL, CacheMode::MaxAge(300)), (URL, CacheMode::Refresh)]);
}

#[test]
fn an_unheard_of_key_is_refused_after_one_refresh() {
    let (known, other) = (Signer::p256("known"), Signer::p256("other"));
    let set = json!({"keys": [known.jwk()]});
    let text = other.token(Algorithm::Es256, &claims());
    let mut web = Script::default().then(URL, &set, 200).then(URL, &set, 3);
    let result = judge_by(&mut PublishedKeys::new(&mut web, URL), &[Algorithm::Es256], &text);
    assert_eq!(refusal(result), Refusal::UnknownKey);
    assert_eq!(web.asked.len(), 2);
    // A set that came just now is not asked for again.
    let mut web = Script::default().then(URL, &set, 0);
    let result = judge_by(&mut PublishedKeys::new(&mut web, URL), &[Algorithm::Es256], &text);
    assert_eq!(refusal(result), Refusal::UnknownKey);
    assert_eq!(web.asked.len(), 1);
}

#[test]
fn without_the_issuers_keys_there_is_no_telling() {
    let signer = Signer::p256("k");
    let text = signer.token(Algorithm::Es256, &claims());
    let many = json!({"keys": vec![signer.jwk(); 65]});
    let webs = [
        (Script::default().then_failure(URL, HttpFailure::TimedOut), "auth.timed_out"),
        (Script::default().then_failure(URL, HttpFailure::Unreachable("no".to_owned())), "auth.unreachable"),
        (Script::default().then_failure(URL, HttpFailure::TooLarge(9)), "auth.bad_reply"),
        (Script::default().then_failure(URL, HttpFailure::Refused("no".to_owned())), "auth.not_granted"),
        (Script::default().then_status(URL, 500, &json!({"keys": [signer.jwk()]}), 0), "auth.bad_reply"),
        (Script::default().then(URL, &json!([signer.jwk()]), 0), "auth.bad_reply"),
        (Script::default().then(URL, &many, 0), "auth.bad_reply"),
    ];
    for (mut web, code) in webs {
        match judge_by(&mut PublishedKeys::new(&mut web, URL), &[Algorithm::Es256], &text) {
            Err(NotVerified::Fault(fault)) => assert_eq!(fault.code, code, "{}", fault.message),
            other => panic!("expected {code}, got {other:?}"),
        }
    }
}

#[test]
fn a_token_without_a_key_id_is_tried_on_few_keys() {
    let signers: Vec<_> = (0..3).map(|at| Signer::p256(&at.to_string())).collect();
    let text = signers[1].token_with(&json!({"alg": "ES256"}), Algorithm::Es256, &claims());
    let first = |count: usize| keys(&signers[..count].iter().collect::<Vec<_>>());
    assert!(judge(first(2), &[Algorithm::Es256], &text).is_ok());
    assert_eq!(refusal(judge(first(1), &[Algorithm::Es256], &text)), Refusal::Signature);
    assert_eq!(refusal(judge(first(3), &[Algorithm::Es256], &text)), Refusal::AmbiguousKey);
}

#[test]
fn a_short_secret_signs_nothing() {
    for (algorithm, bytes) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        assert_eq!(algorithm.secret_bytes_min(), bytes);
        for (length, is_enough) in [(bytes - 1, false), (bytes, true)] {
            let secret = "s".repeat(length);
            let text = Signer::secret("k", secret.as_bytes()).token(algorithm, &claims());
            let result = judge(KeySet::from(Key::from_secret(&secret)), &[algorithm], &text);
            assert_eq!(result.is_ok(), is_enough, "{algorithm:?} with {length} bytes");
        }
    }
}

#[test]
fn the_size_of_a_token_is_bounded() {
    let signer = Signer::ed25519("k");
    let text = signer.token(Algorithm::EdDsa, &with(claims(), "pad", json!("x".repeat(6200))));
    assert!(Token::parse(&text).is_err_and(|why| why == NoToken::TooLarge));
}

#[test]
fn what_has_another_form_is_no_token() {
    let json = part(&json!({}));
    let header = part(&json!({"alg": "EdDSA"}));
    let texts = [
        String::new(),
        "ovk_0123456789".to_owned(),
        "a.b".to_owned(),
        "a.b.c.d".to_owned(),
        "..".to_owned(),
        format!("{json}.{json}.AAAA"),
        format!("{header}.AAAA.AAAA"),
        format!("{header}.{json}.A+/="),
        format!("{}.{json}.AAAA", part(&json!(["alg"]))),
        format!(" {header}.{json}.AAAA"),
    ];
    for text in texts {
        assert!(Token::parse(&text).is_err_and(|why| why == NoToken::OtherForm), "{text:?}");
    }
}

proptest! {
    /// Anything at all, and things that look like tokens more and more.
    #[test]
    fn no_text_makes_it_panic(
        text in "[ -~]{0,40}",
        header in prop_oneof![Just(json!({"alg": "ES256"})), Just(json!({"alg": "HS256", "kid": "k"})), any_json()],
        claims in prop_oneof![Just(claims()), any_json()],
        signature in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
        for text in [text, format!("{}.{}.{signature}", part(&header), part(&claims))] {
            let Ok(token) = Token::parse(&text) else { continue };
            let jwk = json!({
                "kty": "EC", "crv": "P-256", "kid": "k",
                "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            });
            let mut source = FixedKeys::new(KeySet::from_jwks(&[jwk]).unwrap_or_default());
            let result = verify(&token, &policy(&Algorithm::ALL), &mut source, u64::MAX);
            prop_assert!(result.is_err());
        }
    }

    /// Keys come from outside too.
    #[test]
    fn no_key_makes_it_panic(document in any_json(), kty in "RSA|EC|OKP|oct", crv in "P-256|Ed25519|X", n in "[A-Za-z0-9_-]{0,60}") {
        let _ = KeySet::from_json(document.to_string().as_bytes());
        let _ = Key::from_jwk(&document);
        let _ = Key::from_jwk(&json!({"kty": kty, "crv": crv, "n": n, "e": n, "x": n, "y": n}));
    }

    /// Times that no calendar has.
    #[test]
    fn no_time_makes_it_panic(exp in any::<i64>(), nbf in any::<i64>(), iat in any::<f64>()) {
        let signer = Signer::secret("k", &[7; 32]);
        let claims = with(with(with(claims(), "exp", json!(exp)), "nbf", json!(nbf)), "iat", json!(iat));
        let text = signer.token(Algorithm::Hs256, &claims);
        let Ok(token) = Token::parse(&text) else { return Ok(()) };
        let secret = String::from_utf8(vec![7; 32]).expect("text");
        for now_ms in [0, u64::MAX] {
            let mut source = FixedKeys::new(KeySet::from(Key::from_secret(&secret)));
            let _ = verify(&token, &policy(&[Algorithm::Hs256]), &mut source, now_ms);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9_-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = "alg|kid|crit|iss|aud|exp|nbf|keys|kty|crv|use|key_ops|n|e|x|y|[a-z]{1,5}";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
