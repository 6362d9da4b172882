//! Input validator: nobody stops or restarts a process whose name starts with `keep-`.
//!
//! All configured validators see every request that they asked for; all violations are reported together. Every call has
//! a fresh instance: nothing in memory lasts from one to the next.

use plugin_sdk::validator::{Operation, ValidatorInfo, Violation};
use plugin_sdk::{Fault, InputValidator};

/// The validator.
#[derive(Debug)]
pub struct Validator;

const KEPT: &str = "keep-";

impl InputValidator for Validator {
    fn describe() -> Result<ValidatorInfo, Fault> {
        let operations = vec!["process.stop".to_owned(), "process.restart".to_owned()];
        Ok(ValidatorInfo { operations, extra: Vec::new() })
    }

    fn validate(operation: Operation) -> Result<Vec<Violation>, Fault> {
        let is_kept = |id: &str| id.split_once(':').is_some_and(|(_, name)| name.starts_with(KEPT));
        let kept = operation.fields.into_iter().filter(|field| field.pointer == "/path/process" && is_kept(&field.value));
        let violation = |pointer| Violation {
            pointer,
            code: "kept_running".to_owned(),
            message: format!("processes called `{KEPT}...` are kept running; rename it to stop it"),
        };
        Ok(kept.map(|field| violation(field.pointer)).collect())
    }
}

plugin_sdk::export_input_validator!(Validator);

#[cfg(test)]
mod tests;
