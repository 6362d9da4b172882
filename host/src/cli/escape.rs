//! Makes text from elsewhere safe to show on a terminal. Pure.
//!
//! A log line or a process name may hold escape sequences that move the cursor, change the title or hide text. What a
//! terminal would obey is shown as `\x1b` and the like; everything else passes unchanged.

use crate::model::is_deceptive;
use std::borrow::Cow;
use std::fmt::Write as _;

/// One line of text: control characters are escaped, line breaks and tabs too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut shown, c));
    Cow::Owned(shown)
}

/// Bytes that arrive in pieces: keeps a character that was cut in two until its rest comes.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The start of a character, at most three bytes.
    cut: Vec<u8>,
}

impl Stream {
    /// Text that is safe to show, for one more piece. Line feeds and tabs stay.
    pub(crate) fn push(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.extend_from_slice(piece);
        let mut shown = String::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        loop {
            let Err(error) = std::str::from_utf8(rest) else {
                show_all(&mut shown, rest);
                return shown;
            };
            let (good, bad) = rest.split_at(error.valid_up_to());
            show_all(&mut shown, good);
            let Some(length) = error.error_len() else {
                self.cut = bad.to_vec();
                return shown;
            };
            let (bad, after) = bad.split_at(length);
            show_bytes(&mut shown, bad);
            rest = after;
        }
    }

    /// What is left at the end: bytes of a character that never became whole.
    pub(crate) fn finish(&mut self) -> String {
        let mut shown = String::new();
        show_bytes(&mut shown, &std::mem::take(&mut self.cut));
        shown
    }
}

fn show_all(shown: &mut String, text: &[u8]) {
    for c in String::from_utf8_lossy(text).chars() {
        if matches!(c, '\n' | '\t') {
            shown.push(c);
        } else {
            push(shown, c);
        }
    }
}

fn show_bytes(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

fn push(shown: &mut String, c: char) {
    // Writing to a `String` cannot fail.
    let _ = match c {
        '\n' => write!(shown, "\\n"),
        '\r' => write!(shown, "\\r"),
        '\t' => write!(shown, "\\t"),
        c if !is_deceptive(c) => write!(shown, "{c}"),
        c if u32::from(c) < 0x100 => write!(shown, "\\x{:02x}", u32::from(c)),
        c => write!(shown, "\\u{{{:x}}}", u32::from(c)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p22_escape_sequences_are_shown_and_not_obeyed() {
        assert_eq!(
            line("a\x1b[31mb\r\n\tc\u{9b}\u{202e}\u{61c}\u{2028}"),
            r"a\x1b[31mb\r\n\tc\x9b\u{202e}\u{61c}\u{2028}"
        );
        assert_eq!(line("plain ä 漢"), "plain ä 漢");
        let mut stream = Stream::default();
        assert_eq!(stream.push(b"one\n\ttwo\r\n\x1b]0;x\x07"), "one\n\ttwo\\r\n\\x1b]0;x\\x07");
    }

    #[test]
    fn a_character_cut_in_two_pieces_is_put_together() {
        let mut stream = Stream::default();
        let bytes = "ä漢".as_bytes();
        let shown: String = bytes.iter().map(|byte| stream.push(&[*byte])).collect();
        assert_eq!(shown, "ä漢");
        assert_eq!(stream.push(&bytes[..1]), "");
        assert_eq!(stream.finish(), r"\xc3");
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #[test]
        fn p22_no_bytes_in_any_pieces_reach_the_terminal_as_orders(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..12)) {
            let mut stream = Stream::default();
            let mut shown: String = pieces.iter().map(|piece| stream.push(piece)).collect();
            shown.push_str(&stream.finish());
            prop_assert!(shown.chars().all(|c| matches!(c, '\n' | '\t') || !is_deceptive(c)), "{shown:?}");
            let mut whole = Stream::default();
            let mut at_once = whole.push(&pieces.concat());
            at_once.push_str(&whole.finish());
            prop_assert_eq!(shown, at_once, "where the pieces are cut makes no difference");
        }
    }
}
