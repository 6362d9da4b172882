//! One record of the log is one line that reads as it is written. Pure.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::LazyLock;

/// Whether the formatter writes colours, as it does on a terminal.
static IS_COLOURED: LazyLock<bool> = LazyLock::new(|| std::io::stderr().is_terminal());

/// Escapes what would break a record in two, or show it in another way than it stands. The line's own end stays, and on a
/// terminal so do colours.
pub(super) fn one_line(bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len().saturating_sub(1);
    // Nothing that is escaped begins otherwise.
    let is_suspect = |(at, byte): (usize, &u8)| {
        (byte.is_ascii_control() && *byte != b'\t' || matches!(byte, 0xc2 | 0xd8 | 0xe2)) && at != end
    };
    if !bytes.iter().enumerate().any(is_suspect) {
        return bytes;
    }
    let text = String::from_utf8_lossy(&bytes);
    let (text, last) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(bytes.len() + 16);
    for (at, c) in text.char_indices() {
        // Writing to a `String` cannot fail; the words are those of JSON, so that its lines stay what they are.
        let _ = match c {
            '\n' => line.write_str("\\n"),
            '\r' => line.write_str("\\r"),
            '\u{1b}' if *IS_COLOURED && is_colour(text.get(at + 1..).unwrap_or_default()) => line.write_char(c),
            c if is_active(c) => write!(line, "\\u{:04x}", u32::from(c)),
            c => line.write_char(c),
        };
    }
    line.push_str(last);
    line.into_bytes()
}

/// Whether what stands behind an escape sets a colour, and does nothing else.
fn is_colour(after: &str) -> bool {
    let numbers = after.strip_prefix('[').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    numbers.is_some_and(|rest| rest.starts_with('m'))
}

/// Controls, line ends of Unicode, and marks that turn the direction of writing.
fn is_active(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::lines::LogLines;
    use crate::config::LogFormat;
    use proptest::prelude::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the log holds after one record with this text in every place of one.
    fn logged(format: LogFormat, text: &str) -> String {
        let written = Written::default();
        let lines = LogLines::start(written.clone(), format).expect("a thread");
        let builder = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false);
        let record = || {
            tracing::error!(shown = %text, quoted = text, debugged = ?text, error = %std::io::Error::other(text.to_owned()), "{text}");
        };
        match format {
            LogFormat::Text => tracing::subscriber::with_default(builder.finish(), record),
            LogFormat::Json => tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), record),
        }
        lines.flush(Duration::from_secs(5));
        let bytes = written.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn is_one_line(log: &str) -> bool {
        let inside = log.strip_suffix('\n').unwrap_or("\n");
        !log.is_empty() && !inside.chars().any(is_active)
    }

    #[test]
    fn only_colours_are_colours() {
        assert!(is_colour("[0m") && is_colour("[1;31mx") && is_colour("[m"));
        assert!(!["[2K", "]0;title\u{7}", "[1;31", "", "m"].into_iter().any(is_colour));
    }

    #[test]
    fn p22_no_name_and_no_words_of_a_node_forge_a_record_of_the_log() {
        let forged = "x\n2026-01-01T00:00:00Z  INFO omnivisor: all is well\r\n\u{1b}[2K\u{9b}1A\u{202e}dne\u{2028}{\"level\":\"INFO\"}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format, forged);
            assert!(is_one_line(&log), "{format:?}: {log:?}");
            assert!(log.contains("all is well"), "nothing of it is lost: {log}");
        }
        let json: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, forged)).expect("JSON");
        assert_eq!((json["level"].as_str(), json["message"].as_str()), (Some("ERROR"), Some(forged)));
    }

    proptest! {
        #[test]
        fn p22_every_text_is_one_record(text in any::<String>(), is_json: bool) {
            let format = if is_json { LogFormat::Json } else { LogFormat::Text };
            let log = logged(format, &text);
            prop_assert!(is_one_line(&log), "{log:?}");
            if is_json {
                let json: serde_json::Value = serde_json::from_str(&log).expect("JSON");
                prop_assert_eq!(json["quoted"].as_str(), Some(text.as_str()));
            }
        }
    }
}
