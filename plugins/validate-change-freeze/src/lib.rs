//! Input validator: no changes to processes in an environment inside a window of time, unless somebody who may says why.
//!
//! ```toml
//! [plugin.validate-change-freeze.settings]
//! operations = ["process.stop", "process.restart"]
//! override_permission = "change.override"
//! windows = [
//!   { environments = ["production"], from = "2026-12-20T00:00", to = "2027-01-04T08:00", time_zone = "Europe/Berlin", reason = "end of the year" },
//!   { environments = ["*"], weekly = ["fri 16:00", "mon 08:00"], time_zone = "UTC" },
//! ]
//! ```
//!
//! A window begins with its first moment and ends before its last. The time is the one at which the host took the
//! request; the rules of time zones are those that this component was built with.

mod freeze;
mod settings;
mod window;

use plugin_sdk::validator::{Operation, ValidatorInfo, Violation};
use plugin_sdk::{Fault, InputValidator};
use settings::Settings;

/// The validator.
#[derive(Debug)]
pub struct ChangeFreeze;

impl InputValidator for ChangeFreeze {
    fn describe() -> Result<ValidatorInfo, Fault> {
        let settings = Settings::parse(&plugin_sdk::settings::get())?;
        Ok(ValidatorInfo { operations: settings.operations, extra: Vec::new() })
    }

    fn validate(operation: Operation) -> Result<Vec<Violation>, Fault> {
        let settings = Settings::parse(&plugin_sdk::settings::get())?;
        freeze::judge(&settings, &operation)
    }
}

plugin_sdk::export_input_validator!(ChangeFreeze);
