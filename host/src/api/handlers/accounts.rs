//! What changes of accounts and roles have in common.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::{Asked, Input};
use crate::api::wire::account::GrantView;
use crate::auth::{Action, AuthRefusal, check_password};
use crate::model::{RoleGrant, Scope, Secret};
use crate::store::{AuditOutcome, GRANTS_MAX, StoreError};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ETAG, IF_MATCH};
use serde::Serialize;

/// Who wants what changed.
pub(super) struct Who<'a> {
    pub(super) caller: &'a Caller,
    pub(super) facts: &'a Facts,
    /// What validators and the audit call it.
    pub(super) name: &'a str,
    /// What the audit says it is done to.
    pub(super) target: &'a str,
}

impl<'a> Who<'a> {
    pub(super) fn pair(&self) -> (&'a Caller, &'a Facts) {
        (self.caller, self.facts)
    }

    pub(super) fn what(&self) -> (&'a str, &'a str) {
        (self.name, self.target)
    }
}

/// What came of it. A refusal is on record before it is told.
pub(super) async fn settled<T>(edge: &Edge, who: &Who<'_>, result: Result<T, AuthRefusal>) -> Result<T, ApiError> {
    edge.on_record(who.pair(), who.what(), result.map_err(ApiError::from), AuditOutcome::Refused).await
}

/// Admits a change of what is there already, and answers the one revision that `if-match` names.
pub(super) async fn admit_edit(
    edge: &Edge,
    who: &Who<'_>,
    action: Action,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<u64, ApiError> {
    edge.admit_deed(who.pair(), action, who.what(), asked).await?;
    edge.on_record(who.pair(), who.what(), revision(headers), AuditOutcome::Refused).await
}

fn revision(headers: &HeaderMap) -> Result<u64, ApiError> {
    let mut values = headers.get_all(IF_MATCH).into_iter();
    let first = values.next().ok_or(ApiError::ConditionMissing)?;
    let quoted = first.to_str().ok().filter(|_| values.next().is_none());
    let number = quoted.and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"'));
    // Whatever is no tag of ours fits nothing that there is.
    number.and_then(|number| number.parse().ok()).ok_or_else(|| StoreError::Stale.into())
}

/// A document with its revision as its tag.
pub(super) fn tagged(revision: u64, document: impl Serialize) -> Response {
    ([(ETAG, format!("\"{revision}\""))], Json(document)).into_response()
}

/// Notes a new password by its length, and what is wrong with it.
pub(super) fn note_password(input: &mut Input, field: &str, password: &str) {
    input.body(&format!("{field}/length"), &password.len().to_string());
    if let Err(fault) = check_password(&Secret::new(password.to_owned())) {
        input.problem(&format!("/body/{field}"), fault.code(), fault.to_string());
    }
}

/// Notes grants, and everything that is wrong with them.
pub(super) fn note_grants(edge: &Edge, input: &mut Input, wish: &[GrantView]) -> Result<Vec<RoleGrant>, ApiError> {
    if wish.len() > GRANTS_MAX {
        input.problem("/body/grants", "too_many", format!("at most {GRANTS_MAX} grants were expected"));
        return Ok(Vec::new());
    }
    let mut grants = Vec::with_capacity(wish.len());
    for (index, grant) in wish.iter().enumerate() {
        let place = |member: &str| format!("grants/{index}/{member}");
        input.body(&place("role"), &grant.role);
        input.body(&place("scope"), &grant.scope);
        match edge.auth.role(&grant.role) {
            Err(AuthRefusal::Store(StoreError::NoRole { .. })) => {
                input.problem(&format!("/body/{}", place("role")), "unknown_role", "there is no such role".into());
            }
            other => drop(other?),
        }
        match grant.scope.parse::<Scope>() {
            Ok(scope) => grants.push(RoleGrant { role: grant.role.clone(), scope }),
            Err(error) => input.problem(&format!("/body/{}", place("scope")), "invalid", error.to_string()),
        }
    }
    grants.sort_unstable();
    grants.dedup();
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_tag_names_a_revision() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, value.parse().unwrap());
            }
            revision(&headers)
        };
        assert_eq!(read(&["\"7\""]).unwrap(), 7);
        assert_eq!(read(&[]).unwrap_err().code(), "request.condition_missing");
        for bad in [vec!["7"], vec!["*"], vec!["W/\"7\""], vec!["\"7\", \"8\""], vec!["\"7\"", "\"8\""], vec!["\"\""]] {
            assert_eq!(read(&bad).unwrap_err().code(), "request.stale", "{bad:?}");
        }
    }
}
