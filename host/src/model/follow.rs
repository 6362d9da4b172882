use std::time::SystemTime;

/// What became of a followed log, told in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogNews {
    /// When it was read, by our clock.
    pub at: SystemTime,
    /// What it is.
    pub body: LogNewsBody,
}

/// See [`LogNews`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogNewsBody {
    /// Some of the file's bytes.
    Piece(LogPiece),
    /// Bytes may be missing here.
    Gap(LogGap),
    /// How the following itself goes.
    Follow(FollowState),
}

impl LogNews {
    /// How many lines it counts as: what is not a piece counts as one.
    #[must_use]
    pub fn lines(&self) -> u32 {
        match &self.body {
            LogNewsBody::Piece(piece) => piece.lines(),
            LogNewsBody::Gap(_) | LogNewsBody::Follow(_) => 1,
        }
    }
}

/// Consecutive bytes of a log, unchanged: whole lines, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// Offset of the first byte in the file.
    pub start: u64,
    /// The bytes. Not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// True when the last line does not end here: the next piece goes on with it.
    pub is_continued: bool,
}

impl LogPiece {
    /// Lines that end in it, and the one that does not.
    #[must_use]
    pub fn lines(&self) -> u32 {
        let ends = self.bytes.iter().filter(|&&byte| byte == b'\n').count();
        u32::try_from(ends).unwrap_or(u32::MAX).saturating_add(u32::from(self.is_continued))
    }
}

/// A place in a followed log where bytes may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogGap {
    /// Why.
    pub why: GapReason,
    /// How many bytes, where that can be known.
    pub bytes: Option<u64>,
    /// Offset of the byte with which it goes on, in the file as it is now.
    pub next: u64,
}

/// Why bytes may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The file that was read is not there any more: rotated, cleared or cut.
    Rotated,
    /// The supervisor cannot show these bytes.
    Unreadable,
    /// The log grew faster than it could be read, and some of it was passed over.
    Behind,
}

impl GapReason {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Unreadable => "unreadable",
            Self::Behind => "behind",
        }
    }
}

/// How the following of a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowState {
    /// It is followed from here on; also after it could not be read for a while.
    Following {
        /// Offset of the next byte.
        next: u64,
        /// True when its supervisor tells of new bytes; false when it is asked at intervals.
        is_told: bool,
    },
    /// It cannot be read now and is tried again.
    Waiting {
        /// Why, one sentence without secrets.
        why: String,
    },
    /// It is not followed, because too many are.
    Refused {
        /// Which bound was reached, one sentence.
        why: String,
    },
}

impl FollowState {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Following { .. } => "following",
            Self::Waiting { .. } => "waiting",
            Self::Refused { .. } => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_counts_as_one() {
        let piece = |bytes: &[u8], is_continued| LogPiece { start: 0, bytes: bytes.to_vec(), is_continued }.lines();
        assert_eq!(piece(b"a\nb\n", false), 2);
        assert_eq!(piece(b"a\nb", true), 2);
        assert_eq!(piece(b"", false), 0);
    }
}
