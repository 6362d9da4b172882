/// Patterns that one client may ask for.
pub const PATTERNS_MAX: usize = 256;
/// Wildcards that one pattern may hold.
pub const WILDCARDS_MAX: usize = 8;
/// Bytes that one pattern may have.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The topics that a client asks for. `*` stands for any run of characters, also none, but never for `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patterns(Box<[Box<str>]>);

/// Why texts are not patterns. `index` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was asked for.
    #[error("at least one pattern is needed")]
    None,
    /// More than [`PATTERNS_MAX`].
    #[error("{count} patterns are given, at most {PATTERNS_MAX} are allowed")]
    TooMany {
        /// Patterns given.
        count: usize,
    },
    /// An empty text.
    #[error("pattern {index} is empty")]
    Empty {
        /// Which one.
        index: usize,
    },
    /// More than [`PATTERN_BYTES_MAX`].
    #[error("pattern {index} has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong {
        /// Which one.
        index: usize,
    },
    /// More than [`WILDCARDS_MAX`].
    #[error("pattern {index} has more than {WILDCARDS_MAX} wildcards")]
    TooManyWildcards {
        /// Which one.
        index: usize,
    },
}

impl Patterns {
    /// Checks texts and makes them patterns. Order and repetition do not matter.
    ///
    /// # Errors
    /// [`PatternError`] says which limit was hit.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, PatternError> {
        match texts.len() {
            0 => return Err(PatternError::None),
            count if count > PATTERNS_MAX => return Err(PatternError::TooMany { count }),
            _ => {}
        }
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().map(AsRef::as_ref).enumerate() {
            if text.is_empty() {
                return Err(PatternError::Empty { index });
            }
            if text.len() > PATTERN_BYTES_MAX {
                return Err(PatternError::TooLong { index });
            }
            if text.matches('*').count() > WILDCARDS_MAX {
                return Err(PatternError::TooManyWildcards { index });
            }
            patterns.push(Box::from(text));
        }
        patterns.sort_unstable();
        patterns.dedup();
        Ok(Self(patterns.into()))
    }

    /// True when one of the patterns fits the topic as a whole.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| pattern_matches(pattern, topic))
    }
}

fn pattern_matches(pattern: &str, topic: &str) -> bool {
    let mut segments = topic.split('/');
    pattern.split('/').all(|wanted| segments.next().is_some_and(|segment| segment_matches(wanted, segment)))
        && segments.next().is_none()
}

/// The leftmost place for each piece between two wildcards is always a good one, so nothing is tried twice.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((first, later)) = pattern.split_once('*') else { return pattern == segment };
    let Some(mut rest) = segment.strip_prefix(first) else { return false };
    let (middle, last) = later.rsplit_once('*').unwrap_or(("", later));
    for piece in middle.split('*') {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(pattern: &str) -> Patterns {
        Patterns::parse(&[pattern]).expect("legal")
    }

    /// The definition, letter by letter.
    fn naive(pattern: &[char], topic: &[char]) -> bool {
        match (pattern.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) if naive(rest, topic) => true,
            (Some(('*', _)), Some((c, behind))) => *c != '/' && naive(pattern, behind),
            (Some((p, rest)), Some((c, behind))) => p == c && naive(rest, behind),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    #[test]
    fn a_wildcard_stays_inside_its_segment() {
        assert!(one("node/*/state").matches("node/web-1/state"));
        assert!(one("proc/web-*/state").matches("proc/web-/state"));
        assert!(!one("proc/web-*/state").matches("proc/db-1/state"));
        assert!(!one("node/*").matches("node/web-1/state"));
        assert!(!one("*").matches("node/web-1/state"));
        assert!(!one("node/*/state/*").matches("node/web-1/state"));
        assert!(one("*/*/*").matches("node/web-1/state"));
    }

    #[test]
    fn every_limit_is_kept() {
        assert_eq!(Patterns::parse::<&str>(&[]), Err(PatternError::None));
        assert_eq!(Patterns::parse(&["a", ""]), Err(PatternError::Empty { index: 1 }));
        assert!(Patterns::parse(&["x"; 256]).is_ok());
        assert_eq!(Patterns::parse(&["x"; 257]), Err(PatternError::TooMany { count: 257 }));
        assert!(Patterns::parse(&["********"]).is_ok());
        assert_eq!(Patterns::parse(&["*********"]), Err(PatternError::TooManyWildcards { index: 0 }));
        assert!(Patterns::parse(&["x".repeat(1024)]).is_ok());
        assert_eq!(Patterns::parse(&["x".repeat(1025)]), Err(PatternError::TooLong { index: 0 }));
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        assert_eq!(Patterns::parse(&["b", "a", "b"]), Patterns::parse(&["a", "b"]));
    }

    proptest! {
        #[test]
        fn matches_as_the_definition_says(pattern in "[ab*/]{1,10}", topic in "[ab/]{0,12}") {
            prop_assume!(pattern.matches('*').count() <= WILDCARDS_MAX);
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(one(&pattern).matches(&topic), naive(&letters(&pattern), &letters(&topic)));
        }

        #[test]
        fn a_topic_matches_what_was_made_from_it(topic in "[a-zä/]{1,20}", cut in 0..20_usize) {
            let whole: String = topic.chars().enumerate().map(|(at, c)| if at == cut && c != '/' { '*' } else { c }).collect();
            prop_assert!(one(&whole).matches(&topic), "{} {}", whole, topic);
        }
    }
}
