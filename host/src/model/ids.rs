use std::fmt;
use std::sync::Arc;

/// The name of a node: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, starting with a letter or digit.
///
/// Cheap to clone. Unique in one configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name is needed, and it is empty")]
    Empty,
    /// Longer than allowed.
    #[error("the name has {length} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that a name may not have.
    #[error("the character {character:?} is not allowed in a name")]
    Character {
        /// The first such character.
        character: char,
    },
    /// A process address without its group.
    #[error("a process is addressed as `group:name`")]
    NoGroup,
}

impl NodeId {
    /// Bytes a node's name may have.
    pub const BYTES_MAX: usize = 64;

    /// Checks a text and makes it a node's name.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text, Self::BYTES_MAX)?;
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let bad = text.chars().enumerate().find(|&(at, c)| !(is_word(c) || at > 0 && matches!(c, '.' | '_' | '-')));
        match bad {
            Some((_, character)) => Err(NameError::Character { character }),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A process on a node. With the node's name this is its identity everywhere: keys, selectors, logs, feed.
///
/// Two groups may hold programs of the same name, so the group is never left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    group: Arc<str>,
    name: Arc<str>,
}

impl ProcessId {
    /// Bytes a group and a name may have, each.
    pub const BYTES_MAX: usize = 255;

    /// An identity as a supervisor reported it. No rule is applied: a node may call its processes what it likes.
    #[must_use]
    pub fn reported(group: &str, name: &str) -> Self {
        Self { group: group.into(), name: name.into() }
    }

    /// Reads `group:name`. The group ends at the first colon, as in supervisord's `split_namespec`.
    ///
    /// # Errors
    /// [`NameError`] when a part is missing, too long, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (group, name) = text.split_once(':').ok_or(NameError::NoGroup)?;
        for part in [group, name] {
            check_length(part, Self::BYTES_MAX)?;
            if let Some(character) = part.chars().find(|c| c.is_control()) {
                return Err(NameError::Character { character });
            }
        }
        Ok(Self::reported(group, name))
    }

    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The process's name inside its group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        length if length > max => Err(NameError::TooLong { length, max }),
        _ => Ok(()),
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.name)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_is_a_plain_word() {
        assert!(NodeId::parse("web-1.eu_a").is_ok());
        assert_eq!(NodeId::parse(""), Err(NameError::Empty));
        for bad in ["-web", "../etc", "a b", "a/b", "a:b", "a\n", "ä"] {
            assert!(matches!(NodeId::parse(bad), Err(NameError::Character { .. })), "{bad:?}");
        }
        assert_eq!(NodeId::parse(&"x".repeat(65)), Err(NameError::TooLong { length: 65, max: 64 }));
    }

    #[test]
    fn a_process_needs_its_group_and_may_have_odd_characters() {
        let id = ProcessId::parse("web farm:näme/1:b").expect("legal in supervisord");
        assert_eq!((id.group(), id.name()), ("web farm", "näme/1:b"));
        assert_eq!(ProcessId::parse("bare"), Err(NameError::NoGroup));
        assert_eq!(ProcessId::parse(":x"), Err(NameError::Empty));
        assert_eq!(ProcessId::parse("a:\u{1b}"), Err(NameError::Character { character: '\u{1b}' }));
    }
}
