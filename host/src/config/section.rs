use crate::config::ConfigFault;
use crate::config::fault::line_at;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Collects the faults of one text.
pub(super) struct Report<'t> {
    text: &'t str,
    pub(super) faults: Vec<ConfigFault>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: Vec::new() }
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        line_at(self.text, span.start)
    }

    pub(super) fn fault(
        &mut self,
        span: &Range<usize>,
        key: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let line = Some(self.line(span));
        self.faults.push(ConfigFault { line, key: key.into(), problem: problem.into(), advice: advice.into() });
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, key: impl Into<String>, advice: impl Into<String>) {
        self.fault(&value.span(), key, format!("it is {}", type_of(value.get_ref())), advice);
    }
}

/// One table of the text, read key by key. What was never asked for when it is [finished](Section::finish) is unknown,
/// so there is no second list of keys that could differ.
pub(super) struct Section<'d> {
    path: String,
    span: Range<usize>,
    table: Option<&'d DeTable<'d>>,
    asked: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// The text as a whole, or an element of an array of tables.
    pub(super) fn new(path: String, span: Range<usize>, table: &'d DeTable<'d>) -> Self {
        Self { path, span, table: Some(table), asked: Vec::new() }
    }

    /// The table below `key`. An absent one reads like an empty one.
    pub(super) fn section(&mut self, report: &mut Report<'_>, key: &'static str) -> Self {
        let path = self.path_of(key);
        let found = self.take(key);
        let span = found.map_or(self.span.clone(), Spanned::span);
        let mut table = None;
        if let Some(value) = found {
            table = value.get_ref().as_table();
            if table.is_none() {
                report.wrong_type(value, &path, format!("expected a table `[{path}]`"));
            }
        }
        Self { path, span, table, asked: Vec::new() }
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&mut self, report: &mut Report<'_>, key: &'static str) -> Vec<Self> {
        let path = self.path_of(key);
        let advice = format!("expected tables `[[{path}]]`");
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            report.wrong_type(value, path, advice);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let DeValue::Table(table) = item.get_ref() {
                tables.push(Self::new(path, item.span(), table));
            } else {
                report.wrong_type(item, path, &advice);
            }
        }
        tables
    }

    /// The tables `[key.NAME]`, whatever their names are. The name comes with the place where it stands.
    pub(super) fn table(&mut self, report: &mut Report<'_>, key: &'static str) -> Vec<(&'d str, Range<usize>, Self)> {
        let path = self.path_of(key);
        self.entries(report, key, "a table")
            .into_iter()
            .filter_map(|(name, span, value)| {
                let shown: String = name.escape_debug().take(64).collect();
                let path = format!("{path}.{shown}");
                if let DeValue::Table(table) = value.get_ref() {
                    return Some((name, span, Self::new(path, value.span(), table)));
                }
                report.wrong_type(value, &path, format!("expected a table `[{path}]`"));
                None
            })
            .collect()
    }

    /// The members of a table whose keys are the operator's own.
    pub(super) fn entries(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        expected: &str,
    ) -> Vec<(&'d str, Range<usize>, &'d Spanned<DeValue<'d>>)> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            report.wrong_type(value, &path, format!("expected tables `[{path}.NAME]` of {expected} each"));
            return Vec::new();
        };
        table.iter().map(|(name, value)| (name.get_ref().as_ref(), name.span(), value)).collect()
    }

    /// A whole table as one JSON object, with the place where it stands.
    pub(super) fn json(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<(String, Range<usize>)> {
        let value = self.take(key)?;
        let DeValue::Table(_) = value.get_ref() else {
            let path = self.path_of(key);
            report.wrong_type(value, &path, format!("expected a table `[{path}]`"));
            return None;
        };
        Some((json_of(value.get_ref()).to_string(), value.span()))
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The section's own key.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Counts keys as asked for, for those who read them only when they are there.
    pub(super) fn asked(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Where the section begins.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// Where a value stands, if it is there. Does not count as asking for it.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.and_then(|table| table.get(key)).map(Spanned::span)
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table.and_then(|table| table.get(key))
    }

    /// A text, with the place where it stands.
    pub(super) fn text(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<(&'d str, Range<usize>)> {
        let value = self.take(key)?;
        let DeValue::String(text) = value.get_ref() else {
            report.wrong_type(value, self.path_of(key), "expected a text in quotes");
            return None;
        };
        Some((text.as_ref(), value.span()))
    }

    /// A list of texts, with the place of the list.
    pub(super) fn texts(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<(Vec<&'d str>, Range<usize>)> {
        let value = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            report.wrong_type(value, self.path_of(key), "expected a list of texts, `[\"...\"]`");
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if let DeValue::String(text) = item.get_ref() {
                texts.push(text.as_ref());
            } else {
                report.wrong_type(item, format!("{}[{index}]", self.path_of(key)), "expected a text in quotes");
            }
        }
        Some((texts, value.span()))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, report: &mut Report<'_>, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        if let DeValue::Boolean(flag) = value.get_ref() {
            return *flag;
        }
        report.wrong_type(value, self.path_of(key), "expected true or false");
        default
    }

    /// A whole number inside `range`, or `default`.
    pub(super) fn integer(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = self.take(key) else { return default };
        let advice = format!("expected a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(digits) = value.get_ref() else {
            report.wrong_type(value, self.path_of(key), advice);
            return default;
        };
        match u64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) if range.contains(&number) => number,
            Ok(_) | Err(_) => {
                report.fault(&value.span(), self.path_of(key), format!("{digits} is out of range"), advice);
                default
            }
        }
    }

    /// As [`Self::integer`], for counts and sizes.
    pub(super) fn size(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> usize {
        usize::try_from(self.integer(report, key, default, range)).unwrap_or(usize::MAX)
    }

    /// As [`Self::integer`], for milliseconds.
    pub(super) fn millis(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_millis(self.integer(report, key, default, range))
    }

    /// Refuses a key that people try, with advice. Its value is not shown.
    pub(super) fn refuse(&mut self, report: &mut Report<'_>, key: &'static str, problem: &str, advice: &str) {
        let Some(table) = self.table else { return };
        if let Some((found, _)) = table.get_key_value(key) {
            report.fault(&found.span(), self.path_of(key), problem, advice);
        }
    }

    /// Reports every key that nobody asked for, but those in `refused`.
    pub(super) fn finish(self, report: &mut Report<'_>, refused: &[&str]) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) || refused.contains(&name) {
                continue;
            }
            let advice = nearest(name, &self.asked).map_or_else(
                || format!("expected one of {}", self.asked.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            let shown: String = name.escape_debug().take(64).collect();
            report.fault(&key.span(), self.path_of(&shown), "unknown key", advice);
        }
    }
}

fn json_of(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).map_or_else(|_| digits.as_str().into(), Into::into)
        }
        DeValue::Float(digits) => digits.as_str().parse::<f64>().map_or_else(|_| digits.as_str().into(), Into::into),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
        }
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that a mistyped one is closest to, if it is close.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let close_enough = |known: &str| (known.len() / 3).clamp(1, 3);
    known
        .iter()
        .map(|&known| (distance(word, known), known))
        .filter(|&(edits, known)| edits <= close_enough(known))
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, known)| known)
}

/// How many single-character edits lie between two words (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut corner = i;
        let mut before = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let replaced = corner + usize::from(l != r);
            corner = *cell;
            before = replaced.min(corner + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        for (left, right, edits) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("url", "urll", 1)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
            assert_eq!(distance(right, left), edits, "{right} {left}");
        }
    }

    #[test]
    fn only_a_close_word_is_offered() {
        let known = ["url", "username", "password_file"];
        assert_eq!(nearest("pasword_file", &known), Some("password_file"));
        assert_eq!(nearest("ulr", &known), None, "two edits in three letters are another word");
        assert_eq!(nearest("user_name", &known), Some("username"));
        assert_eq!(nearest("colour", &known), None);
    }
}
