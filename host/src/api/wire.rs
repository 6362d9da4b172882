//! The JSON forms of the API. The command line reads the same types, so the two cannot drift apart.
//!
//! Times are RFC 3339 in UTC with milliseconds. Members are added, never removed or renamed, within `/api/v1`.

pub mod account;
pub mod audit;
pub mod bulk;
pub mod config;
pub mod feed;
pub mod health;
pub mod log;
pub mod log_level;
pub mod order;
pub mod secret;
pub mod storage;

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
    /// `wrong-endpoint`, `shutting-down`, `adapter-failed` or `disabled`.
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
    /// What may be done besides: `signal`, `send-input` and `clear-logs` for processes; `group-start`, `group-stop` and
    /// `group-restart`; `reread`, `update`, `restart-node` and `shutdown-node`; `follow-logs`, `node-log`; and parts of
    /// these. Anything else is refused in the same way. Empty until known.
    #[serde(default)]
    pub abilities: Vec<String>,
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
    /// The `cursor` of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// The processes of one node, sorted by group, then name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessList {
    /// The node, without its processes.
    pub node: NodeView,
    /// The processes.
    pub items: Vec<ProcessView>,
    /// The `cursor` of the next page, if there is more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// How an order is to be carried out. The body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandRequest {
    /// How long the answer may wait for the process to settle, in ms; 0 answers as soon as the supervisor took the
    /// order. The order itself goes on when this ends.
    #[schema(minimum = 0, maximum = 60000, default = 15000)]
    pub wait_ms: Option<u64>,
    /// Why this has to be done although a validator keeps it for later, such as a change during a freeze; 1 to 256
    /// bytes. It counts only for those whom the validator lets override, usually administrators, and it is audited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub r#override: Option<String>,
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

/// A plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginView {
    /// Its name.
    #[schema(example = "validate-strict")]
    pub name: String,
    /// `auth`, `validate` or `adapter`.
    pub class: String,
    /// The number of the generation that serves. Rises with each swap; a roll-back leads to a lower one.
    pub generation: u64,
    /// SHA-256 of the component that serves, in hexadecimal.
    pub digest: String,
    /// Its version, if it carries one.
    pub version: Option<String>,
    /// Bytes of the component.
    pub size: u64,
    /// `active`, or `quarantined` while it is not called because it kept failing.
    pub state: String,
    /// Since when the generation is there.
    pub since: String,
    /// True while the generation is watched and would be rolled back by itself.
    pub on_probation: bool,
    /// `none`, `caller` while one caller alone is refused because its calls kept failing, or `all`.
    pub quarantine: String,
    /// True while another component is being verified.
    pub verifying: bool,
    /// A generation that serves a share of the calls for now.
    pub canary: Option<GenerationView>,
    /// The generation that a roll-back leads to.
    pub previous: Option<GenerationView>,
    /// Components that were rolled back; they are loaded again only when they are installed again.
    pub refused: Vec<String>,
    /// What all generations did since the server was started. Not on the feed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub counters: Option<PluginCountersView>,
    /// The last failures, oldest first, 20 at most. Not on the feed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub failures: Option<Vec<PluginFailureView>>,
}

/// A generation beside the one that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationView {
    /// Its number; none where it would have to be loaded again.
    pub generation: Option<u64>,
    /// SHA-256 of its component.
    pub digest: String,
    /// `canary`, `draining` (its last calls are under way), `retired`, or `kept` (it would have to be loaded again).
    pub state: String,
    /// Calls under way.
    pub in_flight: u64,
    /// How long its last calls took to end, in ms, once they have.
    pub drain_ms: Option<u64>,
    /// The share of calls that a canary is given, in thousandths.
    pub permille: Option<u32>,
}

/// What a plugin did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginCountersView {
    /// Calls that ended, by how.
    pub calls: std::collections::BTreeMap<String, u64>,
    /// Calls under way.
    pub running: u64,
    /// Fuel used by all calls.
    pub fuel: u64,
    /// The most memory that one call had, in bytes.
    pub memory_bytes_peak: u64,
    /// Time that all calls took, in microseconds.
    pub time_us: u64,
    /// Swaps by how they ended.
    pub swaps: std::collections::BTreeMap<String, u64>,
}

/// A failure of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginFailureView {
    /// When.
    pub at: String,
    /// Which generation.
    pub generation: u64,
    /// The code, as in `docs/api.md`.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// All plugins, in the order strategies, validators, adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginList {
    /// The plugins.
    pub items: Vec<PluginView>,
}

/// How a swap went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SwapView {
    /// `activated`, `unchanged` (the same component serves already), `canary` (it serves a share of the calls for now)
    /// or `rolled-back`.
    pub result: String,
    /// The plugin now.
    pub plugin: PluginView,
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
    /// True if the session is to come as a cookie for this browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

/// A session. Send the token as `Authorization: Bearer TOKEN`; it is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginResult {
    /// The token; missing where it came as a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token: Option<String>,
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
    /// True if the session is to come as a cookie for this browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalView {
    /// The account's name, or `STRATEGY/NAME` of somebody known elsewhere.
    pub name: String,
    /// `viewer`, `operator` or `admin` where it has that over everything; else `custom`, or `none` without any right.
    pub role: String,
    /// The strategy that vouched for it.
    pub strategy: String,
    /// All that this credential may do, by scope.
    #[serde(default)]
    pub rights: Vec<account::RightsView>,
    /// The actions that this credential is limited to; empty for all that the role may.
    #[serde(default)]
    #[schema(example = json!(["process.read"]))]
    pub scopes: Vec<String>,
    /// When the session or credential ends in any case; none if it does not by itself.
    #[serde(default)]
    pub expires_at: Option<String>,
}

/// An API key that is wished for. It acts for the account of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// What to call it.
    #[schema(min_length = 1, max_length = 100, example = "nightly deploy")]
    pub label: String,
    /// The actions that it is to be limited to, at most those of whoever asks; empty for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["process.read", "process.control"]))]
    pub scopes: Vec<String>,
    /// After how many seconds it is to end; left out, it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 315360000)]
    pub expires_in_s: Option<u64>,
}

/// An API key, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    /// Its public id, by which it is revoked.
    #[schema(example = "0123456789abcdef")]
    pub id: String,
    /// The account that it acts for.
    pub account: String,
    /// What its owner calls it.
    pub label: String,
    /// The actions that it is limited to; empty for all that the account may.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// When it ends; none if it does not by itself.
    pub expires_at: Option<String>,
    /// When it was last used, to five minutes.
    pub last_used_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

/// A new API key. Send its text as `Authorization: Bearer TEXT`; it is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyCreated {
    /// The text: `ovk_ID_SECRET`.
    pub text: String,
    /// The key.
    pub key: ApiKeyView,
}

/// API keys, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyList {
    /// The keys.
    pub items: Vec<ApiKeyView>,
    /// The `cursor` of the next page; none on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub next: Option<String>,
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

/// What a client of the feed says: a hello, once, within 5 seconds, and then which logs it follows and which credential it
/// stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
pub enum FeedRequest {
    /// What it asks for.
    Hello {
        /// Patterns of topics: `node/*/state`, `proc/web-*/state`. 1 to 256.
        sub: Vec<String>,
        /// The logs that it follows: `log/NODE/GROUP:NAME/stdout`, without wildcards. At most 64.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
        /// For logs named in `log`: the number of the line to go on from, in the epoch of `since`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        log_from: BTreeMap<String, u64>,
        /// The position it has reached, `EPOCH:OFFSET`, to be given what it missed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    /// The logs that it follows from now on, and no others.
    Logs {
        /// As in the hello.
        log: Vec<String>,
    },
    /// Another credential of the same subject, which the connection stands on from now on.
    Refresh {
        /// A session's token, an API key, or another bearer token.
        token: String,
    },
}
