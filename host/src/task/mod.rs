//! Tasks by kind: each is started on a tracker with a name, counted while it lives, and has a consequence when it panics.
//! And places: how many of them may do something at once.
//!
//! Knows nothing of what the tasks do. Entry points: [`Tasks`], [`Places`].

mod group;
mod kind;
mod panics;
mod places;
#[cfg(test)]
mod tests;
mod until;

pub use group::{Broken, TaskFigures, TaskGroup, Tasks};
pub use kind::{Consequence, Stage, TaskKind};
pub use panics::log_panics;
pub use places::{Place, Places};
pub use until::until;
