//! The composition root: the only place that knows everyone. Wires, relays, shuts down.
//!
//! Entry points: [`run`] for a host inside any program (tests hand it their own listener), [`serve`], [`init`] and
//! [`check_config`] for the command line.

mod build;
mod command;
mod exit;
mod logging;
mod paths;
mod relay;
mod shutdown;

pub use build::run;
pub use command::{ServeOptions, check_config, compile_plugin, init, init_storage, serve};
pub use exit::RunError;
pub use shutdown::Ended;
