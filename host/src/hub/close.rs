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
    /// The client did not take what it asked for.
    TooSlow,
    /// The server has no room for this client now.
    Full,
    /// The session that opened the connection ended.
    SessionEnded,
    /// The client broke the feed's own protocol.
    Misuse,
}

impl Close {
    /// Every reason, in the order above.
    pub const ALL: [Self; 9] = [
        Self::Left,
        Self::BadFrame,
        Self::BadText,
        Self::TooLong,
        Self::GoingAway,
        Self::TooSlow,
        Self::Full,
        Self::SessionEnded,
        Self::Misuse,
    ];

    /// The close code that the client is told; `None` when nobody is there to be told.
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
            Self::TooSlow => Some(4008),
            Self::Full => Some(4013),
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
            Self::TooSlow => "too-slow",
            Self::Full => "full",
            Self::SessionEnded => "session-ended",
            Self::Misuse => "misuse",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
