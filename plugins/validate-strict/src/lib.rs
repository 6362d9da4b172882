//! Input validator: what no honest request holds is refused before anything acts on it.
//!
//! It judges text, not meaning: whether a node or a process exists is for others to say. Supervisors give their processes
//! odd names, so a process may be called nearly anything that can be printed: `<&>"`, slashes, SQL, any script. What may
//! not be there is what deceives a reader or a log: control characters, invisible format characters, lone bidi overrides.
//!
//! It looks at the fields alone, for they are what the caller chose. Targets, principal and permissions are the host's own
//! words: the one text of the caller's among them, a process's name, is the field `/path/process` as well. So it says `judges-fields-alone`, and is not asked again about words that passed.

mod character;
mod rules;

use plugin_sdk::validator::{Operation, ValidatorInfo, Violation};
use plugin_sdk::{Fault, InputValidator};

/// The validator.
#[derive(Debug)]
pub struct Strict;

impl InputValidator for Strict {
    fn describe() -> Result<ValidatorInfo, Fault> {
        let words_alone = ("judges-fields-alone".to_owned(), "true".to_owned());
        Ok(ValidatorInfo { operations: vec!["*".to_owned()], extra: vec![words_alone] })
    }

    fn validate(operation: Operation) -> Result<Vec<Violation>, Fault> {
        Ok(operation.fields.iter().flat_map(rules::violations).collect())
    }
}

plugin_sdk::export_input_validator!(Strict);
