use crate::model::{NodeId, ProcessId, Role};
use std::time::SystemTime;

/// A request as the input validators see it: who wants what, on which targets, with which fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRequest {
    /// What is asked, as `resource.action`, e.g. `process.start`, `session.login`.
    pub name: String,
    /// True if it would change anything; see [`is_mutating`].
    pub is_mutating: bool,
    /// Who asks, if that is known already.
    pub requester: Option<Requester>,
    /// What it is about. The nodes and environments are those of the configuration, so none of these are the caller's
    /// texts but the process's name. Empty for what is about the whole fleet, about nothing of it, or about a node that
    /// does not exist.
    pub targets: Vec<Target>,
    /// Everything the caller chose: path parts, query parameters and body members, each with where it stood.
    pub fields: Vec<Field>,
    /// When the host took it.
    pub at: SystemTime,
}

/// Whether an operation would change anything, by its name's last part. `read`, `list` and `open` look; every other word
/// acts, so that one which nobody thought of here is held to the stricter rules.
#[must_use]
pub fn is_mutating(operation: &str) -> bool {
    let action = operation.rsplit_once('.').map_or(operation, |(_, action)| action);
    !matches!(action, "read" | "list" | "open")
}

/// The request on whose behalf a node is asked, as it is told with it: three headers that say nothing but numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behalf {
    /// `x-request-id`
    pub request_id: String,
    /// `traceparent` of W3C Trace Context.
    pub traceparent: String,
    /// `tracestate`, if there is one.
    pub tracestate: Option<String>,
}

impl Behalf {
    /// The headers.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("x-request-id", &self.request_id), ("traceparent", &self.traceparent)];
        headers.extend(self.tracestate.as_ref().map(|state| ("tracestate", state)));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}

/// Who asks, as the input validators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The account's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The strategy that vouched for it.
    pub strategy: String,
    /// The names of all that it may do, e.g. `process.control`.
    pub permissions: Vec<String>,
}

/// One thing that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node, one of those configured.
    pub node: NodeId,
    /// The environment that the operator put it in.
    pub environment: Option<String>,
    /// None for the node as a whole. Named by the caller; whether it exists is for its node to say.
    pub process: Option<ProcessId>,
}

/// One value that the caller chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it stood: `/path/node`, `/query/bytes`, `/body/username`. A JSON pointer (RFC 6901).
    pub pointer: String,
    /// Its text. Passwords are never among the fields; only their length is, as `/body/password/length`.
    pub value: String,
}

/// A rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's pointer, or the empty text for the request as a whole.
    pub pointer: String,
    /// Which rule, stable, e.g. `too_long`.
    pub code: String,
    /// What is wrong and what would be right, in words.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_only_looks_changes_nothing_and_an_unknown_word_acts() {
        for name in ["node.list", "node.read", "process.read", "log.read", "feed.open", "session.read"] {
            assert!(!is_mutating(name), "{name}");
        }
        for name in ["process.start", "process.restart", "session.login", "session.logout", "plugin.install", "odd", ""]
        {
            assert!(is_mutating(name), "{name}");
        }
    }
}
