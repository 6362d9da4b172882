//! Signed tokens (JWS, JWT) for auth strategies: the issuer's keys, signatures, and what verified claims say of whom.
//!
//! The parsing and the cryptography are `jwt-compact`'s and RustCrypto's. What is decided here: the algorithm comes from
//! the operator and never from the token, a key is only tried on algorithms of its kind, and everything has a bound.
//! Nothing here imports from the host; keys come through the [`Http`](plugin_sdk::Http) that the caller lends.

mod algorithm;
mod claims;
#[cfg(feature = "forge")]
pub mod forge;
mod key;
mod key_set;
mod person;
mod refusal;
mod source;
mod token;
mod verify;
pub mod web;

pub use algorithm::{Algorithm, Family};
pub use claims::Claims;
pub use key::{Key, KeyError};
pub use key_set::{KEYS_MAX, KeySet, KeySetError};
pub use person::PersonRule;
pub use refusal::{NotVerified, Refusal};
pub use source::{FixedKeys, KeySource, PublishedKeys};
pub use token::{NoToken, TOKEN_BYTES_MAX, Token};
pub use verify::{Policy, TRIES_MAX, verify};
