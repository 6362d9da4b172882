use std::fmt;

/// What a plugin is for. Each class has a world of its own, and an engine of its own, so that none starves another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginClass {
    /// Decides logins: world `auth-strategy`.
    Auth,
    /// Judges requests: world `input-validator`.
    Validate,
    /// Speaks to one kind of node: world `node-adapter`.
    Adapter,
}

/// Types alone: importing it grants nothing.
const TYPES: &str = "omnivisor:types/types@0.1.0";
const AUTH_TYPES: &str = "omnivisor:auth/types@0.1.0";
pub(super) const LOG: &str = "omnivisor:host/log@0.1.0";
pub(super) const SETTINGS: &str = "omnivisor:host/settings@0.1.0";
pub(super) const CLOCK: &str = "omnivisor:host/clock@0.1.0";
pub(super) const RANDOM: &str = "omnivisor:host/random@0.1.0";
pub(super) const EXCHANGE: &str = "omnivisor:host/exchange@0.1.0";
pub(super) const ACCOUNTS: &str = "omnivisor:host/accounts@0.1.0";
/// Both versions of an adapter's export.
pub(super) const NODE_V0_1: &str = "omnivisor:adapter/node@0.1.0";
pub(super) const NODE_V0_2: &str = "omnivisor:adapter/node@0.2.0";
/// Both versions of a validator's export.
pub(super) const VALIDATOR_V0_1: &str = "omnivisor:validate/validator@0.1.0";
pub(super) const VALIDATOR_V0_2: &str = "omnivisor:validate/validator@0.2.0";
pub(super) const API_KEYS: &str = "omnivisor:host/api-keys@0.1.0";
/// Linked only where the manifest asks for them and the operator granted that.
pub(super) const SECRETS: &str = "omnivisor:host/secrets@0.1.0";
pub(super) const HTTP_CLIENT: &str = "omnivisor:host/http-client@0.1.0";

impl PluginClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Auth, Self::Validate, Self::Adapter];

    /// The word used in logs, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Validate => "validate",
            Self::Adapter => "adapter",
        }
    }

    /// The world that components of this class are built for.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Auth => "auth-strategy",
            Self::Validate => "input-validator",
            Self::Adapter => "node-adapter",
        }
    }

    /// The world in a sentence, with its article.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Auth => "an `auth-strategy`",
            Self::Validate => "an `input-validator`",
            Self::Adapter => "a `node-adapter`",
        }
    }

    /// The interface that the world exports, in every version that is served, the newest first. A component has to
    /// export one of them.
    pub(super) const fn exports(self) -> &'static [&'static str] {
        match self {
            Self::Auth => &["omnivisor:auth/strategy@0.1.0"],
            Self::Validate => &[VALIDATOR_V0_2, VALIDATOR_V0_1],
            Self::Adapter => &[NODE_V0_2, NODE_V0_1],
        }
    }

    /// The interfaces that the world offers to its components, over all versions of it that are served. [`SECRETS`] and [`HTTP_CLIENT`] need a grant besides.
    pub(super) const fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Auth => &[TYPES, AUTH_TYPES, LOG, SETTINGS, CLOCK, RANDOM, SECRETS, HTTP_CLIENT, ACCOUNTS, API_KEYS],
            Self::Validate => &[TYPES, LOG, SETTINGS, CLOCK],
            Self::Adapter => &[TYPES, LOG, SETTINGS, CLOCK, EXCHANGE],
        }
    }

    /// Where the configuration names plugins of this class.
    pub(super) const fn configured_as(self) -> &'static str {
        match self {
            Self::Auth => "`auth` in `[plugins]`",
            Self::Validate => "`validate` in `[plugins]`",
            Self::Adapter => "`adapter` in `[[node]]`",
        }
    }
}

impl fmt::Display for PluginClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an interface that a component names stands to one that the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// The linker takes one for the other.
    Compatible,
    /// The same interface in a version that the linker does not take.
    OtherVersion,
    /// Another interface.
    Different,
}

/// Compares two interface names such as `omnivisor:host/log@0.1.0` by the linker's rule: equal names and versions of
/// one track, which is the major, or the minor while the major is zero, or the patch while both are.
pub(super) fn compare(wanted: &str, offered: &str) -> Match {
    let (wanted_name, wanted_version) = split(wanted);
    let (offered_name, offered_version) = split(offered);
    if wanted_name != offered_name {
        return Match::Different;
    }
    if track(wanted_version) == track(offered_version) { Match::Compatible } else { Match::OtherVersion }
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

fn track(version: &str) -> &str {
    let zeros = version.split('.').take(2).take_while(|part| *part == "0").count();
    let end = version.match_indices('.').nth(zeros).map_or(version.len(), |(at, _)| at);
    version.get(..end).unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_within_their_track_only() {
        let log = "omnivisor:host/log@0.1.0";
        assert_eq!(compare(log, log), Match::Compatible);
        assert_eq!(compare("omnivisor:host/log@0.1.7", log), Match::Compatible);
        assert_eq!(compare("omnivisor:host/log@0.2.0", log), Match::OtherVersion);
        assert_eq!(compare("omnivisor:host/log", log), Match::OtherVersion);
        assert_eq!(compare("omnivisor:host/logs@0.1.0", log), Match::Different);
        assert_eq!(compare("a:b/c@1.2.3", "a:b/c@1.9.0"), Match::Compatible);
        assert_eq!(compare("a:b/c@1.2.3", "a:b/c@2.2.3"), Match::OtherVersion);
        assert_eq!(compare("a:b/c@0.0.3", "a:b/c@0.0.4"), Match::OtherVersion);
    }
}
