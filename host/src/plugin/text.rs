//! Texts that plugins chose, made fit for logs, errors and people.

use crate::model::is_deceptive;
use std::fmt::Write as _;

/// Bytes of a stable code.
pub(super) const CODE_BYTES_MAX: usize = 64;
/// Bytes of a sentence for people.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_024;

/// The text with control characters, and those that turn the direction of text around, escaped; at most `bytes_max`
/// bytes.
pub(super) fn clean(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let before = out.len();
        if is_deceptive(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > bytes_max {
            out.truncate(before);
            break;
        }
    }
    out
}

/// The text, cut to at most `bytes_max` bytes where a character ends.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

/// A stable code: at most 64 bytes of `a-z 0-9 . _`; anything else becomes `_`, an empty one `fallback`.
pub(super) fn code(text: &str, fallback: &str) -> String {
    let code: String = text
        .chars()
        .take(CODE_BYTES_MAX)
        .map(|c| match c.to_ascii_lowercase() {
            fit @ ('a'..='z' | '0'..='9' | '.' | '_') => fit,
            _ => '_',
        })
        .collect();
    if code.is_empty() { fallback.to_owned() } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_and_direction_characters_are_escaped() {
        assert_eq!(clean("a\u{1b}[31m\r\nb\u{202e}c", 100), "a\\u{1b}[31m\\r\\nb\\u{202e}c");
        assert_eq!(clean("grün", 3), "gr", "never half a character");
        assert_eq!(clean("ab\n", 3), "ab", "never half an escape");
    }

    #[test]
    fn codes_keep_to_their_alphabet() {
        assert_eq!(code("process.not_found", "x"), "process.not_found");
        assert_eq!(code("Bad Code\n", "x"), "bad_code_");
        assert_eq!(code("", "plugin.unnamed"), "plugin.unnamed");
        assert_eq!(code(&"x".repeat(100), "").len(), 64);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_result_is_short_and_plain(text in ".*", max in 0_usize..64) {
            let cleaned = clean(&text, max);
            prop_assert!(cleaned.len() <= max && !cleaned.chars().any(is_deceptive));
            prop_assert!(cut(text.clone(), max).len() <= max);
            prop_assert!(text.starts_with(&cut(text.clone(), max)));
        }
    }
}
