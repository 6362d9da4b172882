//! The JSON forms of the API. The command line reads the same types, so the two cannot drift apart.
//!
//! Times are RFC 3339 in UTC with milliseconds. Members are added, never removed or renamed, within `/api/v1`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A supervised node. Old data stays visible: `state` says whether it is current, `observed_at` how old it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name, unique.
    #[schema(example = "web-1")]
    pub name: String,
    /// The environment it belongs to.
    pub environment: Option<String>,
    /// The adapter plugin that speaks to it.
    #[schema(example = "node-supervisord")]
    pub adapter: String,
    /// `connecting`, `live` (changes arrive at once), `live-poll`, `stale`, `unreachable`, `refused` (credentials),
    /// `wrong-endpoint`, `shutting-down` or `adapter-failed`.
    #[schema(example = "live")]
    pub state: String,
    /// Why it is not live, in words.
    pub reason: Option<String>,
    /// Since when the state holds.
    pub since: String,
    /// When its processes were last read. On the feed only while the node is not live: there, news is always new.
    pub observed_at: Option<String>,
    /// The supervisor's version, empty until known.
    #[schema(example = "4.3.0")]
    pub version: String,
    /// The name the supervisor gives itself, empty until known.
    pub identification: String,
    /// What may be asked of its processes, of `start`, `stop`, `restart`, `monitor` and `unmonitor`. Anything else is
    /// refused with `operation.unsupported` before the node hears of it. Empty until known.
    pub operations: Vec<String>,
    /// Logs that its processes may have, of `stdout` and `stderr`. Empty where the supervisor keeps none.
    pub log_channels: Vec<String>,
    /// How many processes it has. Not on the feed, where each process is told by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub process_count: Option<usize>,
    /// How many of them are running. Not on the feed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub running_count: Option<usize>,
    /// Its processes, sorted by group, then name. Only where asked for with `include=processes`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub processes: Option<Vec<ProcessView>>,
}

/// A process on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessView {
    /// Its address on the node: `group:name`.
    #[schema(example = "web:web_00")]
    pub id: String,
    /// Its group.
    pub group: String,
    /// Its name inside the group.
    pub name: String,
    /// `stopped`, `starting`, `running`, `backoff`, `stopping`, `exited`, `fatal` or `unknown`.
    #[schema(example = "running")]
    pub state: String,
    /// The supervisor's own word for it.
    #[schema(example = "RUNNING")]
    pub native_state: String,
    /// Its process number while it is alive.
    pub pid: Option<u32>,
    /// Start of its current run, by the clock of this server.
    pub started_at: Option<String>,
    /// Exit status of its last run that ended.
    pub exit_status: Option<i32>,
    /// The supervisor's explanation when something is wrong; empty when all is well.
    pub message: String,
    /// What only this kind of supervisor has to say, e.g. `monitored` (`true` or `false`). Left out when there is nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
}

/// All nodes, sorted by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeList {
    /// The nodes.
    pub items: Vec<NodeView>,
}

/// The processes of one node, sorted by group, then name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessList {
    /// The node, without its processes.
    pub node: NodeView,
    /// The processes.
    pub items: Vec<ProcessView>,
}

/// How an order is to be carried out. The body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandRequest {
    /// How long the answer may wait for the process to settle, in ms; 0 answers as soon as the supervisor took the
    /// order. The order itself goes on when this ends.
    #[schema(minimum = 0, maximum = 60000, default = 15000)]
    pub wait_ms: Option<u64>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandResult {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// `start`, `stop`, `restart`, `monitor` or `unmonitor`.
    pub operation: String,
    /// `done`: the process is as asked. `unchanged`: it was before, nothing was sent. `in-progress`: the supervisor
    /// took the order and the process is still on its way (status 202). `failed`: the supervisor took it, and the
    /// process ended up elsewhere.
    pub outcome: String,
    /// The state last seen.
    pub state: String,
    /// The supervisor's explanation, empty when all is well.
    pub message: String,
    /// From the order to this answer.
    pub took_ms: u64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// `stdout` or `stderr`.
    pub channel: String,
    /// Offset of the first byte in the file.
    pub start: u64,
    /// Offset of the byte after the last; ask from here to go on.
    pub next: u64,
    /// The file's size when it was read.
    pub size: u64,
    /// True when bytes between the asked offset and `start` cannot be had any more (rotated, cleared or cut).
    pub has_gap: bool,
    /// The bytes as text; what is not UTF-8 shows as U+FFFD. Ask with `Accept: application/octet-stream` for the bytes
    /// themselves.
    pub text: String,
}

/// A name and a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The account's name.
    #[schema(min_length = 1, max_length = 255)]
    pub username: String,
    /// Its password.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    pub password: String,
}

/// A session. Send the token as `Authorization: Bearer TOKEN`; it is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginResult {
    /// The token.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: String,
    /// Who logged in.
    pub principal: PrincipalView,
}

/// The first administrator, against the setup token that the server printed when it started without accounts.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// The setup token.
    pub token: String,
    /// The account's name.
    #[schema(min_length = 1, max_length = 255)]
    pub username: String,
    /// Its password, at least 12 characters.
    #[schema(min_length = 12, max_length = 1024, format = Password)]
    pub password: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalView {
    /// The account's name.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// The strategy that vouched for it.
    pub strategy: String,
}

/// A problem document (RFC 9457). Every answer that is not a success has this form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `https://omnivisor.dev/problems/CODE`: identifies the kind of problem.
    pub r#type: String,
    /// The kind in a few words, always the same for one `code`.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind, stable, for programs: `node.not_found`, `request.invalid` and so on; listed in `docs/api.md`.
    pub code: String,
    /// What happened this time and what to do.
    pub detail: String,
    /// The request's id, as in the header `x-request-id`, the server's log and the audit.
    pub request_id: String,
    /// Each bad field.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<FieldProblem>,
}

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Where: a JSON pointer into `/path`, `/query` or `/body`.
    pub pointer: String,
    /// Which rule, stable.
    pub code: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What a client of the feed says: a hello, once, within 5 seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
pub enum FeedRequest {
    /// What it asks for.
    Hello {
        /// Patterns of topics: `node/*/state`, `proc/web-*/state`. 1 to 256.
        sub: Vec<String>,
        /// The position it has reached, `EPOCH:OFFSET`, to be given what it missed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
}
