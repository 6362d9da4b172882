//! Selectors: `NODE` or `NODE/GROUP:NAME`, with `*` for any run of characters in each part. Pure.

use super::error::CliError;
use crate::model::Glob;
use std::fmt;

/// What a user pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    text: String,
    node: Glob,
    process: Option<(Glob, Glob)>,
}

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
                    Some((Glob::new(group), Glob::new(name)))
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
        Ok(Self { text: text.to_owned(), node: Glob::new(node), process })
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
        self.node.as_str()
    }

    /// The parts for group and name as they were written, if there are any.
    pub(crate) fn process_patterns(&self) -> Option<(&str, &str)> {
        self.process.as_ref().map(|(group, name)| (group.as_str(), name.as_str()))
    }

    /// The one process it names, when it holds no `*`.
    pub(crate) fn exact_process(&self) -> Option<(&str, String)> {
        let (group, name) = self.process.as_ref()?;
        let is_exact = [&self.node, group, name].iter().all(|part| !part.as_str().contains('*'));
        is_exact.then(|| (self.node.as_str(), format!("{}:{}", group.as_str(), name.as_str())))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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

    proptest! {
        #[test]
        fn a_name_always_matches_itself(node in "[a-z0-9.-]{1,9}", group in "[^:]{1,9}", name in ".{1,9}") {
            let text = format!("{node}/{group}:{name}");
            prop_assert!(Selector::parse(&text).expect("complete").covers(&node, &group, &name));
        }
    }
}
