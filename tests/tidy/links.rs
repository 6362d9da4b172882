//! What a page links to is there.

use crate::{Fault, assert_none, root};
use std::path::{Path, PathBuf};

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut pages = pages_in(root());
    for folder in ["docs", "docs/decisions"] {
        pages.extend(pages_in(&root().join(folder)));
    }
    assert!(pages.len() > 5, "only {pages:?} were found: the rule looks in the wrong place");
    let mut faults = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a readable page");
        let folder = page.parent().expect("a page lies in a folder");
        for (line, target) in links(&text) {
            if !folder.join(target).exists() {
                let path = page.strip_prefix(root()).expect("below the root").to_string_lossy();
                faults.push(Fault::new(&path, line, format!("links to `{target}`, which is not there")));
            }
        }
    }
    assert_none(&faults);
}

fn pages_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// The targets of `[text](target)` that lie in this tree, each with its line and without its fragment.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                found.push((at + 1, target));
            }
        }
    }
    found
}

#[test]
fn links_are_read_without_their_fragments_and_foreign_ones_left_out() {
    let text = "a [b](docs/c.md#d) and [e](f)\n[g](https://example.org/h) [i](#j)";
    assert_eq!(links(text), [(1, "docs/c.md"), (1, "f")]);
}
