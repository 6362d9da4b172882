//! What was expected against what was found. Pure.

use serde_json::Value;

/// Differences told of one case; the others are counted.
const TOLD_MAX: usize = 20;
/// Characters of a value that are shown.
const SHOWN_MAX: usize = 120;

/// Every difference, each with the place as a JSON pointer. Of objects only the members that are expected are compared,
/// so that a case says what it is about and nothing else; lists have to be equally long.
pub(super) fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    walk("", expected, found, &mut differences);
    let beyond = differences.len().saturating_sub(TOLD_MAX);
    if beyond > 0 {
        differences.truncate(TOLD_MAX);
        differences.push(format!("and {beyond} more"));
    }
    differences
}

fn walk(place: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, expected) in expected {
                let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                match found.get(key) {
                    Some(found) => walk(&place, expected, found, differences),
                    None => differences.push(format!("{place}: expected {}, found nothing", shown(expected))),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            if expected.len() != found.len() {
                let (expected, found) = (expected.len(), found.len());
                differences.push(format!("{}: expected {expected} elements, found {found}", named(place)));
            }
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                walk(&format!("{place}/{at}"), expected, found, differences);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => {
            differences.push(format!("{}: expected {}, found {}", named(place), shown(expected), shown(found)));
        }
    }
}

fn named(place: &str) -> &str {
    if place.is_empty() { "result" } else { place }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn only_what_is_expected_is_compared_and_every_difference_has_its_place() {
        let found = json!({ "version": "1", "processes": [{ "name": "a", "pid": 7 }, { "name": "b", "pid": null }] });
        let same = json!({ "processes": [{ "name": "a" }, { "pid": null }] });
        assert_eq!(differences(&same, &found), [""; 0]);
        let other = json!({ "version": 1, "a/b": 2, "processes": [{ "name": "x" }] });
        assert_eq!(
            differences(&other, &found),
            [
                "/a~1b: expected 2, found nothing",
                "/processes: expected 1 elements, found 2",
                "/processes/0/name: expected \"x\", found \"a\"",
                "/version: expected 1, found \"1\"",
            ]
        );
        assert_eq!(differences(&json!("a"), &Value::Null), ["result: expected \"a\", found null"]);
    }

    #[test]
    fn many_differences_are_counted() {
        let told = differences(&json!(vec![1; 50]), &json!(vec![2; 50]));
        assert_eq!((told.len(), told.last().map(String::as_str)), (TOLD_MAX + 1, Some("and 30 more")));
    }

    proptest! {
        #[test]
        fn a_value_never_differs_from_itself(numbers in prop::collection::vec(any::<i64>(), 0..8), text in ".*") {
            let value = json!({ "numbers": numbers, text.clone(): [text] });
            prop_assert_eq!(differences(&value, &value), Vec::<String>::new());
        }
    }
}
