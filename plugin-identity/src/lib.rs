//! What auth strategies share that vouch for people known elsewhere: their settings, the roles that those give out, and
//! the identity that comes of both.
//!
//! An ordinary library over `plugin-sdk`. It knows no kind of credential and imports nothing from the host.

mod person;
mod role;
pub mod settings;

pub use person::{BadName, NAME_BYTES_MAX, external};
pub use role::{Role, RoleRule};
