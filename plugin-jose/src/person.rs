use crate::{Claims, Refusal};
use plugin_identity::{RoleRule, external};
use plugin_sdk::strategy::Identity;

/// How verified claims become somebody.
#[derive(Debug, Clone, Copy)]
pub struct PersonRule<'s> {
    /// The claims that may hold the name; the first that is there counts.
    pub name_claims: &'s [&'s str],
    /// The claim that holds words for roles.
    pub role_claim: Option<&'s str>,
    /// What those words give.
    pub roles: RoleRule<'s>,
}

impl PersonRule<'_> {
    /// Who it is.
    ///
    /// # Errors
    /// [`Refusal::Name`], [`Refusal::Role`].
    pub fn identify(&self, claims: &Claims, expires_ms: Option<u64>) -> Result<Identity, Refusal> {
        let name = self.name_claims.iter().find_map(|claim| claims.text(claim)).ok_or(Refusal::Name)?;
        let words = self.role_claim.map(|claim| claims.texts(claim)).unwrap_or_default();
        let role = self.roles.pick(words).ok_or(Refusal::Role)?;
        external(name, role, expires_ms).map_err(|_| Refusal::Name)
    }
}
