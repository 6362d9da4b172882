use plugin_sdk::Fault;
use plugin_sdk::strategy::Verdict;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Larger than a token may be.
    TooLarge,
    /// Its header names extensions that have to be understood.
    Critical,
    /// Signed in a way that is not allowed, or not at all.
    Algorithm,
    /// Signed with a key that the issuer does not have.
    UnknownKey,
    /// Names no key, and too many would have to be tried.
    AmbiguousKey,
    /// The signature is wrong.
    Signature,
    /// From somebody else.
    Issuer,
    /// For somebody else.
    Audience,
    /// Has no end.
    NoExpiry,
    /// Ended.
    Expired,
    /// Not valid yet, or issued in the future.
    NotYet,
    /// Lacks a claim that is needed.
    Incomplete,
    /// Names nobody, or in a way that no name has.
    Name,
    /// Gives no role.
    Role,
}

impl Refusal {
    /// The reason for log and audit.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Critical => "critical_extension",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::Signature => "bad_signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::Incomplete => "incomplete",
            Self::Name => "bad_name",
            Self::Role => "no_role",
        }
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(refusal.reason().to_owned())
    }
}

/// Why there are no claims to believe.
#[derive(Debug)]
pub enum NotVerified {
    /// The token is at fault.
    Refused(Refusal),
    /// There is no telling: its issuer's keys cannot be had.
    Fault(Fault),
}

impl From<Refusal> for NotVerified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for NotVerified {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
