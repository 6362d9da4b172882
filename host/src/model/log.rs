/// Which of a process's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogChannel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogChannel {
    /// The word used on the wire and in paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRange {
    /// The last bytes, at most so many.
    Tail {
        /// Bytes wanted at most.
        bytes_max: u32,
    },
    /// From an offset on, at most so many.
    From {
        /// The first byte wanted, counted from the start of the file.
        offset: u64,
        /// Bytes wanted at most.
        bytes_max: u32,
    },
}

/// A piece of a log: the file's bytes, unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSlice {
    /// Offset of the first byte.
    pub start: u64,
    /// The bytes. Not necessarily UTF-8, not necessarily whole lines.
    pub bytes: Vec<u8>,
    /// The file's size when it was read. `start + bytes.len()` is where to go on.
    pub size: u64,
    /// True when bytes between what was asked for and `start` cannot be had any more (rotated, cleared or cut).
    pub has_gap: bool,
}
