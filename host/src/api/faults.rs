//! Every fault of a body, where reading it stops at the first one.

use crate::api::wire::FieldProblem;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Faults that one answer tells.
pub(super) const FAULTS_MAX: usize = 32;

/// What stands in for a member that is missing, so that reading goes on behind it.
fn stand_ins() -> [Value; 6] {
    [json!(""), json!(0), json!(false), json!([]), json!({}), Value::Null]
}

/// Reads a document as a `T` again and again, each time without the fault that was found, and answers all that were found:
/// at least the first, at most [`FAULTS_MAX`]. A required member that nothing simple can stand in for ends the search.
pub(super) fn all<T: DeserializeOwned>(mut document: Value) -> Vec<FieldProblem> {
    let mut faults: Vec<FieldProblem> = Vec::new();
    while faults.len() < FAULTS_MAX
        && let Err(fault) = read::<T>(&document)
    {
        let is_known = faults.iter().any(|known| known.pointer == fault.pointer());
        if !is_known {
            faults.push(fault.problem());
        }
        let is_mended = match &fault.missing {
            Some(_) => fill::<T>(&mut document, &fault),
            // A member that was missing and that nothing stands in for would come again for ever.
            None => !is_known && remove(&mut document, &fault.path),
        };
        if !is_mended {
            break;
        }
    }
    faults
}

/// Where a document is not as it should be. The path is that of the member, or of what lacks one.
struct Fault {
    path: Vec<String>,
    missing: Option<String>,
    message: String,
}

impl Fault {
    fn pointer(&self) -> String {
        pointer(self.path.iter().chain(&self.missing))
    }

    fn problem(&self) -> FieldProblem {
        FieldProblem { pointer: self.pointer(), code: "invalid".into(), message: without_value(&self.message) }
    }
}

/// A JSON pointer (RFC 6901) into the body.
pub(super) fn pointer(path: impl IntoIterator<Item: AsRef<str>>) -> String {
    let mut pointer = String::from("/body");
    for part in path {
        pointer.push('/');
        pointer.push_str(&part.as_ref().replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// The parts of a path, as far as they are members and places in lists.
pub(super) fn parts(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    let part = |segment: &Segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(part).collect()
}

/// The member that is missing, in the words of serde's `missing_field`.
pub(super) fn missing(message: &str) -> Option<String> {
    let (name, _) = message.strip_prefix("missing field `")?.split_once('`')?;
    Some(name.to_owned())
}

/// What serde says of a member, without the value that it shows: it may be a secret, at its own place or another's.
pub(super) fn without_value(message: &str) -> String {
    let shows = ["invalid type: ", "invalid value: ", "unknown variant "];
    match (shows.iter().any(|beginning| message.starts_with(beginning)), message.rsplit_once(", expected ")) {
        (true, Some((_, expected))) => format!("expected {expected}"),
        (true, None) => "it is not what was expected".to_owned(),
        (false, _) => message.to_owned(),
    }
}

fn read<T: DeserializeOwned>(document: &Value) -> Result<(), Fault> {
    let read: Result<T, _> = serde_path_to_error::deserialize(document);
    read.map(drop).map_err(|error| {
        let path = parts(error.path());
        let message = error.into_inner().to_string();
        Fault { path, missing: missing(&message), message }
    })
}

/// Puts something in the place of a missing member. False if nothing will do.
fn fill<T: DeserializeOwned>(document: &mut Value, fault: &Fault) -> bool {
    let Some(name) = &fault.missing else { return false };
    let at = fault.pointer();
    for stand_in in stand_ins() {
        let Some(Value::Object(members)) = at_path(document, &fault.path) else { return false };
        members.insert(name.clone(), stand_in);
        match read::<T>(document) {
            Err(next) if next.pointer() == at => {}
            _ => return true,
        }
    }
    false
}

fn remove(document: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match at_path(document, parents) {
        Some(Value::Object(members)) => members.remove(last).is_some(),
        Some(Value::Array(items)) => {
            let at = last.parse().ok().filter(|at| *at < items.len());
            // Those behind it would be told at another place.
            at.is_some_and(|at: usize| {
                items.truncate(at);
                true
            })
        }
        _ => false,
    }
}

fn at_path<'v>(document: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(members) => members.get_mut(part),
        Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Wish {
        name: String,
        count: u32,
        kind: Kind,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Big,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Part {
        size: u8,
        label: String,
    }

    fn told(document: Value) -> Vec<String> {
        all::<Wish>(document).into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn every_fault_is_told_once_with_its_place() {
        assert_eq!(told(json!({ "name": "a", "count": 1, "kind": "big" })), [""; 0]);
        assert_eq!(
            told(json!({ "name": 7, "count": "x", "kind": "big", "colour": 1, "a/b": 2 })),
            ["/body/a~1b", "/body/colour", "/body/count", "/body/name"]
        );
        assert_eq!(told(json!({ "kind": "big" })), ["/body/name", "/body/count"]);
        assert_eq!(
            told(json!({ "name": 1, "kind": "big", "parts": [{ "size": 1, "label": "" }, { "size": 300, "x": 1 }] })),
            ["/body/name", "/body/parts/1/size", "/body/parts/1/x", "/body/parts/1/label", "/body/count"]
        );
        assert_eq!(told(json!([])), ["/body"]);
    }

    #[test]
    fn what_nothing_stands_in_for_ends_the_search_and_so_does_the_bound() {
        assert_eq!(told(json!({ "name": "a", "count": -1, "kind": "small" })), ["/body/count", "/body/kind"]);
        assert_eq!(told(json!({ "count": -1 })), ["/body/count", "/body/name", "/body/kind"]);
        let many: serde_json::Map<String, Value> = (0..100).map(|n| (format!("x{n:03}"), json!(n))).collect();
        assert_eq!(all::<Wish>(Value::Object(many)).len(), FAULTS_MAX);
    }
}
