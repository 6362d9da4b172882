//! The JSON forms of orders to many processes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which processes are meant. All members that are there have to fit; in each but `state` a `*` stands for any run of
/// characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The node's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "web-*")]
    pub node: Option<String>,
    /// The node's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The process's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The process's name inside its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The process's state now, as in [`crate::api::wire::ProcessView`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// An order to many processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// `start`, `stop`, `restart`, `monitor` or `unmonitor`.
    pub operation: String,
    /// What one of these covers is meant. 1 to 64, none of them empty.
    pub select: Vec<Selection>,
    /// Only tells what is meant.
    #[serde(default)]
    pub dry_run: bool,
    /// The `id` of the plan that was agreed to: when other processes are meant by now, nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 32, max_length = 32)]
    pub plan: Option<String>,
    /// So many at once.
    #[schema(minimum = 1, maximum = 32, default = 8)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u64>,
    /// How long each may take to settle, in ms.
    #[schema(minimum = 500, maximum = 60000, default = 15000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// How long all of them may take, in ms. What is not begun by then is not sent.
    #[schema(minimum = 1000, maximum = 3600000, default = 300000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// In steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling: Option<RollingRequest>,
    /// As for a single order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
}

/// An order in steps, the next of which begins when the one before is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollingRequest {
    /// Processes in one step.
    #[schema(minimum = 1, maximum = 1000)]
    pub size: u64,
    /// After a start or restart each has to be running, in one run, for so long, in ms.
    #[schema(minimum = 0, maximum = 600000, default = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_ms: Option<u64>,
    /// Between two steps, in ms.
    #[schema(minimum = 0, maximum = 600000, default = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
    /// With more failures than this no further step begins.
    #[schema(minimum = 0, maximum = 1000, default = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u64>,
}

/// One line of the answer, which is JSON lines: a `plan` first, an `item` for each process as it ends, an `end` last. In
/// between there is a `wait` where nothing has ended for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum BulkLine {
    /// What is meant.
    Plan(BulkPlan),
    /// What became of one.
    Item(BulkItem),
    /// Nothing has ended for 15 s.
    Wait(BulkWait),
    /// What became of all.
    End(BulkEnd),
}

/// The processes that are meant, sorted, each once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkPlan {
    /// Stands for the operation and the processes, whatever their states: 32 hexadecimal digits.
    pub id: String,
    /// What is to be done.
    pub operation: String,
    /// The processes.
    pub items: Vec<BulkTarget>,
}

/// One process that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct BulkTarget {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// Its state when the plan was made.
    pub state: String,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkWait {
    /// Processes that have not ended.
    pub open: usize,
}

/// What became of one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkItem {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// What was asked.
    pub operation: String,
    /// `done`, `unchanged`, `in-progress` and `failed` as for a single order; `refused` (an error: `code` and `message`
    /// say which), `unknown` (no answer in time; if it was sent, it goes on) or `not-sent`.
    pub outcome: String,
    /// The state last seen, where there is an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The code of the error, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words, empty when all is well.
    pub message: String,
    /// From the order to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// How many ended in which way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkEnd {
    /// All of them.
    pub total: usize,
    /// See [`BulkItem::outcome`].
    pub done: usize,
    /// See [`BulkItem::outcome`].
    pub unchanged: usize,
    /// See [`BulkItem::outcome`].
    pub in_progress: usize,
    /// See [`BulkItem::outcome`].
    pub failed: usize,
    /// See [`BulkItem::outcome`].
    pub refused: usize,
    /// See [`BulkItem::outcome`].
    pub unknown: usize,
    /// See [`BulkItem::outcome`].
    pub not_sent: usize,
}
