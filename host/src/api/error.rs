//! Every failure the edge can answer, and the one table of status codes.

use crate::api::edge::RequestId;
use crate::api::socket::FeedRefusal;
use crate::api::wire::{FieldProblem, Problem};
use crate::auth::AuthRefusal;
use crate::config::ConfigFault;
use crate::model::FaultKind;
use crate::node::NodeError;
use crate::plugin::{JudgeError, PluginFailure, SwapError};
use crate::reload::ReloadError;
use crate::store::StoreError;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Why a request was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// A node did not do it.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Sessions, logins and the audit.
    #[error(transparent)]
    Auth(Arc<AuthRefusal>),
    /// A validator gave no verdict, so the request does not go on.
    #[error("the request could not be validated")]
    Judge {
        /// How it failed.
        #[source]
        source: JudgeError,
        /// What the other validators found.
        violations: Vec<FieldProblem>,
    },
    /// A plugin was not swapped.
    #[error(transparent)]
    Swap(Arc<SwapError>),
    /// The configuration was not changed.
    #[error(transparent)]
    Reload(Arc<ReloadError>),
    /// Fields break rules; all of them are listed.
    #[error("{} of the request's fields cannot be accepted; see `errors`", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// Not JSON, or not properly encoded.
    #[error("{0}")]
    Malformed(String),
    /// The body is too large.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {limit:?}")]
    BodyTimedOut {
        /// Time allowed.
        limit: Duration,
    },
    /// The body is of another type.
    #[error("the body has to be of another type: send it with `content-type: {expected}`")]
    MediaType {
        /// The type.
        expected: &'static str,
    },
    /// There is no such address.
    #[error("there is nothing at this address; the routes are listed at /api/openapi.json")]
    NoRoute,
    /// A change of what may have changed since it was read, without the revision that was read.
    #[error("say with `if-match` which revision you read: its `etag`")]
    ConditionMissing,
    /// The address knows other methods.
    #[error("this address does not take {method}; the header `allow` lists what it takes")]
    Method {
        /// The method used.
        method: Method,
    },
    /// A foreign web page may have sent a request that stands on what its browser adds by itself, or nothing says that it did
    /// not.
    #[error(
        "what a browser adds by itself counts here only with the `Origin` of a page of this server (behind a proxy, of its \
         `external_url`), or without one with `Sec-Fetch-Site: same-origin`; programs bring `Authorization: Bearer`"
    )]
    CrossSite,
    /// A session in a cookie, over a connection that anybody may listen to.
    #[error(
        "over plain HTTP a cookie is given to this machine's own browsers alone; use https (behind a proxy, have it among \
         `trusted_proxies`), or ask without `cookie`"
    )]
    CookieInsecure,
    /// The feed did not open.
    #[error(transparent)]
    Feed(#[from] FeedRefusal),
    /// No process is meant.
    #[error("no process fits any of the selections")]
    NothingSelected,
    /// More processes are meant than one batch takes.
    #[error("{count} processes fit the selections, and one batch takes {limit}; select fewer")]
    TooManySelected {
        /// That many.
        count: usize,
        /// Processes allowed.
        limit: usize,
    },
    /// Other processes are meant than those of the plan that was agreed to.
    #[error(
        "other processes fit the selections now than in the plan `{plan}`; nothing was sent, look at the plan again"
    )]
    PlanChanged {
        /// The plan that was agreed to.
        plan: String,
    },
    /// Too many batches are under way.
    #[error("{limit} batches are under way, which is all that are allowed")]
    BatchesFull {
        /// Batches allowed.
        limit: usize,
    },
    /// A copy of the database is made or sent.
    #[error("a copy of the database is under way, and there is one at a time")]
    BackupUnderWay,
    /// The database.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// This host writes no log of its own.
    #[error("this server's log is written by the program that it runs in, which decides what is in it")]
    NoLog,
    /// The host is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A bug.
    #[error("something broke in the server; its log says more under this request id")]
    Internal {
        /// For the log.
        what: String,
    },
}

/// What the table says about one failure.
struct Row {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    retry_after: Option<Duration>,
}

const fn row(status: StatusCode, code: &'static str, title: &'static str) -> Row {
    Row { status, code, title, retry_after: None }
}

impl Row {
    const fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

/// What a caller told to come back is given where no real wait is known.
const SOON: Duration = Duration::from_secs(1);
/// The same where only somebody else's leaving helps.
const LATER: Duration = Duration::from_secs(10);

impl ApiError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// What somebody whom nobody knows is told: the same for every credential that is not good, whatever is wrong with it and
    /// whoever judged it.
    #[must_use]
    pub(super) fn told_to_a_stranger(self) -> Self {
        let is_judged = matches!(&self, Self::Auth(refusal) if matches!(refusal.as_ref(), AuthRefusal::Failed));
        if is_judged { AuthRefusal::Required.into() } else { self }
    }

    /// The document that says it to the caller.
    #[must_use]
    pub fn problem(&self, request_id: &str) -> Problem {
        let row = self.row();
        Problem {
            r#type: format!("https://omnivisor.dev/problems/{}", row.code),
            title: row.title.to_owned(),
            status: row.status.as_u16(),
            code: row.code.to_owned(),
            detail: self.detail(),
            request_id: request_id.to_owned(),
            errors: self.errors(),
        }
    }

    /// The whole answer: document, status, and the headers that belong to it.
    #[must_use]
    pub fn response(&self, request_id: &RequestId) -> Response {
        let row = self.row();
        let document = serde_json::to_vec(&self.problem(&request_id.0)).unwrap_or_default();
        let mut response = (row.status, document).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = row.retry_after {
            // Rounded up: who comes back after that many whole seconds is not sent away again.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        if row.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"omnivisor\""));
        }
        if row.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }

    fn errors(&self) -> Vec<FieldProblem> {
        if let Self::Invalid(fields) | Self::Judge { violations: fields, .. } = self {
            return fields.clone();
        }
        if let Self::Reload(error) = self
            && let ReloadError::Faulty(faults) = error.as_ref()
        {
            return faults.iter().map(config_fault).collect();
        }
        let Self::Auth(refusal) = self else { return Vec::new() };
        let problem = |field: &str, code: &str, message: String| FieldProblem {
            pointer: format!("/body/{field}"),
            code: code.to_owned(),
            message,
        };
        if let AuthRefusal::KeyWish(faults) = refusal.as_ref() {
            return faults.iter().map(|fault| problem(&fault.field(), fault.code(), fault.to_string())).collect();
        }
        let AuthRefusal::Account(fault) = refusal.as_ref() else { return Vec::new() };
        vec![problem(fault.field(), fault.code(), fault.to_string())]
    }

    /// What happened and what to do, without what only the log may know.
    fn detail(&self) -> String {
        match self {
            Self::Node(NodeError::Adapter { source, .. }) => format!("{self}: {source}"),
            Self::Judge { source, .. } => format!("{self}: {source}"),
            Self::Swap(error) => chain(error.as_ref()),
            Self::Reload(error) => chain(error.as_ref()),
            Self::Node(_)
            | Self::Auth(_)
            | Self::Invalid(_)
            | Self::Malformed(_)
            | Self::TooLarge { .. }
            | Self::BodyTimedOut { .. }
            | Self::MediaType { .. }
            | Self::NoRoute
            | Self::ConditionMissing
            | Self::Method { .. }
            | Self::CrossSite
            | Self::CookieInsecure
            | Self::Feed(_)
            | Self::NothingSelected
            | Self::TooManySelected { .. }
            | Self::PlanChanged { .. }
            | Self::BatchesFull { .. }
            | Self::BackupUnderWay
            | Self::Store(_)
            | Self::NoLog
            | Self::ShuttingDown
            | Self::Internal { .. } => self.to_string(),
        }
    }

    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Node(error) => node_row(error),
            Self::Auth(error) => auth_row(error),
            Self::Judge { source: JudgeError::Plugin(failure), .. } => plugin_row(failure),
            Self::Judge { source: JudgeError::Fault(_), .. } => {
                row(S::INTERNAL_SERVER_ERROR, "plugin.fault", "A plugin failed")
            }
            Self::Invalid(_) => row(S::UNPROCESSABLE_ENTITY, "request.invalid", "The request breaks rules"),
            Self::Malformed(_) => row(S::BAD_REQUEST, "request.malformed", "The request cannot be read"),
            Self::TooLarge { .. } => row(S::PAYLOAD_TOO_LARGE, "request.too_large", "The request is too large"),
            Self::BodyTimedOut { .. } => row(S::REQUEST_TIMEOUT, "request.timed_out", "The request came too slowly"),
            Self::MediaType { .. } => {
                row(S::UNSUPPORTED_MEDIA_TYPE, "request.media_type", "The body is of another type")
            }
            Self::ConditionMissing => {
                row(S::PRECONDITION_REQUIRED, "request.condition_missing", "Which revision is meant?")
            }
            Self::NoRoute => row(S::NOT_FOUND, "route.not_found", "No such address"),
            Self::Method { .. } => row(S::METHOD_NOT_ALLOWED, "route.method_not_allowed", "No such method here"),
            Self::Swap(error) => swap_row(error),
            Self::Reload(error) => reload_row(error),
            Self::CrossSite => row(S::FORBIDDEN, "auth.cross_site", "Not from that page"),
            Self::CookieInsecure => row(S::FORBIDDEN, "auth.cookie_insecure", "No cookie in the open"),
            Self::Feed(refusal) => feed_row(refusal),
            Self::NothingSelected => row(S::NOT_FOUND, "bulk.nothing_selected", "No such process"),
            Self::TooManySelected { .. } => row(S::UNPROCESSABLE_ENTITY, "bulk.too_many", "Too many processes"),
            Self::PlanChanged { .. } => row(S::CONFLICT, "bulk.plan_changed", "Other processes are meant now"),
            Self::BatchesFull { .. } => row(S::SERVICE_UNAVAILABLE, "bulk.busy", "Too many batches").after(SOON),
            Self::BackupUnderWay => row(S::SERVICE_UNAVAILABLE, "backup.busy", "A copy is under way").after(SOON),
            Self::Store(error) => store_row(error),
            Self::NoLog => row(S::CONFLICT, "log.not_ours", "The log is somebody else's"),
            Self::ShuttingDown => {
                row(S::SERVICE_UNAVAILABLE, "host.shutting_down", "The server is shutting down").after(SOON)
            }
            Self::Internal { .. } => row(S::INTERNAL_SERVER_ERROR, "host.internal", "The server failed"),
        }
    }
}

/// The stable code of a node's failure, as answers and the audit have it.
#[must_use]
pub(super) fn node_code(error: &NodeError) -> &'static str {
    node_row(error).code
}

fn node_row(error: &NodeError) -> Row {
    use StatusCode as S;
    match error {
        NodeError::UnknownNode { .. } => row(S::NOT_FOUND, "node.not_found", "No such node"),
        NodeError::UnknownProcess { .. } => row(S::NOT_FOUND, "process.not_found", "No such process"),
        NodeError::AmbiguousProcess { .. } => row(S::CONFLICT, "process.ambiguous", "The name is not unique"),
        NodeError::ProcessBusy { .. } => row(S::CONFLICT, "process.busy", "Another order is under way").after(SOON),
        NodeError::NodeBusy { .. } => row(S::CONFLICT, "node.busy", "Another order is under way").after(SOON),
        NodeError::UnknownGroup { .. } => row(S::NOT_FOUND, "group.not_found", "No such group"),
        NodeError::Unsupported { .. } => {
            row(S::UNPROCESSABLE_ENTITY, "operation.unsupported", "This node cannot do that")
        }
        NodeError::QueueFull { .. } => row(S::SERVICE_UNAVAILABLE, "node.queue_full", "The node is busy").after(SOON),
        NodeError::PoolBusy { .. } => row(S::SERVICE_UNAVAILABLE, "node.pool_busy", "Too many calls").after(SOON),
        NodeError::Gone { .. } => {
            row(S::SERVICE_UNAVAILABLE, "host.shutting_down", "The server is shutting down").after(SOON)
        }
        NodeError::CallerLeft { .. } => row(S::REQUEST_TIMEOUT, "request.caller_left", "The caller has left"),
        NodeError::NotBegun { .. } => row(S::SERVICE_UNAVAILABLE, "node.not_begun", "Not in time").after(SOON),
        NodeError::OutcomeUnknown { .. } | NodeError::Lost { .. } => {
            row(S::GATEWAY_TIMEOUT, "order.unknown", "Nobody knows the outcome")
        }
        NodeError::Removed { .. } => row(S::GONE, "node.removed", "The node was removed"),
        NodeError::Replaced { .. } => row(S::SERVICE_UNAVAILABLE, "node.replaced", "The node has changed").after(SOON),
        NodeError::Disabled { .. } => row(S::CONFLICT, "node.disabled", "The node is disabled"),
        NodeError::BreakerOpen { retry_after, .. } => {
            row(S::SERVICE_UNAVAILABLE, "node.breaker_open", "The node is not being called").after(*retry_after)
        }
        NodeError::Adapter { source, .. } => plugin_row(source),
        NodeError::Answered { fault, .. } => fault_row(fault.kind, &fault.code),
    }
}

/// The faults that an adapter may report and that callers can act upon; any other is shown by its kind alone.
fn fault_row(kind: FaultKind, code: &str) -> Row {
    use StatusCode as S;
    match code {
        "process.not_found" => row(S::NOT_FOUND, "process.not_found", "No such process"),
        "process.ambiguous" => row(S::CONFLICT, "process.ambiguous", "The name is not unique"),
        "process.stopping" => row(S::CONFLICT, "process.stopping", "The process is stopping").after(SOON),
        "process.action_pending" => row(S::CONFLICT, "process.busy", "Another order is under way").after(SOON),
        "process.not_monitored" => row(S::CONFLICT, "process.not_monitored", "The process is not watched"),
        "process.not_running" => row(S::CONFLICT, "process.not_running", "The process does not run"),
        "process.already_started" => row(S::CONFLICT, "process.already_started", "The process runs already"),
        "process.no_file" => row(S::BAD_GATEWAY, "process.no_file", "The program is not there"),
        "process.not_executable" => row(S::BAD_GATEWAY, "process.not_executable", "The program cannot be run"),
        "process.spawn_error" => row(S::BAD_GATEWAY, "process.spawn_error", "The program did not start"),
        "process.no_input" => row(S::CONFLICT, "process.no_input", "The process does not read its input"),
        "process.input_not_text" => row(S::UNPROCESSABLE_ENTITY, "process.input_not_text", "The input is no text"),
        "group.not_found" => row(S::NOT_FOUND, "group.not_found", "No such group"),
        "group.still_running" => row(S::CONFLICT, "group.still_running", "The group is still running").after(SOON),
        "node.cannot_reread" => row(S::CONFLICT, "node.cannot_reread", "The node's files are faulty"),
        "log.not_found" => row(S::NOT_FOUND, "log.not_found", "No such log"),
        "log.unreadable" => row(S::BAD_GATEWAY, "log.unreadable", "The log cannot be read"),
        "node.unauthenticated" => row(S::BAD_GATEWAY, "node.unauthenticated", "The node refuses our credentials"),
        "node.wrong_endpoint" => row(S::BAD_GATEWAY, "node.wrong_endpoint", "Something else answers there"),
        "node.shutting_down" => {
            row(S::SERVICE_UNAVAILABLE, "node.shutting_down", "The node is shutting down").after(SOON)
        }
        "node.timed_out" => row(S::GATEWAY_TIMEOUT, "node.timed_out", "The node did not answer in time"),
        "node.unreachable" => row(S::BAD_GATEWAY, "node.unreachable", "The node cannot be reached"),
        _ => match kind {
            FaultKind::Caller => row(S::CONFLICT, "node.refused", "The node refuses"),
            FaultKind::Node => row(S::BAD_GATEWAY, "node.bad_reply", "The node failed"),
            FaultKind::Timeout => row(S::GATEWAY_TIMEOUT, "node.timed_out", "The node did not answer in time"),
            FaultKind::Unsupported => row(S::UNPROCESSABLE_ENTITY, "operation.unsupported", "This node cannot do that"),
            FaultKind::Plugin => row(S::INTERNAL_SERVER_ERROR, "plugin.fault", "A plugin failed"),
        },
    }
}

fn auth_row(refusal: &AuthRefusal) -> Row {
    use StatusCode as S;
    match refusal {
        AuthRefusal::Required => row(S::UNAUTHORIZED, "auth.required", "Sign in first"),
        AuthRefusal::Failed => row(S::UNAUTHORIZED, "auth.failed", "Not signed in"),
        AuthRefusal::Forbidden { .. } => row(S::FORBIDDEN, "auth.forbidden", "Not allowed"),
        AuthRefusal::TooManyAttempts { retry_after } => {
            row(S::TOO_MANY_REQUESTS, "auth.too_many_attempts", "Too many failed attempts").after(*retry_after)
        }
        AuthRefusal::Busy { retry_after } => {
            row(S::SERVICE_UNAVAILABLE, "auth.busy", "Too many logins at once").after(*retry_after)
        }
        AuthRefusal::Plugin { source: JudgeError::Plugin(failure), .. } => plugin_row(failure),
        AuthRefusal::Plugin { source: JudgeError::Fault(fault), .. } => match fault.kind {
            FaultKind::Node | FaultKind::Timeout => {
                row(S::SERVICE_UNAVAILABLE, "auth.unavailable", "Nobody can be judged now").after(SOON)
            }
            FaultKind::Caller | FaultKind::Unsupported | FaultKind::Plugin => {
                row(S::INTERNAL_SERVER_ERROR, "plugin.fault", "A plugin failed")
            }
        },
        AuthRefusal::Store(error) => store_row(error),
        AuthRefusal::SetupDone => row(S::CONFLICT, "setup.done", "There is an administrator"),
        AuthRefusal::NoSuchLogin { .. } => row(S::NOT_FOUND, "auth.no_such_login", "No such login"),
        AuthRefusal::NoExternalUrl => {
            row(S::NOT_IMPLEMENTED, "auth.no_external_url", "The server does not know its own address")
        }
        AuthRefusal::FlowsFull { .. } => {
            row(S::SERVICE_UNAVAILABLE, "auth.flows_full", "Too many logins under way").after(SOON)
        }
        AuthRefusal::TooManyTickets { is_own: true, retry_after, .. } => {
            row(S::TOO_MANY_REQUESTS, "auth.too_many_tickets", "Too many unused tickets").after(*retry_after)
        }
        AuthRefusal::TooManyTickets { is_own: false, retry_after, .. } => {
            row(S::SERVICE_UNAVAILABLE, "auth.tickets_full", "Too many unused tickets").after(*retry_after)
        }
        AuthRefusal::FlowLost => row(S::BAD_REQUEST, "auth.flow_lost", "No such login is under way"),
        AuthRefusal::NoSession => row(S::CONFLICT, "auth.no_session", "There is no session"),
        AuthRefusal::NoAccount => row(S::FORBIDDEN, "auth.no_account", "Only for accounts"),
        AuthRefusal::Limited => row(S::FORBIDDEN, "auth.limited", "Not with this credential"),
        AuthRefusal::Exceeds { .. } => row(S::FORBIDDEN, "auth.exceeds", "Beyond your own rights"),
        AuthRefusal::NoSuchSession => row(S::NOT_FOUND, "auth.session_not_found", "No such session"),
        AuthRefusal::BuiltIn { .. } => row(S::CONFLICT, "auth.role_built_in", "The role is built in"),
        AuthRefusal::NoSuchKey { .. } => row(S::NOT_FOUND, "auth.key_not_found", "No such API key"),
        AuthRefusal::KeyWish(_) | AuthRefusal::Account(_) => {
            row(S::UNPROCESSABLE_ENTITY, "request.invalid", "The request breaks rules")
        }
        AuthRefusal::Internal { .. } => row(S::INTERNAL_SERVER_ERROR, "host.internal", "The server failed"),
    }
}

fn reload_row(error: &ReloadError) -> Row {
    use StatusCode as S;
    match error {
        ReloadError::Unreadable(_) => row(S::UNPROCESSABLE_ENTITY, "config.unreadable", "The file cannot be read"),
        ReloadError::Faulty(_) => row(S::UNPROCESSABLE_ENTITY, "config.faulty", "The configuration has faults"),
        ReloadError::Plugins(SwapError::QueueFull { .. } | SwapError::Stopped) => {
            row(S::SERVICE_UNAVAILABLE, "config.busy", "Too many changes at once").after(SOON)
        }
        ReloadError::Plugins(_) => {
            row(S::UNPROCESSABLE_ENTITY, "config.plugins_refused", "The plugins cannot serve so")
        }
        ReloadError::NoFile => row(S::CONFLICT, "config.no_file", "There is no file"),
        ReloadError::UnknownGeneration { .. } => row(S::NOT_FOUND, "config.generation_not_found", "No such generation"),
        ReloadError::FileChanged { .. } => row(S::CONFLICT, "config.file_changed", "The file has other changes"),
        ReloadError::NotWritable { .. } => row(S::CONFLICT, "config.not_writable", "The file cannot be written"),
        ReloadError::Declared { .. } => row(S::CONFLICT, "node.declared", "The file owns this node"),
        ReloadError::NodeExists { .. } => row(S::CONFLICT, "node.exists", "There is such a node"),
        ReloadError::UnknownNode { .. } => row(S::NOT_FOUND, "node.not_found", "No such node"),
        ReloadError::TooManyNodes { .. } => row(S::CONFLICT, "node.too_many", "Too many nodes"),
        ReloadError::Store(error) => store_row(error),
        ReloadError::Busy { .. } => row(S::SERVICE_UNAVAILABLE, "config.busy", "Too many changes at once").after(SOON),
        ReloadError::Stopped => {
            row(S::SERVICE_UNAVAILABLE, "host.shutting_down", "The server is shutting down").after(SOON)
        }
    }
}

fn config_fault(fault: &ConfigFault) -> FieldProblem {
    let pointer = if fault.key.is_empty() { String::new() } else { format!("/config/{}", fault.key.replace('.', "/")) };
    FieldProblem { pointer, code: "invalid".to_owned(), message: fault.to_string() }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        Self::Reload(Arc::new(error))
    }
}

fn store_row(error: &StoreError) -> Row {
    let unavailable = |code, title| row(StatusCode::SERVICE_UNAVAILABLE, code, title).after(SOON);
    match error {
        StoreError::Busy { .. } | StoreError::TimedOut { .. } => unavailable("store.busy", "The database is busy"),
        StoreError::Full => unavailable("store.full", "The disk is full"),
        StoreError::ReadOnly => unavailable("store.read_only", "The disk takes no writes"),
        StoreError::ReadUnderWay => unavailable("store.read_under_way", "The database is still read as it was before"),
        StoreError::TooManyKeys { .. } => row(StatusCode::CONFLICT, "auth.too_many_keys", "Too many API keys"),
        StoreError::AccountExists { .. } => {
            row(StatusCode::CONFLICT, "auth.account_exists", "There is such an account")
        }
        StoreError::TooMany { .. } => row(StatusCode::CONFLICT, "auth.too_many", "Too many of these"),
        StoreError::NoAccount { .. } => row(StatusCode::NOT_FOUND, "auth.account_not_found", "No such account"),
        StoreError::NoRole { .. } => row(StatusCode::NOT_FOUND, "auth.role_not_found", "No such role"),
        StoreError::RoleExists { .. } => row(StatusCode::CONFLICT, "auth.role_exists", "There is such a role"),
        StoreError::Stale => row(StatusCode::PRECONDITION_FAILED, "request.stale", "It has changed meanwhile"),
        StoreError::RoleInUse { .. } => row(StatusCode::CONFLICT, "auth.role_in_use", "The role is granted"),
        StoreError::LastAdministrator => row(StatusCode::CONFLICT, "auth.last_administrator", "The last administrator"),
        StoreError::Closed => unavailable("host.shutting_down", "The server is shutting down"),
        StoreError::Broken { .. }
        | StoreError::Read { .. }
        | StoreError::Record { .. }
        | StoreError::Locked { .. }
        | StoreError::NewerSchema { .. }
        | StoreError::NotADatabase { .. }
        | StoreError::Damaged { .. }
        | StoreError::WrongKey { .. }
        | StoreError::NoKey
        | StoreError::Sealing
        | StoreError::Open { .. }
        | StoreError::AccountsExist => row(StatusCode::INTERNAL_SERVER_ERROR, "store.failed", "The database failed"),
    }
}

fn feed_row(refusal: &FeedRefusal) -> Row {
    use StatusCode as S;
    match refusal {
        FeedRefusal::NotAnUpgrade | FeedRefusal::Version => {
            row(S::UPGRADE_REQUIRED, "feed.upgrade_required", "The feed is a WebSocket")
        }
        FeedRefusal::Handshake { .. } => row(S::BAD_REQUEST, "request.malformed", "The request cannot be read"),
        FeedRefusal::Origin => row(S::FORBIDDEN, "feed.origin_refused", "Not from that page"),
        FeedRefusal::PrincipalFull { .. } => {
            row(S::TOO_MANY_REQUESTS, "feed.principal_full", "Too many connections of one principal").after(LATER)
        }
        FeedRefusal::AddressFull { .. } => {
            row(S::TOO_MANY_REQUESTS, "feed.address_full", "Too many connections from one address").after(LATER)
        }
        FeedRefusal::TooFast { retry_after } => {
            row(S::SERVICE_UNAVAILABLE, "feed.too_fast", "Too many come at once").after(*retry_after)
        }
        FeedRefusal::Full => row(S::SERVICE_UNAVAILABLE, "feed.full", "The feed is full").after(SOON),
        FeedRefusal::ShuttingDown => {
            row(S::SERVICE_UNAVAILABLE, "host.shutting_down", "The server is shutting down").after(SOON)
        }
    }
}

fn swap_row(error: &SwapError) -> Row {
    use StatusCode as S;
    match error {
        SwapError::Unknown { .. } => row(S::NOT_FOUND, "plugin.not_found", "No such plugin"),
        SwapError::NoPrevious { .. } => row(S::CONFLICT, "plugin.no_previous", "Nothing to go back to"),
        SwapError::QueueFull { .. } => {
            row(S::SERVICE_UNAVAILABLE, "plugin.swaps_waiting", "Too many swaps at once").after(SOON)
        }
        SwapError::Load(_) | SwapError::Several(_) => {
            row(S::UNPROCESSABLE_ENTITY, "plugin.not_loaded", "The component cannot serve")
        }
        SwapError::NotKept { .. } => row(S::INTERNAL_SERVER_ERROR, "plugin.not_kept", "The component cannot be kept"),
        SwapError::Stopped => {
            row(S::SERVICE_UNAVAILABLE, "host.shutting_down", "The server is shutting down").after(SOON)
        }
    }
}

/// An error and all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn plugin_row(failure: &PluginFailure) -> Row {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    match failure {
        PluginFailure::Busy { .. } => {
            row(StatusCode::SERVICE_UNAVAILABLE, failure.code(), "A plugin has too many calls").after(SOON)
        }
        PluginFailure::Quarantined { retry_after, .. } => {
            row(StatusCode::SERVICE_UNAVAILABLE, failure.code(), "A plugin is quarantined").after(*retry_after)
        }
        PluginFailure::OutOfFuel { .. }
        | PluginFailure::TimedOut { .. }
        | PluginFailure::OutOfMemory { .. }
        | PluginFailure::TooMuchData { .. }
        | PluginFailure::OutOfStack { .. }
        | PluginFailure::Trapped { .. } => row(status, failure.code(), "A plugin failed"),
    }
}

impl From<AuthRefusal> for ApiError {
    fn from(error: AuthRefusal) -> Self {
        Self::Auth(Arc::new(error))
    }
}

/// The error goes with the response until the request's id is known; see `api::request`.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.row().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
