use plugin_identity::settings::{check_url, invalid, parse};
use plugin_identity::{Role, RoleRule};
use plugin_jose::PersonRule;
use plugin_sdk::Fault;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes that a client's id, a scope or a claim's name may have.
const TEXT_BYTES_MAX: usize = 512;
const SCOPES_MAX: usize = 16;
const LEEWAY_MAX_S: u32 = 300;
/// Where a name is looked for unless the operator says otherwise: the one that people know, or else the one that stays.
const NAME_CLAIMS: [&str; 2] = ["preferred_username", "sub"];

/// What the operator sets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    #[serde(default = "default_scopes")]
    pub(crate) scopes: Vec<String>,
    name_claim: Option<String>,
    role_claim: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    role: Option<Role>,
    #[serde(default = "default_leeway_s")]
    pub(crate) leeway_s: u32,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).to_vec()
}

const fn default_leeway_s() -> u32 {
    60
}

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let settings: Self = parse(text)?;
        check_url("issuer", &settings.issuer)?;
        if settings.issuer.contains('?') {
            return Err(invalid("issuer", "it has a query", "the provider's own spelling of its issuer"));
        }
        let role_claim = settings.role_claim.as_deref();
        let texts = [
            ("client_id", Some(&*settings.client_id)),
            ("name_claim", settings.name_claim.as_deref()),
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
        settings.check_scopes()?;
        settings.role_rule().check("role_claim", role_claim)?;
        Ok(settings)
    }

    /// The claims that may hold the name.
    pub(crate) fn name_claims(&self) -> Vec<&str> {
        self.name_claim.as_deref().map_or_else(|| NAME_CLAIMS.to_vec(), |claim| vec![claim])
    }

    pub(crate) fn person_rule<'s>(&'s self, name_claims: &'s [&'s str]) -> PersonRule<'s> {
        PersonRule { name_claims, role_claim: self.role_claim.as_deref(), roles: self.role_rule() }
    }

    fn role_rule(&self) -> RoleRule<'_> {
        RoleRule { roles: &self.roles, default: self.role }
    }

    /// Source: RFC 6749 section 3.3 for what a scope is made of.
    fn check_scopes(&self) -> Result<(), Fault> {
        if self.scopes.len() > SCOPES_MAX || !self.scopes.iter().any(|scope| scope == "openid") {
            let expected = format!("\"openid\" and others, {SCOPES_MAX} at most");
            return Err(invalid("scopes", &format!("they are {:?}", self.scopes), &expected));
        }
        let is_scope = |scope: &String| {
            let is_visible = scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
            !scope.is_empty() && scope.len() <= TEXT_BYTES_MAX && is_visible
        };
        match self.scopes.iter().position(|scope| !is_scope(scope)) {
            Some(index) => Err(invalid(&format!("scopes[{index}]"), "it is no scope", "one word, e.g. \"email\"")),
            None => Ok(()),
        }
    }
}
