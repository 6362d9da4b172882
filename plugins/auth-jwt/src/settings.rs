use plugin_identity::settings::{INVALID, check_url, invalid, parse};
use plugin_identity::{Role, RoleRule};
use plugin_jose::{Algorithm, KEYS_MAX, Key, KeySet, PersonRule};
use plugin_sdk::Fault;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes that an issuer, an audience or a claim's name may have.
const TEXT_BYTES_MAX: usize = 512;
const LEEWAY_MAX_S: u32 = 300;
/// The secret that `HS256` and its like are checked with.
const SECRET: &str = "hmac";

/// What the operator sets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) jwks_url: Option<String>,
    keys: Option<Vec<Value>>,
    #[serde(default = "default_leeway_s")]
    pub(crate) leeway_s: u32,
    #[serde(default = "default_name_claim")]
    pub(crate) name_claim: String,
    role_claim: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    role: Option<Role>,
}

const fn default_leeway_s() -> u32 {
    60
}

fn default_name_claim() -> String {
    "sub".to_owned()
}

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let settings: Self = parse(text)?;
        let role_claim = settings.role_claim.as_deref();
        let texts = [
            ("issuer", Some(&*settings.issuer)),
            ("audience", Some(&*settings.audience)),
            ("name_claim", Some(&*settings.name_claim)),
            ("role_claim", role_claim),
        ];
        for (key, text) in texts {
            if text.is_some_and(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
                return Err(invalid(key, "it is empty or too long", &format!("1 to {TEXT_BYTES_MAX} bytes")));
            }
        }
        if settings.leeway_s > LEEWAY_MAX_S {
            let problem = format!("{} seconds", settings.leeway_s);
            return Err(invalid("leeway_s", &problem, &format!("0 to {LEEWAY_MAX_S}")));
        }
        settings.check_keys()?;
        settings.person_rule(&[]).roles.check("role_claim", role_claim)?;
        Ok(settings)
    }

    pub(crate) fn person_rule<'s>(&'s self, name_claims: &'s [&'s str]) -> PersonRule<'s> {
        let roles = RoleRule { roles: &self.roles, default: self.role };
        PersonRule { name_claims, role_claim: self.role_claim.as_deref(), roles }
    }

    /// Whether any of the algorithms needs the shared secret.
    pub(crate) fn needs_secret(&self) -> bool {
        self.secret_bytes_min() > 0
    }

    /// The shared secret as a key.
    pub(crate) fn secret(&self, secret: fn(&str) -> Result<String, String>) -> Result<KeySet, Fault> {
        let least = self.secret_bytes_min();
        let advice = format!("grant a secret `{SECRET}` of at least {least} bytes, which `algorithms` need");
        let secret = secret(SECRET).map_err(|why| Fault::plugin(INVALID, format!("{why}; {advice}")))?;
        if secret.len() < least {
            let problem = format!("the secret `{SECRET}` has {} bytes", secret.len());
            return Err(Fault::plugin(INVALID, format!("{problem}; {advice}")));
        }
        Ok(Key::from_secret(&secret).into())
    }

    /// The keys that stand in the settings themselves.
    pub(crate) fn fixed_keys(&self) -> Result<KeySet, Fault> {
        let keys = self.keys.as_deref().unwrap_or_default();
        KeySet::from_jwks(keys).map_err(|(index, error)| {
            let expected = format!("a public key; a shared secret is granted as the secret `{SECRET}`");
            invalid(&format!("keys[{index}]"), error.problem(), &expected)
        })
    }

    fn secret_bytes_min(&self) -> usize {
        self.algorithms.iter().map(|algorithm| algorithm.secret_bytes_min()).max().unwrap_or_default()
    }

    fn check_keys(&self) -> Result<(), Fault> {
        if self.algorithms.is_empty() {
            return Err(invalid("algorithms", "it is empty", "those that the issuer signs with, e.g. [\"RS256\"]"));
        }
        let has_public = self.algorithms.iter().any(|algorithm| algorithm.secret_bytes_min() == 0);
        match (&self.jwks_url, &self.keys) {
            (Some(_), Some(_)) => Err(invalid("keys", "there is `jwks_url` too", "one of the two")),
            (None, None) if has_public => {
                Err(invalid("jwks_url", "it is missing", "where the issuer publishes its keys, or `keys`"))
            }
            (Some(_), None) if !has_public => Err(invalid("jwks_url", "no algorithm uses it", "none")),
            (None, Some(_)) if !has_public => Err(invalid("keys", "no algorithm uses them", "none")),
            (Some(url), None) => check_url("jwks_url", url),
            (None, Some(keys)) if keys.is_empty() || keys.len() > KEYS_MAX => {
                Err(invalid("keys", &format!("there are {}", keys.len()), &format!("1 to {KEYS_MAX}")))
            }
            (None, Some(_)) => self.fixed_keys().map(drop),
            (None, None) => Ok(()),
        }
    }
}
