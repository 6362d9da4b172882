//! The plugins' directory: read only where it changed.

use crate::watch::Mark;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::PathBuf;

/// The files that look other than they did. Blocks.
pub(super) fn changed_files(
    files: Vec<(String, PathBuf)>,
    marks: &BTreeMap<String, Mark>,
) -> Vec<(String, PathBuf, Mark)> {
    let look = |(name, path): (String, PathBuf)| {
        let metadata = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let mark = Mark::of(&metadata);
        (marks.get(&name) != Some(&mark)).then_some((name, path, mark))
    };
    files.into_iter().filter_map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_or_rewritten_looks_other() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("a.wasm");
        let files = || vec![("a".to_owned(), path.clone())];
        let mut marks = BTreeMap::new();
        assert!(changed_files(files(), &marks).is_empty(), "nothing is there");
        std::fs::write(&path, b"one").expect("room");
        let [(name, _, mark)] = changed_files(files(), &marks).try_into().expect("one");
        marks.insert(name, mark);
        assert!(changed_files(files(), &marks).is_empty());
        std::fs::write(place.path().join("new"), b"two").expect("room");
        std::fs::rename(place.path().join("new"), &path).expect("one file system");
        assert_eq!(changed_files(files(), &marks).len(), 1, "same size, other file");
        std::fs::remove_file(&path).expect("it is there");
        assert!(changed_files(files(), &marks).is_empty(), "a file that is gone is no reason to stop serving");
    }
}
