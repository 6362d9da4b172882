//! Length of files and silenced lints, over every Rust file of the workspace.

use crate::source::{blank, rust_files, starts_with, tokens};
use crate::{Fault, assert_none, root};

const FILE_LINES_MAX: usize = 800;
const MAIN_LINES_MAX: usize = 60;
/// Where `unsafe` may stand: machine code is run there, after its origin was checked.
const UNSAFE: &str = "host/src/plugin/artefact.rs";
const MEMBERS: &[&str] = &["host", "plugin-sdk", "plugin-identity", "plugin-jose", "plugins", "tests"];

#[test]
fn no_file_is_too_long_and_no_lint_is_silenced_for_good() {
    let files: Vec<_> = MEMBERS.iter().flat_map(|member| rust_files(&root().join(member))).collect();
    assert!(files.len() > 20, "only {} files were found: the rule looks in the wrong place", files.len());
    let faults: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a readable file");
            check(&path.strip_prefix(root()).expect("below the root").to_string_lossy(), &text)
        })
        .collect();
    assert_none(&faults);
}

fn check(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    let max = if path == "host/src/main.rs" { MAIN_LINES_MAX } else { FILE_LINES_MAX };
    if lines > max {
        faults.push(Fault::new(path, max, format!("{lines} lines, at most {max}: split it by noun")));
    }
    let blanked = blank(text);
    let tokens = tokens(&blanked);
    for (at, token) in tokens.iter().enumerate() {
        let rest = &tokens[at..];
        if starts_with(rest, &["#", "[", "allow", "("]) || starts_with(rest, &["#", "!", "[", "allow", "("]) {
            faults.push(Fault::new(path, token.line, "silences a lint with `allow`; use `expect` with a reason"));
        }
        if starts_with(rest, &["#", "[", "ignore"]) {
            faults.push(Fault::new(path, token.line, "ignores a test; assert today's answer and say so"));
        }
        if token.text == "unsafe" && path != UNSAFE {
            faults.push(Fault::new(path, token.line, format!("is `unsafe`, which only `{UNSAFE}` may be")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn long_files_are_refused() {
        assert!(check("host/src/a.rs", &"\n".repeat(800)).is_empty());
        assert_eq!(check("host/src/a.rs", &"\n".repeat(801)).len(), 1);
        assert!(check("host/src/main.rs", &"\n".repeat(60)).is_empty());
        assert_eq!(check("host/src/main.rs", &"\n".repeat(61)).len(), 1);
    }

    #[test]
    fn unsafe_code_is_refused_but_where_machine_code_is_loaded() {
        assert_eq!(check("host/src/store/a.rs", "fn a() { unsafe { b() } }").len(), 1);
        assert_eq!(check("plugins/x/src/lib.rs", "unsafe impl Send for A {}").len(), 1);
        assert!(check(super::UNSAFE, "fn a() { unsafe { b() } }").is_empty());
        assert!(check("host/src/store/a.rs", "// unsafe\n#[expect(unsafe_code, reason = \"unsafe\")]").is_empty());
        let allowed = std::fs::read_to_string(crate::root().join(super::UNSAFE)).expect("the file is there");
        assert_eq!(allowed.matches("unsafe {").count(), 1, "one block, and it is to stay one");
    }

    #[test]
    fn silenced_lints_and_ignored_tests_are_refused() {
        assert_eq!(check("host/src/a.rs", "#[allow(dead_code)]\nfn a() {}").len(), 1);
        assert_eq!(check("host/src/a.rs", "#![allow(dead_code)]").len(), 1);
        assert_eq!(check("host/src/a.rs", "#[test]\n#[ignore = \"later\"]\nfn a() {}").len(), 1);
        assert!(check("host/src/a.rs", "#[expect(dead_code, reason = \"x\")]\n// #[allow(x)]\nfn a() {}").is_empty());
    }
}
