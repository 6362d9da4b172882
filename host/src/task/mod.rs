//! Tasks by kind: each is started on a tracker with a name, counted while it lives, and has a consequence when it panics.
//!
//! Knows nothing of what the tasks do. Entry point: [`Tasks`].

mod group;
mod kind;
mod panics;
#[cfg(test)]
mod tests;

pub use group::{Broken, TaskFigures, TaskGroup, Tasks};
pub use kind::{Consequence, Stage, TaskKind};
pub use panics::log_panics;
