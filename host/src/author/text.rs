//! Figures and tables for people.

use crate::model::is_deceptive;
use std::time::Duration;

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration with the unit that suits it.
pub(super) fn took(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..10_000 => format!("{micros} us"),
        10_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// A count with its noun, in the plural unless it is one.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// One line of text from a file that nobody has checked: what a terminal would obey is escaped.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A line of a page: a label, and what belongs to it on lines of their own below each other.
pub(super) fn row(label: &str, lines: &[String]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        text.push_str(format!("  {label:<11} {line}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0, 7, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!([counted(1, "case"), counted(1_500, "case")], ["1 case", "1,500 cases"]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(plain("a = \"\u{1b}[2J\u{202e}ä\"\n"), "a = \"\\u{1b}[2J\\u{202e}ä\"\\n");
    }

    #[test]
    fn a_row_has_its_label_once() {
        assert_eq!(row("a", &["x".to_owned(), "y".to_owned()]), "  a           x\n              y\n");
        assert_eq!(row("a", &[]), "");
    }
}
