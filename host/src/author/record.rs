//! Writes the fuel that cases used into the text of their file, and leaves every other character as it is. Pure.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::ops::Range;

/// The text with the fuel of some of its cases, by their number. None when the text is not what it was when the cases
/// were read from it.
pub(super) fn with_fuel(text: &str, fuel: &BTreeMap<usize, u64>) -> Option<String> {
    let cases: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let mut written = text.to_owned();
    // From the end on, so that the places before stay what they are.
    for (at, used) in fuel.iter().rev() {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(cases.get(*at)?.get()).ok()?;
        match members.get("fuel") {
            Some(old) => written.replace_range(place(text, old)?, &used.to_string()),
            None => {
                let after = place(text, members.get("name")?)?.end;
                written.insert_str(after, &format!(", \"fuel\": {used}"));
            }
        }
    }
    Some(written)
}

/// Where a value stands in the text that it was read from.
fn place(text: &str, value: &RawValue) -> Option<Range<usize>> {
    let start = (value.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(value.get().len())?;
    text.get(start..end).map(|_| start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[\n  { \"name\": \"a, \\\"b\\\"\",   \"call\": \"observe\" },\n  { \"fuel\" : 12 , \"name\": \"c\" },\n  {\"name\":\"d\"}\n]\n";

    #[test]
    fn fuel_is_written_beside_the_name_or_over_the_old_and_nothing_else_changes() {
        let written = with_fuel(TEXT, &BTreeMap::from([(0, 7), (1, 345_678)])).expect("the same text");
        let expected = "[\n  { \"name\": \"a, \\\"b\\\"\", \"fuel\": 7,   \"call\": \"observe\" },\n  { \"fuel\" : 345678 , \"name\": \"c\" },\n  {\"name\":\"d\"}\n]\n";
        assert_eq!(written, expected);
        assert_eq!(with_fuel(&written, &BTreeMap::from([(0, 7)])).as_deref(), Some(written.as_str()));
    }

    #[test]
    fn another_text_is_left_alone() {
        assert_eq!(with_fuel("[]", &BTreeMap::from([(0, 7)])), None);
        assert_eq!(with_fuel("{", &BTreeMap::new()), None);
        assert_eq!(with_fuel(TEXT, &BTreeMap::new()).as_deref(), Some(TEXT));
    }
}
