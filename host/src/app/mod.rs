//! The composition root: the only place that knows everyone. Wires, relays, shuts down.
//!
//! Entry points: [`run`] for a host inside any program (tests hand it their own listener), [`run_with_reloads`], [`serve`],
//! [`init`], [`check_config`] and [`author`] for the command line.

mod authoring;
mod build;
mod command;
mod exit;
mod generations;
mod logging;
mod paths;
mod relay;
mod reload;
mod shutdown;

pub use authoring::author;
pub use build::{run, run_with_reloads};
pub use command::{ServeOptions, check_config, compile_plugin, init, init_storage, serve};
pub use exit::RunError;
pub use shutdown::Ended;
