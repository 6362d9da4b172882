//! One file per kind of thing that is asked for.

mod accounts;
pub(super) mod acts;
pub(super) mod api_keys;
pub(super) mod audit;
pub(super) mod backup;
pub(super) mod bulk;
pub(super) mod config;
mod delivery;
pub(super) mod feed_tickets;
pub(super) mod health;
pub(super) mod log_level;
pub(super) mod logins;
pub(super) mod logs;
pub(super) mod managed;
pub(super) mod nodes;
pub(super) mod orders;
pub(super) mod plugins;
pub(super) mod probes;
mod record;
pub(super) mod roles;
pub(super) mod sessions;
pub(super) mod storage;
pub(super) mod supervisors;
pub(super) mod user_sessions;
pub(super) mod users;

use crate::api::error::ApiError;
use crate::api::input::{Asked, Input};
use crate::model::ProcessId;

/// Reads a process's address from the path. A broken one is told like any other bad field.
fn process_id(input: &mut Input, text: &str) -> Option<ProcessId> {
    input.path("process", text);
    match ProcessId::parse(text) {
        Ok(id) => Some(id),
        Err(error) => {
            input.problem("/path/process", "invalid", format!("{error}; `group:name` was expected"));
            None
        }
    }
}

/// What is left of a checked input: what was asked, and a value that was there because nothing was wrong.
fn checked<T>(input: Input, value: Option<T>) -> Result<(Asked, T), ApiError> {
    let asked = input.finish()?;
    let missing = || ApiError::Malformed("the address holds no such part".into());
    Ok((asked, value.ok_or_else(missing)?))
}
