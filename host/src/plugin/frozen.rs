//! Released contracts never change: `wit/frozen.sha256` holds the digest of each of their files.
//!
//! A plugin that was built against a version is out there for good. The linker compares whole types, so one field more
//! would refuse it.

use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How a digest gets on the list.
const FREEZE: &str = "(cd wit && LC_ALL=C sha256sum */*/*.wit > frozen.sha256)";
/// A version that is not released yet lies in a folder of this ending, and is not on the list.
const DRAFT: &str = "-draft";

/// Digests by path below `wit/`, such as `validate/0.2.0/validate.wit`.
type Digests = BTreeMap<String, String>;

#[test]
fn released_contracts_stay_as_they_are() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let list = std::fs::read_to_string(wit.join("frozen.sha256")).expect("wit/frozen.sha256");
    let files = files(&wit);
    assert!(files.len() >= 6, "only {files:?} were found: the rule looks in the wrong place");
    let faults = faults(&listed(&list), &files);
    assert!(faults.is_empty(), "{} broken rules:\n{}", faults.len(), faults.join("\n"));
}

/// The files of `wit/PACKAGE/VERSION/`, whatever they are called.
fn files(wit: &Path) -> Digests {
    let mut found = Digests::new();
    let mut open = vec![wit.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let name = path.strip_prefix(wit).expect("below wit").to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if name.contains('/') {
                found.insert(name, digest(&std::fs::read(&path).expect("a readable file")));
            }
        }
    }
    found
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of `sha256sum`: a digest, two blanks, a path.
fn listed(list: &str) -> Digests {
    list.lines().filter_map(|line| line.split_once("  ")).map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect()
}

/// Everything by which the files differ from the list, each with what to do.
fn faults(frozen: &Digests, files: &Digests) -> Vec<String> {
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let released: BTreeSet<String> = frozen.keys().map(|path| folder(path)).collect();
    let instead = |path: &str| {
        format!(
            "put wit/{path} back as it was; to change a contract, copy its folder to the next version, serve both (see \
             host/src/plugin/validate), and freeze the new one with {FREEZE}"
        )
    };
    let mut faults = Vec::new();
    for (path, sum) in frozen {
        if folder(path).ends_with(DRAFT) {
            faults.push(format!("wit/{path} is a draft and on the list: take its line out of wit/frozen.sha256"));
        }
        match files.get(path) {
            None => faults.push(format!("wit/{path} was released and is gone: {}", instead(path))),
            Some(found) if found != sum => {
                faults.push(format!("wit/{path} was released and is another now: {}", instead(path)));
            }
            Some(_) => {}
        }
    }
    for path in files.keys().filter(|path| !frozen.contains_key(*path)) {
        let folder = folder(path);
        if released.contains(&folder) {
            faults.push(format!("wit/{path} was added to a released version: take it out; {}", instead(path)));
        } else if !folder.ends_with(DRAFT) {
            faults.push(format!(
                "wit/{path} is neither released nor a draft: freeze it with {FREEZE}, or let its folder's name end with {DRAFT}"
            ));
        }
    }
    faults
}

fn digests(pairs: &[(&str, &str)]) -> Digests {
    pairs.iter().map(|(path, sum)| ((*path).to_owned(), (*sum).to_owned())).collect()
}

#[test]
fn a_changed_a_missing_an_added_and_a_forgotten_file_are_each_told_with_what_to_do() {
    let frozen = listed("aa  a/0.1.0/a.wit\nbb  b/0.1.0/b.wit\n");
    assert_eq!(frozen, digests(&[("a/0.1.0/a.wit", "aa"), ("b/0.1.0/b.wit", "bb")]));
    assert_eq!(faults(&frozen, &frozen), [""; 0]);
    let told = faults(&frozen, &digests(&[("a/0.1.0/a.wit", "ab"), ("b/0.1.0/b.wit", "bb")]));
    assert!(told.len() == 1 && told[0].contains("wit/a/0.1.0/a.wit was released and is another now"), "{told:?}");
    assert!(told[0].contains("copy its folder to the next version") && told[0].contains(FREEZE), "{told:?}");
    let told = faults(&frozen, &digests(&[("b/0.1.0/b.wit", "bb")]));
    assert!(told.len() == 1 && told[0].contains("is gone"), "{told:?}");
    let more = [("a/0.1.0/a.wit", "aa"), ("b/0.1.0/b.wit", "bb"), ("b/0.1.0/c.wit", "cc"), ("b/0.2.0/b.wit", "dd")];
    let told = faults(&frozen, &digests(&more));
    assert!(told.len() == 2 && told[0].contains("added to a released version"), "{told:?}");
    assert!(told[1].contains("neither released nor a draft"), "{told:?}");
    let draft = [("a/0.1.0/a.wit", "aa"), ("b/0.1.0/b.wit", "bb"), ("b/0.2.0-draft/b.wit", "dd")];
    assert_eq!(faults(&frozen, &digests(&draft)), [""; 0]);
    let told = faults(&digests(&draft), &digests(&draft));
    assert!(told.len() == 1 && told[0].contains("is a draft and on the list"), "{told:?}");
}

#[test]
fn a_digest_is_that_of_sha256sum() {
    assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
