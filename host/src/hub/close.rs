use crate::model::GrantEnd;

/// Why a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client closed, or its connection broke. Nothing is sent.
    Left,
    /// A frame broke the WebSocket protocol.
    BadFrame,
    /// A text was not UTF-8.
    BadText,
    /// A message was too long.
    TooLong,
    /// The server is going away.
    GoingAway,
    /// The session or credential that opened the connection came to the end of its time.
    Expired,
    /// Whoever opened the connection may no longer have it, or its credential stands for somebody else.
    AccessChanged,
    /// The client did not take what it asked for, or was not heard.
    TooSlow,
    /// The client had to start over too often.
    ResyncTooOften,
    /// The server has no room for this client now.
    Full,
    /// The client brought credentials that are not good, time and again.
    BadToken,
    /// The session or credential that opened the connection was revoked.
    SessionEnded,
    /// The client broke the feed's own protocol.
    Misuse,
}

impl Close {
    /// Every reason, in the order above.
    pub const ALL: [Self; 13] = [
        Self::Left,
        Self::BadFrame,
        Self::BadText,
        Self::TooLong,
        Self::GoingAway,
        Self::Expired,
        Self::AccessChanged,
        Self::TooSlow,
        Self::ResyncTooOften,
        Self::Full,
        Self::BadToken,
        Self::SessionEnded,
        Self::Misuse,
    ];

    /// The close code that the client is told; `None` when nobody is there to be told. No two reasons share one.
    ///
    /// 4000 to 4499 ask it to come back, 4500 to 4999 not to. Source: `docs/api.md`, "The feed".
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Left => None,
            Self::BadFrame => Some(1002),
            Self::BadText => Some(1007),
            Self::TooLong => Some(1009),
            Self::GoingAway => Some(4001),
            Self::Expired => Some(4003),
            Self::AccessChanged => Some(4004),
            Self::TooSlow => Some(4008),
            Self::ResyncTooOften => Some(4010),
            Self::Full => Some(4013),
            Self::BadToken => Some(4500),
            Self::SessionEnded => Some(4501),
            Self::Misuse => Some(4502),
        }
    }

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::BadFrame => "bad-frame",
            Self::BadText => "bad-text",
            Self::TooLong => "too-long",
            Self::GoingAway => "going-away",
            Self::Expired => "expired",
            Self::AccessChanged => "access-changed",
            Self::TooSlow => "too-slow",
            Self::ResyncTooOften => "resync-too-often",
            Self::Full => "full",
            Self::BadToken => "bad-token",
            Self::SessionEnded => "session-ended",
            Self::Misuse => "misuse",
        }
    }

    /// True when what the client has not read yet is thrown away with the connection.
    pub(super) const fn is_by_right(self) -> bool {
        matches!(self, Self::Expired | Self::AccessChanged | Self::SessionEnded)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl From<GrantEnd> for Close {
    fn from(end: GrantEnd) -> Self {
        match end {
            GrantEnd::Revoked => Self::SessionEnded,
            GrantEnd::Expired => Self::Expired,
            GrantEnd::Changed => Self::AccessChanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = Close::ALL.into_iter().map(Close::code).collect();
        assert_eq!(codes.len(), Close::ALL.len());
        assert!(Close::ALL.into_iter().enumerate().all(|(at, close)| close.index() == at));
    }
}
