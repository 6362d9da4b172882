/// True for a character that acts or hides where it should be shown: controls of both sets, line ends of Unicode, marks that turn
/// the direction of writing (UAX #9) and so make a line read as what it is not, and the mark of the byte order. What comes
/// from elsewhere is shown with these escaped: in the log, in errors, on a terminal. Each has four hexadecimal digits at most.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_or_hides_is_told_from_what_is_shown() {
        for c in
            "\0\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}"
                .chars()
        {
            assert!(is_deceptive(c), "{c:?}");
            assert_eq!(c.len_utf16(), 1, "{c:?}");
        }
        for c in " a\u{a0}\u{e4}\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}\u{6f22}\u{1f600}".chars() {
            assert!(!is_deceptive(c), "{c:?}");
        }
    }
}
