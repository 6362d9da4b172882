use crate::Role;
use plugin_sdk::strategy::{Identity, IdentitySource};

/// Bytes that a name may have, as in `wit/auth`.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a name cannot be anybody's: empty, too long, with control characters, or with blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl BadName {
    /// The reason of the refusal.
    pub const REASON: &'static str = "bad_name";
}

/// Somebody known elsewhere.
///
/// # Errors
/// [`BadName`]: two names that look the same have to be the same, so nothing is trimmed or cut to fit.
pub fn external(name: &str, role: Role, expires_ms: Option<u64>) -> Result<Identity, BadName> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if !fits || name.trim() != name || name.chars().any(char::is_control) {
        return Err(BadName);
    }
    Ok(Identity {
        name: name.to_owned(),
        source: IdentitySource::External(role.name().to_owned()),
        scopes: Vec::new(),
        expires_ms,
        extra: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_as_it_is_or_not_at_all() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in ["ada", "Ada Lovelace", "ada@example.org", "Zoë", &longest] {
            let identity = external(name, Role::Operator, Some(7)).expect(name);
            assert_eq!(identity.name, name);
            assert_eq!(identity.source, IdentitySource::External("operator".to_owned()));
            assert_eq!(identity.expires_ms, Some(7));
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in ["", " ", " ada", "ada ", "a\nb", "a\0", "a\u{85}b", &too_long] {
            assert_eq!(external(name, Role::Viewer, None), Err(BadName), "{name:?}");
        }
    }
}
