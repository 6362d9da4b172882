//! What the compiler cannot say about the source, checked on its text: who may import whom, what may be named where,
//! how long a file may be, and that no bound goes without its line in the documents.
//!
//! Needs no dependency and no host: `cargo test -p tests --no-default-features --test tidy`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

mod codes;
mod layering;
mod limits;
mod links;
mod source;
mod tidy;

use std::fmt::Write as _;
use std::path::Path;

/// A broken rule: where, which, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

/// The top of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies below the workspace")
}

/// Fails with every fault at once, so that one run shows all there is to mend.
pub(crate) fn assert_none(faults: &[Fault]) {
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "{}:{}: {}", fault.path, fault.line, fault.what);
    }
    assert!(faults.is_empty(), "{} broken rules:\n{text}", faults.len());
}
