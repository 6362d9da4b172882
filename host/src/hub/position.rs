use std::fmt;
use std::str::FromStr;

/// A place in one log: which log, and the offset of the last event that was seen. Text form `EPOCH:OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Names the log. Another one means that nothing is known about continuity.
    pub epoch: String,
    /// The last event seen, 0 for none.
    pub offset: u64,
}

/// The text is not `EPOCH:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position has the form EPOCH:OFFSET")]
pub struct PositionError;

impl Position {
    /// Reads a position. One that cannot be read is one of another log: either way its bearer is given a snapshot.
    #[must_use]
    pub fn parse_or_unknown(text: &str) -> Self {
        text.parse().unwrap_or(Self { epoch: String::new(), offset: 0 })
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(PositionError)?;
        let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = offset.parse().ok().filter(|_| is_number).ok_or(PositionError)?;
        Ok(Self { epoch: epoch.to_owned(), offset })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_written() {
        let position = Position { epoch: "9f".to_owned(), offset: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "9f", "9f:", "9f:-1", "9f:+1", "9f:x", "9f:18446744073709551616"] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad}");
        }
    }
}
