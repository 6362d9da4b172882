//! What a plugin's author does: write a crate, build it, check, inspect and test the component.
//!
//! Knows the plugin room's seams and the limits of the configuration, and nothing of servers, stores or the command
//! line. Entry points: [`create`], [`build`], [`check`], [`inspect`], [`test()`].

mod build;
mod call;
mod check;
mod compare;
mod create;
mod error;
mod facts;
mod limits;
mod record;
mod run;
mod script;
mod template;
mod text;
mod vectors;

pub use build::{BuildOptions, Built, build};
pub use check::{Checked, check, inspect};
pub use create::{CreateOptions, Created, create};
pub use error::AuthorError;
pub use facts::Facts;
pub use limits::LimitOptions;
pub use run::{CaseReport, TestOptions, TestReport, test};
