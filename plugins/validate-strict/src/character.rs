//! Characters that deceive whoever reads them.

/// A control character: C0, DEL or C1. They move cursors, end lines and colour terminals.
pub(crate) fn is_control(character: char) -> bool {
    character.is_control()
}

/// A character that shows nothing and changes what the others mean: two names that look the same would differ.
///
/// Joiners (U+200C, U+200D) are left out here because Persian, Hindi and emoji need them; [`is_joiner`] looks at their place.
///
/// Source: Unicode's general category Cf and `Default_Ignorable_Code_Point`, without joiners, bidi controls, tags of flags
/// and variation selectors.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A zero-width joiner or non-joiner: letters on both sides need it, anything else hides it.
pub(crate) fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// True when every bidi embedding, override and isolate is closed in the same text, and nothing is closed that was not
/// opened. One that stays open turns the text after it around.
///
/// Source: Unicode Standard Annex #9, rules X1 to X8 and BD9.
pub(crate) fn is_bidi_closed(text: &str) -> bool {
    let mut open = Vec::new();
    for character in text.chars() {
        let closes = match character {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => {
                open.push('\u{202c}');
                continue;
            }
            '\u{2066}' | '\u{2067}' | '\u{2068}' => {
                open.push('\u{2069}');
                continue;
            }
            '\u{202c}' | '\u{2069}' => character,
            _ => continue,
        };
        if open.pop() != Some(closes) {
            return false;
        }
    }
    open.is_empty()
}
