use crate::model::{
    AdapterFault, AdapterInfo, ConfigChanges, Credential, FaultKind, GroupOperation, LogChannel, LogRange, LogSlice,
    MemberOutcome, NodeOperation, Observation, Operation, OperationRequest, PeerFacts, Process, ProcessAct, ProcessId,
    Redirection, Secret, StrategyInfo, Verdict, Violation,
};
use crate::plugin::{Toolchain, WebCache};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A future behind a pointer, so that a trait with it can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One HTTP exchange with the node of a call. Implemented by `node::link`.
pub trait Exchange: Send + Sync + 'static {
    /// Sends a request and reads the whole reply before `deadline`.
    ///
    /// # Errors
    /// [`ExchangeFailure`]; the implementor has noted it for the breaker.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection: one with a request in flight is never used again.
    fn send<'a>(
        &'a self,
        request: ExchangeRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ExchangeResponse, ExchangeFailure>>;

    /// The node's name, where it is known: calls that fail for one node alone are held against that node alone.
    fn node(&self) -> Option<&str> {
        None
    }
}

/// A request to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// `GET`, `POST` and the like.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides those that the host adds.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A node's complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeResponse {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no reply. Texts hold no addresses and no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeFailure {
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// More bytes than allowed.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Not HTTP, or not proper HTTP.
    #[error("{0}")]
    Protocol(String),
    /// The request itself is not allowed.
    #[error("{0}")]
    Refused(String),
}

/// The accounts that `auth-local` checks passwords against. Implemented by `auth`.
pub trait Accounts: Send + Sync + 'static {
    /// Compares a password, at equal cost whether or not the account exists.
    ///
    /// # Errors
    /// A text when the host is too busy to hash.
    fn check_password(&self, username: String, password: Secret) -> BoxFuture<'_, Result<PasswordCheck, String>>;
}

/// What came of comparing a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The account exists, is enabled, and this is its password.
    Matches,
    /// It is not.
    Differs,
}

/// An API key that the host issued, as a strategy may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public id.
    pub id: String,
    /// The account that it acts for.
    pub account: String,
    /// The actions that it is limited to; empty for all that the account may.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires: Option<SystemTime>,
}

/// The API keys that `auth-token` asks about. Implemented by `auth`.
pub trait ApiKeys: Send + Sync + 'static {
    /// The key that this text is, if there is one that is neither expired nor revoked. Does not wait.
    ///
    /// # Errors
    /// A text when the host cannot say.
    fn find(&self, text: Secret) -> Result<Option<ApiKey>, String>;
}

/// Outgoing HTTP for plugins that were granted origins. Implemented by `fetch`.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends a request and reads the whole reply before `deadline`. The caller has checked the grant.
    ///
    /// # Errors
    /// [`ExchangeFailure`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    fn send(&self, request: WebRequest, deadline: Instant) -> BoxFuture<'_, Result<ExchangeResponse, ExchangeFailure>>;
}

/// A request to a granted origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Headers besides those that the host adds.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// A longer reply is refused.
    pub response_bytes_max: usize,
}

/// What the host lends to its plugins, and what makes them ready.
#[derive(Clone)]
pub struct Services {
    /// Password checks.
    pub accounts: Arc<dyn Accounts>,
    /// API keys; without it no key is ever found.
    pub api_keys: Option<Arc<dyn ApiKeys>>,
    /// Outgoing HTTP; without it every request of a plugin is refused.
    pub http: Option<Arc<dyn HttpClient>>,
    /// What plugins fetched. Kept here, so that a plugin whose code is replaced finds it again.
    pub web_cache: WebCache,
    /// Compiles them.
    pub toolchain: Toolchain,
}

/// How to open a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRequest {
    /// Path and query for a `GET`.
    pub path: String,
    /// Headers besides those that the host adds.
    pub headers: Vec<(String, String)>,
}

/// What a piece of the hint stream said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HintsRead {
    /// Names of processes that may have changed, without groups.
    pub names: Vec<String>,
    /// Anything may have changed.
    pub everything: bool,
    /// Bytes of an unfinished line, to be given back.
    pub rest: Vec<u8>,
}

/// One node adapter. The real one is a component; tests have a script.
///
/// Every call gets its own instance, ends by `deadline`, and may be dropped at any await.
pub trait Adapter: Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &str;

    /// What it said of itself when it was loaded.
    fn info(&self) -> &Arc<AdapterInfo>;

    /// Reads everything.
    fn observe(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>>;

    /// Reads some processes; those that do not exist are left out.
    fn observe_some(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        ids: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>>;

    /// Gives one order, of those that [`Self::info`] lists, and returns once the supervisor took it.
    /// `true` if something was sent, `false` if the process was as asked already.
    fn run(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>>;

    /// Does something to one process at once, of which [`Self::info`] lists the ability; the same holds for what follows.
    /// One that lists none is never asked, and need not say anything.
    /// `true` if something was sent, `false` if the process was as asked already.
    fn act(
        &self,
        _: Arc<dyn Exchange>,
        _: Instant,
        _: ProcessAct,
        _: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        unasked()
    }

    /// Gives an order to a whole group, and returns once the supervisor took it, with what it said of each process.
    fn run_group(
        &self,
        _: Arc<dyn Exchange>,
        _: Instant,
        _: GroupOperation,
        _: String,
    ) -> BoxFuture<'_, Result<Vec<MemberOutcome>, AdapterError>> {
        unasked()
    }

    /// Gives an order to the supervisor itself, and returns once it took it.
    /// `true` if something was sent, `false` if all was as asked already.
    fn run_node(
        &self,
        _: Arc<dyn Exchange>,
        _: Instant,
        _: NodeOperation,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        unasked()
    }

    /// Has the supervisor read its files; tells how they differ from what runs.
    fn reread(&self, _: Arc<dyn Exchange>, _: Instant) -> BoxFuture<'_, Result<ConfigChanges, AdapterError>> {
        unasked()
    }

    /// How to open a live stream of a log; none if this log has none.
    fn follow_request(
        &self,
        _: Instant,
        _: ProcessId,
        _: LogChannel,
    ) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        unasked()
    }

    /// Reads the end of the supervisor's own log.
    fn read_node_log(&self, _: Arc<dyn Exchange>, _: Instant, _: u32) -> BoxFuture<'_, Result<Vec<u8>, AdapterError>> {
        unasked()
    }

    /// Reads a piece of a log.
    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>>;

    /// How to open the hint stream.
    fn hint_request(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>>;

    /// Reads a piece of the hint stream.
    fn read_hints(
        &self,
        deadline: Instant,
        rest: Vec<u8>,
        piece: Vec<u8>,
    ) -> BoxFuture<'_, Result<HintsRead, AdapterError>>;
}

/// The answer of an adapter to what it did not say it can do.
fn unasked<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, AdapterError>> {
    let fault = AdapterFault {
        kind: FaultKind::Unsupported,
        code: "operation.unsupported".to_owned(),
        message: "the adapter cannot do that".to_owned(),
    };
    Box::pin(async { Err(fault.into()) })
}

/// Why a call of an adapter gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The adapter says so; its word about its node.
    #[error(transparent)]
    Fault(#[from] AdapterFault),
    /// The adapter itself failed; nothing is known about the node.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
}

/// Why a strategy or validator gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// The plugin reported a fault.
    #[error(transparent)]
    Fault(#[from] AdapterFault),
    /// The plugin itself failed.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
}

/// How a plugin failed. Each names the plugin; none leaks its memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginFailure {
    /// It used all its fuel.
    #[error("plugin `{plugin}` used more than {limit} units of fuel")]
    OutOfFuel {
        /// The plugin.
        plugin: String,
        /// Units allowed.
        limit: u64,
    },
    /// It ran too long, its waits in the host included.
    #[error("plugin `{plugin}` did not finish within {limit:?}")]
    TimedOut {
        /// The plugin.
        plugin: String,
        /// Time allowed.
        limit: Duration,
    },
    /// It wanted more memory, table elements, instances or handles.
    #[error("plugin `{plugin}` wanted more memory than {limit_bytes} bytes, or more tables or handles than allowed")]
    OutOfMemory {
        /// The plugin.
        plugin: String,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// It moved more bytes across the border than allowed, or lists longer than the contract says.
    #[error("plugin `{plugin}` passed more data than its contract allows: {what}")]
    TooMuchData {
        /// The plugin.
        plugin: String,
        /// Which bound.
        what: String,
    },
    /// It ran out of stack.
    #[error("plugin `{plugin}` ran out of stack")]
    OutOfStack {
        /// The plugin.
        plugin: String,
    },
    /// It trapped or panicked.
    #[error("plugin `{plugin}` trapped: {what}")]
    Trapped {
        /// The plugin.
        plugin: String,
        /// The kind of trap, in the engine's words.
        what: String,
    },
    /// It failed so often that it is not called for a while.
    #[error("plugin `{plugin}` is quarantined for another {retry_after:?}: {reason}")]
    Quarantined {
        /// The plugin.
        plugin: String,
        /// Until it is tried again.
        retry_after: Duration,
        /// Its last failure, in words.
        reason: String,
    },
    /// So many calls of its kind are running that this one was not begun.
    #[error("plugin `{plugin}` has {limit} calls running, which is all that are allowed")]
    Busy {
        /// The plugin.
        plugin: String,
        /// Calls allowed.
        limit: usize,
    },
}

impl PluginFailure {
    /// The plugin's name.
    #[must_use]
    pub fn plugin(&self) -> &str {
        match self {
            Self::OutOfFuel { plugin, .. }
            | Self::TimedOut { plugin, .. }
            | Self::OutOfMemory { plugin, .. }
            | Self::TooMuchData { plugin, .. }
            | Self::OutOfStack { plugin }
            | Self::Trapped { plugin, .. }
            | Self::Quarantined { plugin, .. }
            | Self::Busy { plugin, .. } => plugin,
        }
    }

    /// The stable code of this kind of failure, as in problem documents, metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OutOfFuel { .. } => "plugin.out_of_fuel",
            Self::TimedOut { .. } => "plugin.timed_out",
            Self::OutOfMemory { .. } => "plugin.out_of_memory",
            Self::TooMuchData { .. } => "plugin.too_much_data",
            Self::OutOfStack { .. } => "plugin.out_of_stack",
            Self::Trapped { .. } => "plugin.trapped",
            Self::Quarantined { .. } => "plugin.quarantined",
            Self::Busy { .. } => "plugin.busy",
        }
    }
}

/// One auth strategy. The real one is a component; tests have a script.
pub trait Strategy: Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &str;

    /// What it said of itself when it was loaded.
    fn info(&self) -> &Arc<StrategyInfo>;

    /// Judges a credential inside the limits of its class.
    fn authenticate(&self, credential: Credential, facts: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>>;

    /// Where to send the browser, for a strategy with `redirect` among its credentials. `state` has to come back.
    fn begin(
        &self,
        redirect_uri: String,
        state: String,
        facts: PeerFacts,
    ) -> BoxFuture<'_, Result<Redirection, JudgeError>>;

    /// Judges what the browser came back with, `state` having been checked. `keep` is what `begin` gave.
    fn complete(&self, returned: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>>;
}

/// A browser that is back.
#[derive(Debug, Clone)]
pub struct Returned {
    /// As it was given to [`Strategy::begin`].
    pub redirect_uri: String,
    /// The query's parameters, decoded.
    pub parameters: Vec<(String, String)>,
    /// What [`Strategy::begin`] gave.
    pub keep: Secret,
    /// The request that brought it.
    pub facts: PeerFacts,
}

/// One input validator. The real one is a component; tests have a script.
pub trait Validator: Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &str;

    /// Whether it wants to see requests of this name. Of others it is not asked.
    fn sees(&self, operation: &str) -> bool {
        let _ = operation;
        true
    }

    /// Judges a request inside the limits of its class. An empty list lets it go on.
    fn validate(&self, request: Arc<OperationRequest>) -> BoxFuture<'_, Result<Vec<Violation>, JudgeError>>;
}

/// The plugins that serve at one moment. Immutable, replaced whole; a call under way keeps the set it began with.
#[derive(Clone, Default)]
pub struct PluginSet {
    /// Strategies, in the order in which they are asked.
    pub strategies: Vec<Arc<dyn Strategy>>,
    /// Validators, all of which see every request.
    pub validators: Vec<Arc<dyn Validator>>,
    /// Adapters by plugin name.
    pub adapters: BTreeMap<String, Arc<dyn Adapter>>,
    /// Names of the plugins that were configured with `on_failure = "allow"`: a request goes on when a validator among
    /// them fails.
    pub lenient: BTreeSet<String>,
}
