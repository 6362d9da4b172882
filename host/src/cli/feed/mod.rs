//! The feed from its reader's side: frames, where we are in them, what they add up to, and the socket they come from.
//!
//! Only [`link`] touches a socket or a clock; the rest is pure.

pub(crate) mod cursor;
pub(crate) mod fleet;
pub(crate) mod frame;
pub(crate) mod link;
