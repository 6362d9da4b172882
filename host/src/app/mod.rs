//! The composition root: the only place that knows everyone. Wires, relays, shuts down.
//!
//! Entry points: [`run`] for a host inside any program (tests hand it their own listener), [`launch`], [`serve`],
//! [`init`], [`check_config`] and [`author`] for the command line.

mod authoring;
mod build;
mod command;
mod disk_watch;
mod exit;
mod generations;
mod heritage;
mod lines;
mod listeners;
mod logging;
mod logs;
mod otlp;
mod parts;
mod paths;
mod relay;
mod restore;
mod restored;
mod retention;
mod secrets;
mod shutdown;
#[cfg(test)]
mod tests;

pub use authoring::author;
pub use build::{Launch, launch, run};
pub use command::{ServeOptions, check_config, compile_plugin, init, init_storage, serve};
pub use exit::RunError;
pub use logging::LogLevel;
pub use restore::restore;
pub use secrets::secrets;
pub use shutdown::Ended;
