use std::fmt;

/// One thing wrong in a configuration: where, what, and what would be right. Never holds the text of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The line, counted from 1. `None` when the fault belongs to the text as a whole.
    pub line: Option<usize>,
    /// The key, e.g. `node[2].url`; indices count from 0. Empty for a fault of syntax.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub advice: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.advice)
    }
}

/// The line of a byte offset, counted from 1. An offset behind the end is on the last line.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
