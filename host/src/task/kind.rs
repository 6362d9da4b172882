use std::fmt;

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskKind {
    /// Accepts connections.
    Listener,
    /// Serves one connection.
    Connection,
    /// Finishes what a request began, also when its client has left.
    Request,
    /// Serves clients of the feed.
    Feed,
    /// Writes to the feed's clients on one core.
    Shard,
    /// Clears away what is over.
    Upkeep,
    /// Owns one node.
    Owner,
    /// Follows one log.
    Follower,
    /// Carries events from nodes and plugins to the feed.
    Relay,
    /// Looks after the plugins, or after who owns which node.
    Keeper,
    /// Reads and applies configurations.
    Configuration,
}

/// When a task has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// With the requests under way.
    Edge,
    /// After them: they may have waited for it.
    Core,
}

/// What follows when a task panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Its one client or request fails; nothing else.
    Contained,
    /// It is started over.
    Restarted,
    /// The process ends, for nothing would do its work.
    Ends,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Listener,
        Self::Connection,
        Self::Request,
        Self::Feed,
        Self::Shard,
        Self::Upkeep,
        Self::Owner,
        Self::Follower,
        Self::Relay,
        Self::Keeper,
        Self::Configuration,
    ];

    /// The word used on the wire, in metrics and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Feed => "feed",
            Self::Shard => "shard",
            Self::Upkeep => "upkeep",
            Self::Owner => "owner",
            Self::Follower => "follower",
            Self::Relay => "relay",
            Self::Keeper => "keeper",
            Self::Configuration => "configuration",
        }
    }

    /// When it has to end.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::Listener | Self::Connection | Self::Request | Self::Feed | Self::Shard | Self::Upkeep => Stage::Edge,
            Self::Owner | Self::Follower | Self::Relay | Self::Keeper | Self::Configuration => Stage::Core,
        }
    }

    /// What follows when one panics.
    #[must_use]
    pub const fn consequence(self) -> Consequence {
        match self {
            Self::Connection | Self::Request | Self::Feed => Consequence::Contained,
            Self::Owner | Self::Follower => Consequence::Restarted,
            Self::Listener | Self::Shard | Self::Upkeep | Self::Relay | Self::Keeper | Self::Configuration => {
                Consequence::Ends
            }
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
