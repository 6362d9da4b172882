use crate::settings;
use plugin_sdk::Fault;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What somebody may do at most, least first. The host lowers it further to what the operator granted to the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May look.
    Viewer,
    /// May give orders.
    Operator,
    /// May do all.
    Admin,
}

impl Role {
    /// The host's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// How the operator turns what is said elsewhere (groups, roles) into roles here.
#[derive(Debug, Clone, Copy)]
pub struct RoleRule<'s> {
    /// Each word from elsewhere with the role it gives.
    pub roles: &'s BTreeMap<String, Role>,
    /// The role of those whom no word gives one.
    pub default: Option<Role>,
}

impl RoleRule<'_> {
    /// The highest role that any of the words gives, the default if none does; none at all means no entry.
    #[must_use]
    pub fn pick<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Option<Role> {
        words.into_iter().filter_map(|word| self.roles.get(word).copied()).max().or(self.default)
    }

    /// Whether the rule can ever give a role, and says where its words come from: `source` is the setting `key`.
    ///
    /// # Errors
    /// A [`Fault`] that names the key that is missing or has no effect.
    pub fn check(&self, key: &str, source: Option<&str>) -> Result<(), Fault> {
        match (source, self.roles.is_empty()) {
            (Some(_), true) => {
                let expected = "words with their roles, e.g. {\"ops\": \"operator\"}";
                Err(settings::invalid("roles", &format!("it is empty, though `{key}` is set"), expected))
            }
            (None, false) => {
                let expected = format!("`{key}`, which says where the words come from");
                Err(settings::invalid("roles", &format!("nothing uses it without `{key}`"), &expected))
            }
            (None, true) if self.default.is_none() => {
                let expected = format!("`role`, or `{key}` with `roles`");
                Err(settings::invalid("role", "nobody would get a role", &expected))
            }
            (Some(_), false) | (None, true) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> BTreeMap<String, Role> {
        [("ops", Role::Operator), ("root", Role::Admin), ("all", Role::Viewer)]
            .map(|(word, role)| (word.to_owned(), role))
            .into()
    }

    #[test]
    fn the_highest_of_several_words_counts() {
        let roles = roles();
        let rule = RoleRule { roles: &roles, default: None };
        assert_eq!(rule.pick(["all", "root", "ops"]), Some(Role::Admin));
        assert_eq!(rule.pick(["ops", "unheard-of"]), Some(Role::Operator));
    }

    #[test]
    fn who_has_no_word_gets_the_default_or_nothing() {
        let roles = roles();
        assert_eq!(RoleRule { roles: &roles, default: None }.pick(["OPS", ""]), None);
        assert_eq!(RoleRule { roles: &roles, default: Some(Role::Viewer) }.pick([]), Some(Role::Viewer));
    }

    #[test]
    fn a_rule_without_effect_is_a_fault() {
        let (none, some) = (BTreeMap::new(), roles());
        let check = |roles, default, source| RoleRule { roles, default }.check("role_claim", source).is_ok();
        assert!(check(&none, Some(Role::Viewer), None));
        assert!(check(&some, None, Some("groups")));
        assert!(!check(&none, None, None), "nobody would get a role");
        assert!(!check(&none, Some(Role::Viewer), Some("groups")), "words without roles");
        assert!(!check(&some, Some(Role::Viewer), None), "roles without words");
    }
}
