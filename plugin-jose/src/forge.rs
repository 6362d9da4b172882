//! Keys and tokens for tests, made anew in each run, and a web that answers from a script.
#![expect(clippy::expect_used, reason = "part of tests: a panic is a failed test")]

use crate::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs384, Hs512, ModulusBits, Rsa, RsaPrivateKey, SigningKey, StrongKey};
use jwt_compact::jwk::JsonWebKey;
use plugin_sdk::{CacheMode, Http, HttpFailure, HttpRequest, HttpResponse};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use std::collections::VecDeque;

type Signing<A> = <A as jwt_compact::Algorithm>::SigningKey;

/// Somebody who signs.
pub struct Signer {
    id: String,
    key: PrivateKey,
}

enum PrivateKey {
    Rsa(Box<StrongKey<RsaPrivateKey>>),
    P256(Box<Signing<Es256>>),
    Ed25519(Box<Signing<Ed25519>>),
    Secret(Vec<u8>),
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

impl Signer {
    /// With a new RSA key of 2,048 bits. Takes a second or so.
    #[must_use]
    pub fn rsa(id: &str) -> Self {
        let (key, _) = Rsa::generate(&mut OsRng, ModulusBits::TwoKibibytes).expect("a key");
        Self { id: id.to_owned(), key: PrivateKey::Rsa(Box::new(key)) }
    }

    /// With a new P-256 key.
    #[must_use]
    pub fn p256(id: &str) -> Self {
        let key = <Signing<Es256> as SigningKey<Es256>>::from_slice(&random_bytes()).expect("a key");
        Self { id: id.to_owned(), key: PrivateKey::P256(Box::new(key)) }
    }

    /// With a new Ed25519 key.
    #[must_use]
    pub fn ed25519(id: &str) -> Self {
        let key = <Signing<Ed25519> as SigningKey<Ed25519>>::from_slice(&random_bytes()).expect("a key");
        Self { id: id.to_owned(), key: PrivateKey::Ed25519(Box::new(key)) }
    }

    /// With bytes that both sides have.
    #[must_use]
    pub fn secret(id: &str, secret: &[u8]) -> Self {
        Self { id: id.to_owned(), key: PrivateKey::Secret(secret.to_vec()) }
    }

    /// The public key as the issuer would publish it, with its id; of a secret, the secret.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let value = match &self.key {
            PrivateKey::Rsa(key) => serde_json::to_value(JsonWebKey::from(key.to_public_key().as_ref())),
            PrivateKey::P256(key) => serde_json::to_value(JsonWebKey::from(key.verifying_key())),
            PrivateKey::Ed25519(key) => serde_json::to_value(JsonWebKey::from(&key.verifying_key())),
            PrivateKey::Secret(secret) => Ok(json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret)})),
        };
        with(value.expect("a key in JSON"), "kid", json!(self.id))
    }

    /// A token with these claims and this signer's key id.
    #[must_use]
    pub fn token(&self, algorithm: Algorithm, claims: &Value) -> String {
        self.token_with(&json!({"alg": algorithm.name(), "kid": self.id, "typ": "JWT"}), algorithm, claims)
    }

    /// A token with any header, signed by `algorithm` whatever the header says.
    ///
    /// # Panics
    /// When the key is of another kind than the algorithm takes.
    #[must_use]
    pub fn token_with(&self, header: &Value, algorithm: Algorithm, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.expect("a key of the algorithm's kind")))
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        Some(match (&self.key, algorithm) {
            (PrivateKey::Rsa(key), _) => {
                let rsa: Rsa = algorithm.name().parse().ok()?;
                bytes(&rsa, key.as_ref().as_ref(), message)
            }
            (PrivateKey::P256(key), Algorithm::Es256) => bytes(&Es256, key, message),
            (PrivateKey::Ed25519(key), Algorithm::EdDsa) => bytes(&Ed25519, key, message),
            (PrivateKey::Secret(key), Algorithm::Hs256) => bytes(&Hs256, &key.as_slice().into(), message),
            (PrivateKey::Secret(key), Algorithm::Hs384) => bytes(&Hs384, &key.as_slice().into(), message),
            (PrivateKey::Secret(key), Algorithm::Hs512) => bytes(&Hs512, &key.as_slice().into(), message),
            (PrivateKey::P256(_) | PrivateKey::Ed25519(_) | PrivateKey::Secret(_), _) => return None,
        })
    }
}

fn bytes<A: jwt_compact::Algorithm>(algorithm: &A, key: &A::SigningKey, message: &[u8]) -> Vec<u8> {
    use jwt_compact::AlgorithmSignature as _;
    algorithm.sign(key, message).as_bytes().into_owned()
}

/// JSON as a part of a token.
#[must_use]
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An object with one member set.
///
/// # Panics
/// When it is no object.
#[must_use]
pub fn with(mut object: Value, name: &str, value: Value) -> Value {
    object.as_object_mut().expect("an object").insert(name.to_owned(), value);
    object
}

/// An object without one member.
///
/// # Panics
/// When it is no object.
#[must_use]
pub fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().expect("an object").remove(name);
    object
}

/// A web that answers what it was told to, in order, and remembers what it was asked.
#[derive(Default)]
pub struct Script {
    /// What is still to be answered, each with the address that it is for.
    answers: VecDeque<(String, Result<HttpResponse, HttpFailure>)>,
    /// What was asked so far.
    pub asked: Vec<HttpRequest>,
}

impl Script {
    /// The next answer to `url`: status 200 with this document, so many seconds old.
    #[must_use]
    pub fn then(self, url: &str, document: &Value, age_s: u32) -> Self {
        self.then_status(url, 200, document, age_s)
    }

    /// The next answer to `url`.
    #[must_use]
    pub fn then_status(mut self, url: &str, status: u16, document: &Value, age_s: u32) -> Self {
        let body = document.to_string().into_bytes();
        self.answers.push_back((url.to_owned(), Ok(HttpResponse { status, headers: Vec::new(), body, age_s })));
        self
    }

    /// There is no answer from `url`.
    #[must_use]
    pub fn then_failure(mut self, url: &str, failure: HttpFailure) -> Self {
        self.answers.push_back((url.to_owned(), Err(failure)));
        self
    }

    /// How it was asked, each time: address and whether an earlier answer would do.
    #[must_use]
    pub fn questions(&self) -> Vec<(&str, CacheMode)> {
        self.asked.iter().map(|request| (request.url.as_str(), request.cache.clone())).collect()
    }
}

impl Http for Script {
    /// The first answer that is left for the address; a question without one is refused as an origin not granted is.
    fn send(&mut self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let at = self.answers.iter().position(|(url, _)| *url == request.url);
        let answer = at.and_then(|at| self.answers.remove(at)).map(|(_, answer)| answer);
        let why = format!("the script has no answer from {}", request.url);
        self.asked.push(request);
        answer.unwrap_or(Err(HttpFailure::Refused(why)))
    }
}
