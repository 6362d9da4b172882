use crate::{Algorithm, Family};
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa, StrongAlg, StrongKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{AlgorithmExt, Claims, UntrustedToken};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

type Verifying<A> = <A as jwt_compact::Algorithm>::VerifyingKey;

/// A key that signatures are checked with.
pub struct Key {
    pub(crate) id: Option<String>,
    /// The one algorithm that it says it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

enum Material {
    /// 2,048, 3,072 or 4,096 bits.
    Rsa(Verifying<StrongAlg<Rsa>>),
    P256(Verifying<Es256>),
    Ed25519(Verifying<Ed25519>),
    Secret(Vec<u8>),
}

/// Why a JSON Web Key is of no use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No object, or a member is missing or of the wrong form.
    Malformed,
    /// It has a private part, which nobody may know but the issuer.
    Private,
    /// A shared secret, which has no place in a public set.
    Secret,
    /// Its `use` or `key_ops` say that it is for something else.
    NotForSignatures,
    /// Its `alg` is unknown, or not for keys of its kind.
    Algorithm,
    /// An unknown curve, or an RSA modulus that is not of 2,048, 3,072 or 4,096 bits.
    Unsupported,
}

impl KeyError {
    /// What is wrong, for people.
    #[must_use]
    pub const fn problem(self) -> &'static str {
        match self {
            Self::Malformed => "it is not a JSON Web Key of type RSA, EC or OKP",
            Self::Private => "it has a private part; only the public one belongs here",
            Self::Secret => "it is a shared secret",
            Self::NotForSignatures => "its `use` or `key_ops` say that it is not for checking signatures",
            Self::Algorithm => "its `alg` is unknown or does not fit its type",
            Self::Unsupported => {
                "its curve is neither P-256 nor Ed25519, or its modulus not of 2048, 3072 or 4096 bits"
            }
        }
    }
}

impl Key {
    /// A public key from its JSON form.
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// Source: RFC 7517 section 4, RFC 7518 section 6.
    pub fn from_jwk(value: &Value) -> Result<Self, KeyError> {
        let object = value.as_object().ok_or(KeyError::Malformed)?;
        let text = |name: &str| object.get(name).map(|value| value.as_str().ok_or(KeyError::Malformed)).transpose();
        if text("kty")? == Some("oct") {
            return Err(KeyError::Secret);
        }
        if object.contains_key("d") {
            return Err(KeyError::Private);
        }
        if !is_for_signatures(object) {
            return Err(KeyError::NotForSignatures);
        }
        let algorithm = text("alg")?.map(|name| Algorithm::parse(name).ok_or(KeyError::Algorithm)).transpose()?;
        let id = text("kid")?.map(str::to_owned);
        let jwk = JsonWebKey::deserialize(value).map_err(|_| KeyError::Malformed)?;
        let key = Self { id, algorithm, material: Material::from_jwk(&jwk)? };
        if key.algorithm.is_some_and(|algorithm| algorithm.family() != key.family()) {
            return Err(KeyError::Algorithm);
        }
        Ok(key)
    }

    /// A secret that both sides have; its bytes as they are. Fits `HS256` and its like only.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        Self { id: None, algorithm: None, material: Material::Secret(secret.as_bytes().to_vec()) }
    }

    /// Whether this key may be tried at all on a token of that algorithm: the token does not choose what a key is.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.family() == algorithm.family() && self.algorithm.is_none_or(|own| own == algorithm)
    }

    const fn family(&self) -> Family {
        match self.material {
            Material::Rsa(_) => Family::Rsa,
            Material::P256(_) => Family::P256,
            Material::Ed25519(_) => Family::Ed25519,
            Material::Secret(_) => Family::Secret,
        }
    }

    /// The claims of a token whose signature by `algorithm` is right under this key; none for any other.
    pub(crate) fn open<H: Clone>(
        &self,
        algorithm: Algorithm,
        token: &UntrustedToken<'_, H>,
    ) -> Option<Claims<Map<String, Value>>> {
        match (&self.material, algorithm) {
            (Material::Rsa(key), Algorithm::Rs256) => open(&StrongAlg(Rsa::rs256()), key, token),
            (Material::Rsa(key), Algorithm::Rs384) => open(&StrongAlg(Rsa::rs384()), key, token),
            (Material::Rsa(key), Algorithm::Rs512) => open(&StrongAlg(Rsa::rs512()), key, token),
            (Material::Rsa(key), Algorithm::Ps256) => open(&StrongAlg(Rsa::ps256()), key, token),
            (Material::Rsa(key), Algorithm::Ps384) => open(&StrongAlg(Rsa::ps384()), key, token),
            (Material::Rsa(key), Algorithm::Ps512) => open(&StrongAlg(Rsa::ps512()), key, token),
            (Material::P256(key), Algorithm::Es256) => open(&Es256, key, token),
            (Material::Ed25519(key), Algorithm::EdDsa) => open(&Ed25519, key, token),
            (Material::Secret(key), _) if key.len() < algorithm.secret_bytes_min() => None,
            (Material::Secret(key), Algorithm::Hs256) => open(&Hs256, &Hs256Key::new(key), token),
            (Material::Secret(key), Algorithm::Hs384) => open(&Hs384, &Hs384Key::new(key), token),
            (Material::Secret(key), Algorithm::Hs512) => open(&Hs512, &Hs512Key::new(key), token),
            (Material::Rsa(_) | Material::P256(_) | Material::Ed25519(_) | Material::Secret(_), _) => None,
        }
    }
}

impl Material {
    fn from_jwk(jwk: &JsonWebKey<'_>) -> Result<Self, KeyError> {
        // The `TryFrom`s check coordinates against the curve; the strong key refuses short moduli.
        if let Ok(key) = Verifying::<Rsa>::try_from(jwk) {
            return StrongKey::try_from(key).map(Self::Rsa).map_err(|_| KeyError::Unsupported);
        }
        let p256 = || Verifying::<Es256>::try_from(jwk).map(Self::P256);
        let ed25519 = || Verifying::<Ed25519>::try_from(jwk).map(Self::Ed25519);
        p256().or_else(|_| ed25519()).map_err(|_| KeyError::Unsupported)
    }
}

fn is_for_signatures(object: &Map<String, Value>) -> bool {
    let use_fits = object.get("use").is_none_or(|word| word == "sig");
    let operations_fit = object
        .get("key_ops")
        .is_none_or(|words| words.as_array().is_some_and(|words| words.iter().any(|word| word == "verify")));
    use_fits && operations_fit
}

fn open<A: jwt_compact::Algorithm, T: DeserializeOwned, H: Clone>(
    algorithm: &A,
    key: &A::VerifyingKey,
    token: &UntrustedToken<'_, H>,
) -> Option<Claims<T>> {
    let token = algorithm.validator::<T>(key).validate(token).ok()?;
    Some(token.into_parts().1)
}
