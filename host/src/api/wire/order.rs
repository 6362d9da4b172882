//! Acts on single processes, orders to groups, and orders to a node's supervisor.

use super::CommandResult;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every act may say besides. The body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActRequest {
    /// As for an order: why it has to be done although a validator keeps it for later; 1 to 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
}

/// Which signal to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// Its name, with or without `SIG`.
    #[schema(example = "HUP")]
    pub signal: String,
    /// As for an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
}

/// What to write to a standard input: one of the two.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InputRequest {
    /// A text, written as UTF-8; a line needs its `\n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 16384)]
    pub text: Option<String>,
    /// Bytes in base64. supervisord passes on UTF-8 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// As for an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
}

/// An order to a supervisor, which ends or changes what runs there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardedRequest {
    /// The node's name once more, so that nobody does this by a slip.
    #[schema(example = "web-1")]
    pub confirm: String,
    /// For an update: how long the answer may wait, in ms. The update itself goes on when this ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000, default = 15000)]
    pub wait_ms: Option<u64>,
    /// As for an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
}

/// What was done to a process at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActResult {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// `signal`, `input` or `clear-logs`.
    pub operation: String,
    /// `done`: the supervisor took it. What the process makes of it is its own affair.
    pub outcome: String,
}

/// What became of an order to a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupResult {
    /// The node.
    pub node: String,
    /// The group.
    pub group: String,
    /// `start`, `stop` or `restart`.
    pub operation: String,
    /// The worst of its processes' outcomes: `failed`, `in-progress` (status 202), `done`, `unchanged`.
    pub outcome: String,
    /// Each process.
    pub items: Vec<CommandResult>,
    /// From the order to this answer.
    pub took_ms: u64,
}

/// How a node's configuration files differ from what runs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RereadResult {
    /// The node.
    pub node: String,
    /// Groups that only the files have.
    pub added: Vec<String>,
    /// Groups that the files have otherwise.
    pub changed: Vec<String>,
    /// Groups that the files no longer have.
    pub removed: Vec<String>,
}

/// What became of making a node run what its files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateResult {
    /// The node.
    pub node: String,
    /// The worst of its groups' outcomes; `unchanged` when nothing differed.
    pub outcome: String,
    /// Each group that differed: removed ones first, then changed, then added.
    pub groups: Vec<GroupUpdateView>,
    /// From the order to this answer.
    pub took_ms: u64,
}

/// What became of one group of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupUpdateView {
    /// The group.
    pub group: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
    /// `done`, `in-progress` or `failed`.
    pub outcome: String,
    /// Why it failed; empty when it did not.
    pub message: String,
}

/// An order that a supervisor took about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SupervisorResult {
    /// The node.
    pub node: String,
    /// `restart` or `shutdown`.
    pub operation: String,
    /// `accepted`: the node is `shutting-down` from now on, until it is observed again.
    pub outcome: String,
}

/// The end of a supervisor's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeLogView {
    /// The node.
    pub node: String,
    /// The bytes as text; what is not UTF-8 shows as U+FFFD.
    pub text: String,
}
