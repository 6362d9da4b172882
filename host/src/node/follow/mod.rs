//! Following one log of one process: what is added to it, in order, none of it twice, with a gap where some is missing.
//!
//! A stream of the supervisor's, where there is one, says *that* the log grew; what was added is always read by its place in
//! the file. See `docs/decisions/0011-following-a-log.md`.

mod bell;
mod follower;
mod reassembler;
#[cfg(test)]
mod reassembler_tests;
mod rope;
#[cfg(test)]
mod tests;

pub(super) use follower::Follower;
pub(super) use rope::Rope;
