//! Every code of an error stands in `docs/api.md`.

use crate::root;

/// The rooms that codes begin with.
const BEGINNINGS: [&str; 13] = [
    "request",
    "auth",
    "route",
    "node",
    "process",
    "operation",
    "log",
    "setup",
    "plugin",
    "config",
    "host",
    "store",
    "feed",
];

/// The texts in a source that are codes: a known word, a full stop, lower-case words.
fn codes(source: &str) -> Vec<&str> {
    let is_code = |text: &&str| {
        let Some((beginning, rest)) = text.split_once('.') else { return false };
        let is_word = rest.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        BEGINNINGS.contains(&beginning) && !rest.is_empty() && is_word
    };
    source.split('"').filter(is_code).collect()
}

fn undocumented<'a>(source: &'a str, document: &str) -> Vec<&'a str> {
    codes(source).into_iter().filter(|code| !document.contains(&format!("`{code}`"))).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_code_that_the_api_answers_is_documented() {
    let document = read("docs/api.md");
    for source in ["host/src/api/error.rs", "host/src/plugin/seam.rs"].map(read) {
        assert!(codes(&source).len() > 5, "the rule no longer reads the source");
        assert_eq!(undocumented(&source, &document), [""; 0], "these codes are not in docs/api.md");
    }
}

#[test]
fn a_code_without_its_line_is_found() {
    let source = r#"row(S::CONFLICT, "node.lost", "A title. With words")"#;
    assert_eq!(codes(source), ["node.lost"]);
    assert_eq!(undocumented(source, "| 409 | `node.found` |"), ["node.lost"]);
    assert_eq!(undocumented(source, "| 409 | `node.lost` |"), [""; 0]);
}
