//! Credentials to principal, principal plus action to yes or no.
//!
//! Knows nothing of HTTP, of nodes or of the feed. Strategies are components that are asked in order and fail closed;
//! what an account may do is looked up in the store each time and never comes from a strategy or a session: it is one
//! [`crate::model::Rights`], and [`allows`] alone decides by it. Who has no account may at most what the operator granted to
//! the strategy, which is looked up each time as well.
//! Entry point: [`Auth`].

mod accounts;
mod attempts;
mod chain;
mod error;
mod facade;
mod flows;
mod keys;
mod login;
mod password;
mod recognise;
mod session;
mod setup;
mod slots;
#[cfg(test)]
mod tests;
mod tickets;
mod token;
mod verdicts;
mod watch;

pub use crate::model::{Action, allows};
pub use accounts::{AccessEdit, NewAccount, RoleFacts, SessionFacts, check_name, check_role_name};
pub use error::{AccountFault, AuthRefusal, KeyFault};
pub use facade::{Auth, AuthParts, Login};
pub use flows::FLOW_TTL;
pub use keys::{KeyWish, Keys};
pub use login::Departure;
pub use password::{Passwords, check_new as check_password};
pub use recognise::{Offer, Recognised, Source};
pub use session::SessionInfo;
pub use setup::create_first_administrator;
pub use tickets::{Page, TICKET_TTL};
pub use watch::Watch;
