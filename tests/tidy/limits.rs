//! Every bound among the settings stands in `docs/limits.md`.

use crate::root;

/// The settings that `config::schema` names: the first word in backticks of a field's documentation.
fn settings(schema: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut doc: Option<String> = None;
    for line in schema.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.get_or_insert_default().push_str(text);
            continue;
        }
        let is_field = line.starts_with("pub ") && line.ends_with(',') && line.contains(": ");
        if let Some(doc) = doc.take().filter(|_| is_field)
            && let Some((name, _)) = doc.trim().strip_prefix('`').and_then(|rest| rest.split_once('`'))
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            found.push(name.to_owned());
        }
    }
    found
}

/// Whether a setting is a bound: a number of things, bytes, units of work, or a time.
fn is_bound(setting: &str) -> bool {
    setting == "fuel" || ["_max", "_ms", "_bytes"].iter().any(|end| setting.ends_with(end))
}

fn missing(settings: &[String], document: &str) -> Vec<String> {
    settings.iter().filter(|name| !document.contains(&format!("`{name}`"))).cloned().collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_bound_says_in_the_documents_what_happens_when_it_is_reached() {
    let settings = settings(&read("host/src/config/schema.rs"));
    assert!(settings.len() > 20, "only {settings:?} were found: the rule no longer reads the schema");
    let bounds: Vec<_> = settings.into_iter().filter(|name| is_bound(name)).collect();
    assert_eq!(missing(&bounds, &read("docs/limits.md")), [""; 0], "these bounds are not in docs/limits.md");
}

#[test]
fn a_setting_without_its_line_is_found() {
    let schema = "/// `[x]`\npub struct X {\n    /// `queue_max`, default 3.\n    pub queue_max: usize,\n    /// A note.\n    pub other: u8,\n}";
    assert_eq!(settings(schema), ["queue_max"]);
    assert_eq!(missing(&settings(schema), "the `queue` is bounded"), ["queue_max"]);
    assert_eq!(missing(&settings(schema), "| `queue_max` | refused |"), [""; 0]);
    assert!(is_bound("queue_max") && !is_bound("listen"));
}
