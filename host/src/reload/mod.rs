//! The one path on which the configuration changes: a signal, a changed file and the API are taken one after the other,
//! and each is applied whole or not at all.
//!
//! Knows nothing of HTTP, of listeners or of how plugins and nodes are made: it is handed [`Parts`] that apply. Entry
//! point: [`Reloader`], and [`Worker`] for whoever runs it.

mod error;
mod figures;
mod file;
mod handle;
mod passwords;
#[cfg(test)]
mod tests;
mod worker;

pub use error::ReloadError;
pub use figures::ReloadFigures;
pub use file::ConfigFile;
pub use handle::{Applied, Author, NodeWish, ORDERS_WAITING_MAX, Parts, PasswordWish, Reloader, Trigger};
pub use worker::{Worker, WorkerParts};
