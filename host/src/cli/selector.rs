//! Selectors: `NODE` or `NODE/GROUP:NAME`, with `*` for any run of characters in each part. Pure.

use super::error::CliError;
use std::fmt;

/// What a user pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    text: String,
    node: Glob,
    process: Option<(Glob, Glob)>,
}

/// A text in which `*` stands for any run of characters, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(String);

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`CliError::Usage`] when a part is missing.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let usage = |hint: String| CliError::usage(format!("`{text}` is not a selector"), hint);
        let (node, process) = match text.split_once('/') {
            Some((node, process)) => (node, Some(process)),
            None => (text, None),
        };
        if node.is_empty() {
            return Err(usage("write NODE or NODE/GROUP:NAME, with `*` for any characters".to_owned()));
        }
        let process = match process {
            None => None,
            Some(process) => match process.split_once(':') {
                Some((group, name)) if !group.is_empty() && !name.is_empty() => {
                    Some((Glob(group.to_owned()), Glob(name.to_owned())))
                }
                Some((group, _)) if !group.is_empty() => {
                    return Err(usage(format!("write {node}/{group}:* for the whole group")));
                }
                Some((_, name)) => return Err(usage(format!("write {node}/*:{name} for any group"))),
                None => {
                    return Err(usage(format!(
                        "a process needs its group: {node}/{process}:* for a group, {node}/*:{process} for a process"
                    )));
                }
            },
        };
        Ok(Self { text: text.to_owned(), node: Glob(node.to_owned()), process })
    }

    /// Reads several.
    ///
    /// # Errors
    /// As [`Selector::parse`], for the first that is wrong.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, CliError> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// True when the node is meant, or may have processes that are.
    pub(crate) fn covers_node(&self, node: &str) -> bool {
        self.node.matches(node)
    }

    /// True when the process is meant. A selector without a process part means them all.
    pub(crate) fn covers(&self, node: &str, group: &str, name: &str) -> bool {
        self.node.matches(node) && self.process.as_ref().is_none_or(|(g, n)| g.matches(group) && n.matches(name))
    }

    /// True for a whole node: no process part.
    pub(crate) const fn is_node(&self) -> bool {
        self.process.is_none()
    }

    /// The node part as it was written; also a pattern of the feed's topics.
    pub(crate) fn node_pattern(&self) -> &str {
        &self.node.0
    }

    /// The one process it names, when it holds no `*`.
    pub(crate) fn exact_process(&self) -> Option<(&str, String)> {
        let (group, name) = self.process.as_ref()?;
        let is_exact = [&self.node, group, name].iter().all(|part| !part.0.contains('*'));
        is_exact.then(|| (self.node.0.as_str(), format!("{}:{}", group.0, name.0)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Glob {
    /// Compares in time proportional to both lengths: after a mismatch only the last `*` is tried again.
    fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).expect(text)
    }

    #[test]
    fn a_node_means_all_its_processes() {
        assert!(selector("web-1").covers("web-1", "app", "x"));
        assert!(!selector("web-1").covers("web-10", "app", "x"));
        assert!(selector("web-*").covers("web-10", "app", "x"));
        assert!(selector("*").covers_node("anything"));
    }

    #[test]
    fn a_process_has_a_group_and_both_take_stars() {
        let chosen = selector("web-*/app:web_*");
        assert!(chosen.covers("web-1", "app", "web_00"));
        assert!(!chosen.covers("web-1", "apps", "web_00"));
        assert!(!chosen.covers("db-1", "app", "web_00"));
        assert!(selector("n/a b:x/y:z").covers("n", "a b", "x/y:z"), "the group ends at the first colon");
        assert_eq!(selector("n/a:b").exact_process(), Some(("n", "a:b".to_owned())));
        assert_eq!(selector("n/a:*").exact_process(), None);
        assert_eq!(selector("n").exact_process(), None);
    }

    #[test]
    fn a_missing_part_is_explained() {
        for (text, hint) in
            [("", "NODE"), ("/a:b", "NODE"), ("n/", "GROUP"), ("n/a", "n/a:*"), ("n/a:", "n/a:*"), ("n/:b", "n/*:b")]
        {
            let CliError::Usage { hint: given, .. } = Selector::parse(text).expect_err(text) else {
                panic!("{text} is a usage error")
            };
            assert!(given.contains(hint) || text == "n/", "{text}: {given}");
        }
    }

    /// The naive twin: tries every way.
    fn naive(glob: &[char], text: &[char]) -> bool {
        match (glob, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            ([g, glob @ ..], [t, text @ ..]) => g == t && naive(glob, text),
            ([], [_, ..]) | ([_, ..], []) => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_their_naive_twin_does(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob(glob.clone()).matches(&text), naive(&chars(&glob), &chars(&text)));
        }

        #[test]
        fn a_name_always_matches_itself(node in "[a-z0-9.-]{1,9}", group in "[^:]{1,9}", name in ".{1,9}") {
            let text = format!("{node}/{group}:{name}");
            prop_assert!(Selector::parse(&text).expect("complete").covers(&node, &group, &name));
        }
    }
}
