//! The JSON forms of how the server does.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How the server does, part by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// The worst of its components: `ok`, `degraded` or `failed`; `shutting-down` once it is going.
    #[schema(example = "ok")]
    pub status: String,
    /// The server's version.
    pub version: String,
    /// `store`, `nodes`, `feed`, `plugins`, `configuration`, `log` and `certificates`, in this order.
    pub components: Vec<ComponentView>,
    /// Its tasks by kind.
    pub tasks: Vec<TaskKindView>,
}

/// One part of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentView {
    /// Its name.
    #[schema(example = "nodes")]
    pub name: String,
    /// `ok`, `degraded` (a part of its work is not done) or `failed` (none is).
    #[schema(example = "degraded")]
    pub state: String,
    /// Why it is not `ok`, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Numbers about it, by name.
    pub figures: BTreeMap<String, u64>,
}

/// The tasks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskKindView {
    /// `listener`, `connection`, `request`, `feed`, `shard`, `upkeep`, `owner`, `follower`, `relay`, `keeper` or `configuration`.
    #[schema(example = "owner")]
    pub kind: String,
    /// Tasks that live.
    pub running: u64,
    /// Tasks that panicked since the start. Each is a bug.
    pub panics: u64,
}
