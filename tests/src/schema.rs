use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Words of a schema that say nothing about what fits.
const NOTES: &[&str] =
    &["description", "example", "examples", "format", "title", "deprecated", "default", "writeOnly", "pattern"];

/// Holds a value against a JSON schema of `document`, which its references lead into.
///
/// # Errors
/// The value does not fit, with the place; or the schema uses a word that is not known here.
pub fn check_schema(document: &Value, schema: &Value, value: &Value) -> anyhow::Result<()> {
    if schema == &Value::Bool(true) {
        return Ok(());
    }
    for (word, rule) in schema.as_object().with_context(|| format!("not a schema: {schema}"))? {
        check_word(document, schema, word, rule, value).with_context(|| format!("`{word}`"))?;
    }
    Ok(())
}

fn check_word(document: &Value, schema: &Value, word: &str, rule: &Value, value: &Value) -> anyhow::Result<()> {
    match word {
        "$ref" => {
            let path = rule.as_str().and_then(|path| path.strip_prefix('#')).context("a reference elsewhere")?;
            let target = document.pointer(path).with_context(|| format!("nothing is at {path}"))?;
            check_schema(document, target, value).with_context(|| path.to_owned())
        }
        "type" => {
            let fits = |kind: &Value| kind.as_str().is_some_and(|kind| is_of_type(value, kind));
            ensure!(rule.as_array().map_or_else(|| fits(rule), |kinds| kinds.iter().any(fits)), "{value} is no {rule}");
            Ok(())
        }
        "const" => {
            ensure!(rule == value, "{value} is not {rule}");
            Ok(())
        }
        "enum" => {
            ensure!(rule.as_array().is_some_and(|all| all.contains(value)), "{value} is none of {rule}");
            Ok(())
        }
        "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems" => {
            ensure!(is_within(word, rule, value), "{value} is not within `{word}` {rule}");
            Ok(())
        }
        "oneOf" => {
            let all = rule.as_array().context("not a list")?;
            let outcomes: Vec<_> = all.iter().map(|schema| check_schema(document, schema, value)).collect();
            let fitting = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let why: Vec<String> =
                outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(|why| format!("{why:#}")).collect();
            ensure!(fitting == 1, "{fitting} of {} fit {value}: {}", all.len(), why.join("; "));
            Ok(())
        }
        "required" => {
            let missing = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing: Vec<_> = missing.filter(|name| value.get(name).is_none()).collect();
            ensure!(missing.is_empty(), "{missing:?} are missing in {value}");
            Ok(())
        }
        "properties" => {
            for (name, member) in value.as_object().into_iter().flatten() {
                if let Some(schema) = rule.get(name) {
                    check_schema(document, schema, member).with_context(|| format!("member `{name}`"))?;
                }
            }
            Ok(())
        }
        "additionalProperties" => {
            for (name, member) in value.as_object().into_iter().flatten() {
                if schema["properties"].get(name).is_none() {
                    ensure!(rule != &Value::Bool(false), "`{name}` is not described: {value}");
                    check_schema(document, rule, member).with_context(|| format!("member `{name}`"))?;
                }
            }
            Ok(())
        }
        "items" => value.as_array().into_iter().flatten().try_for_each(|item| check_schema(document, rule, item)),
        "propertyNames" => Ok(()),
        note if NOTES.contains(&note) => Ok(()),
        other => bail!("the word `{other}` is not known here"),
    }
}

/// Bounds are about values of one kind each; others are within them. Texts are counted in characters.
fn is_within(word: &str, rule: &Value, value: &Value) -> bool {
    let size = match word {
        "minimum" | "maximum" => value.as_f64(),
        "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as f64),
        _ => value.as_array().map(|items| items.len() as f64),
    };
    let Some((size, rule)) = size.zip(rule.as_f64()) else { return true };
    if word.starts_with("min") { size >= rule } else { size <= rule }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_found() {
        let document = json!({ "a": { "type": ["integer", "null"], "minimum": 2 } });
        let schema = json!({ "type": "object", "properties": { "x": { "$ref": "#/a" }, "y": { "enum": ["b"] } },
            "required": ["x"], "additionalProperties": false });
        let fits = |value: Value| check_schema(&document, &schema, &value).is_ok();
        assert!(fits(json!({ "x": 2 })) && fits(json!({ "x": null, "y": "b" })));
        for bad in [
            json!([]),
            json!({}),
            json!({ "x": 1 }),
            json!({ "x": "2" }),
            json!({ "x": 2, "y": "c" }),
            json!({ "x": 2, "z": 1 }),
        ] {
            assert!(!fits(bad.clone()), "{bad}");
        }
        let bounds = json!({ "minLength": 2, "maxLength": 3, "maximum": 9, "minItems": 1, "maxItems": 2 });
        for (value, is_legal) in [
            (json!("a"), false),
            (json!("éé"), true),
            (json!("abcd"), false),
            (json!(9), true),
            (json!(10), false),
            (json!([]), false),
            (json!([1]), true),
            (json!([1, 2, 3]), false),
        ] {
            assert_eq!(check_schema(&document, &bounds, &value).is_ok(), is_legal, "{value}");
        }
        let either = json!({ "oneOf": [{ "type": "integer" }, { "const": 3 }] });
        assert!(check_schema(&document, &either, &json!(2)).is_ok());
        assert!(check_schema(&document, &either, &json!(3)).is_err(), "both");
        assert!(check_schema(&document, &json!({ "not": {} }), &json!("x")).is_err(), "an unknown word");
        assert!(check_schema(&document, &json!({ "$ref": "#/b" }), &json!("x")).is_err());
    }
}
