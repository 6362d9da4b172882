//! Credentials to principal, principal plus action to yes or no.
//!
//! Knows nothing of HTTP, of nodes or of the feed. Strategies are components that are asked in order and fail closed;
//! what an account may do is looked up in the store each time and never comes from a strategy or a session.
//! Entry point: [`Auth`].

mod attempts;
mod chain;
mod error;
mod facade;
mod password;
mod permission;
mod session;
mod setup;
mod slots;
#[cfg(test)]
mod tests;
mod token;

pub use error::{AccountFault, AuthRefusal};
pub use facade::{Auth, AuthParts, Login};
pub use password::Passwords;
pub use permission::{Action, allows};
pub use session::SessionInfo;
pub use setup::create_first_administrator;
