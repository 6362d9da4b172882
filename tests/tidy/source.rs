//! A Rust file as rules read it: comments and literals blanked out, split into words and marks with their lines.

use std::path::{Path, PathBuf};

/// One word, number or mark of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
    /// True below `#[cfg(test)] mod ... {`, and in files that only tests read.
    pub(crate) is_test: bool,
}

/// Replaces comments and the contents of literals by blanks. Lines keep their numbers.
pub(crate) fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = literal_length(rest, out.chars().next_back());
        if taken == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (gone, kept) = rest.split_at(taken);
        out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = kept;
    }
    out
}

/// Bytes of the comment or literal that `rest` begins with, 0 if it begins with neither.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return escaped_length(rest, '"');
    }
    if !in_word && let Some(length) = prefixed_length(rest) {
        return length;
    }
    if rest.starts_with('\'') { char_length(rest) } else { 0 }
}

/// `r"..."`, `r#"..."#`, `b"..."`, `br"..."`, `c"..."`, `b'...'`.
fn prefixed_length(rest: &str) -> Option<usize> {
    let word = rest.chars().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    if word == 0 || word > 2 {
        return None;
    }
    let after = &rest[word..];
    if !rest[..word].contains('r') {
        return match after.chars().next()? {
            '"' => Some(word + escaped_length(after, '"')),
            '\'' => Some(word + escaped_length(after, '\'')),
            _ => None,
        };
    }
    let hashes = after.chars().take_while(|&c| c == '#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(word + hashes + 1 + length)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn escaped_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// A character literal; a lifetime is none.
fn char_length(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    let first = chars.next();
    let is_char = first == Some('\\') || chars.next() == Some('\'');
    if is_char { escaped_length(rest, '\'') } else { 0 }
}

/// Splits blanked text into words and marks, and marks what only tests compile.
pub(crate) fn tokens(blanked: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (at, line) in blanked.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            found.push(Token { text, line: at + 1, is_test: false });
            rest = after.trim_start();
        }
    }
    mark_tests(&mut found);
    found
}

fn mark_tests(tokens: &mut [Token<'_>]) {
    let mut at = 0;
    while at < tokens.len() {
        if !(starts_with(&tokens[at..], &["#", "[", "cfg", "(", "test", ")", "]"])) {
            at += 1;
            continue;
        }
        let end = item_end(tokens, at);
        for token in &mut tokens[at..end] {
            token.is_test = true;
        }
        at = end;
    }
}

/// The index after the item that an attribute at `at` stands on: its closing brace, or its semicolon.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "{" => depth += 1,
            "}" if depth <= 1 => return offset + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Whether tokens begin with these texts.
pub(crate) fn starts_with(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

/// Every `.rs` file below a folder, sorted, generated and foreign ones left out.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{blank, tokens};

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source = "a /* x /* y */\n z */ b // c\n\"d \\\" e\" r#\"f \" g\"# 'h' b'\\'' 'static i";
        let words: Vec<_> = tokens(&blank(source)).iter().map(|t| format!("{}{}", t.text, t.line)).collect();
        assert_eq!(words, ["a1", "b2", "'3", "static3", "i3"]);
    }

    #[test]
    fn what_only_tests_compile_is_marked() {
        let source = "fn a() { b } #[cfg(test)] mod tests { fn c() { d } } fn e() {}";
        let blanked = blank(source);
        let marked: String = tokens(&blanked).iter().filter(|t| t.is_test).map(|t| t.text).collect();
        assert_eq!(marked, "#[cfg(test)]modtests{fnc(){d}}");
    }
}
