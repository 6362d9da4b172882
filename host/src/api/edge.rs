//! What every handler is given, and the one way a request takes to its handler.

use crate::api::credential::Brought;
use crate::api::documents::Documents;
use crate::api::error::ApiError;
use crate::api::input::Asked;
use crate::api::judge::judge;
use crate::api::log_control::{LogControl, LogLoss};
use crate::api::metrics::Metrics;
use crate::api::origin::{Ours, Whence};
use crate::api::serve::ServeFigures;
use crate::api::socket::Door;
use crate::api::spans::Spans;
use crate::api::strangers::Strangers;
use crate::api::trace::TraceContext;
use crate::api::view;
use crate::api::wire::FieldProblem;
use crate::auth::{Action, Auth, AuthRefusal, Offer, Recognised, allows};
use crate::config::Snapshot;
use crate::hub::Hub;
use crate::model::{
    ActionKind, Behalf, NodeStatus, Object, OperationRequest, PeerFacts, Principal, Requester, Rights, Role, Secret,
    Target, is_mutating,
};
use crate::node::{NodeError, NodeHandle, Pool};
use crate::plugin::{Author, Platform, PluginSet};
use crate::reload::Reloader;
use crate::store::{AuditOutcome, AuditRecord, Store};
use crate::task::{Places, Tasks};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What every handler is given. Made once by `app`.
pub struct Edge {
    /// The supervised nodes.
    pub pool: Pool,
    /// Who may do what.
    pub auth: Auth,
    /// The feed.
    pub hub: Hub,
    /// Who comes in to it.
    pub door: Arc<Door>,
    /// What became of what the feed held before this host began: a word of [`crate::api::FEED_SUCCESSIONS`].
    pub feed_succession: &'static str,
    /// The plugins that serve now.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// Who looks after them.
    pub platform: Platform,
    /// The configuration in force, and how it changes.
    pub reloader: Reloader,
    /// Counters of this edge and of everything it can see.
    pub metrics: Metrics,
    /// Cancelled once no more requests are to be sent here.
    pub stop: CancellationToken,
    /// Every task of the host.
    pub tasks: Tasks,
    /// The database, whose condition is told.
    pub store: Store,
    /// Log lines that were lost, for they could not be written in time.
    pub log_loss: Arc<LogLoss>,
    /// Where the log's level is changed; without it the process's log is somebody else's.
    pub log_control: Option<Arc<dyn LogControl>>,
    /// What the listeners count.
    pub serving: Arc<ServeFigures>,
    /// Requests that are told as spans.
    pub spans: Spans,
    /// Places of connections.
    pub connections: Places,
    /// The nodes' documents for lists.
    pub documents: Documents,
    /// Places of batches of orders under way.
    pub batches: Places,
    /// Places of copies of the database under way.
    pub backups: Places,
    /// Refusals of those whom nobody knows.
    pub strangers: Strangers,
    /// The OpenAPI document.
    pub openapi: Bytes,
    /// The AsyncAPI document of the feed.
    pub asyncapi: Bytes,
}

/// The id of a request: the caller's own if it was proper, else ours.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Who asks. Keeping it keeps its session in use.
#[derive(Debug, Clone)]
pub struct Caller(pub Recognised);

impl Caller {
    /// The one recognised.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Who a change is of that somebody else writes down.
    pub(super) fn author(&self, facts: &Facts) -> Author {
        let who = self.principal().name.clone();
        Author { who, request_id: facts.request_id.clone(), address: Some(facts.address) }
    }
}

/// The facts about one request that handlers pass on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The request's id.
    pub request_id: String,
    /// Who asks: the peer's address, or what a trusted proxy says instead. Limits, lock-outs and the audit go by it.
    pub address: IpAddr,
    /// The other end of the connection itself.
    pub peer: IpAddr,
    /// The user's own connection is encrypted, up to this server or up to a trusted proxy.
    pub is_secure: bool,
    /// The distributed trace that the request is a part of.
    pub trace: Arc<TraceContext>,
    /// Who asks, by name, once that is known. For the log.
    pub who: Arc<OnceLock<String>>,
}

impl Facts {
    /// What strategies may know of the request.
    #[must_use]
    pub fn peer(&self) -> PeerFacts {
        PeerFacts { address: self.address, peer: self.peer, request_id: self.request_id.clone() }
    }

    /// On whose behalf nodes are asked, as they are told.
    #[must_use]
    pub fn behalf(&self) -> Arc<Behalf> {
        let (trace, id) = (&self.trace, self.request_id.clone());
        let state = trace.tracestate().map(str::to_owned);
        Arc::new(Behalf { request_id: id, traceparent: trace.traceparent(), tracestate: state })
    }
}

impl Edge {
    /// The configuration in force. Who does several things by it keeps this one.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reloader.snapshot()
    }

    /// Recognises the caller by what his request brings. The one place where a request becomes somebody's, for REST and feed
    /// alike.
    ///
    /// # Errors
    /// [`ApiError::Auth`] without a proper credential, and when none can be judged; [`ApiError::Malformed`] for a header
    /// that a strategy wants to see and that is no text.
    pub(super) async fn recognise(
        &self,
        brought: &Brought,
        (headers, uri): (&HeaderMap, &Uri),
        facts: &Facts,
    ) -> Result<Caller, ApiError> {
        match brought {
            Brought::Bearer(token) => self.recognise_token(token.clone(), facts).await,
            // A browser keeps sessions and nothing else for us: no strategy is asked about what it adds by itself.
            Brought::Cookie(token) => Ok(Caller(self.auth.recognise_session(token, SystemTime::now())?)),
            Brought::Ticket(ticket) => {
                let page = self.ours(facts).page(headers, uri);
                let who = self.auth.redeem_ticket(ticket, &page, &facts.peer(), SystemTime::now()).await?;
                Ok(Caller(who))
            }
            Brought::Several => Err(AuthRefusal::Required.into()),
            Brought::Nothing => {
                let headers = wanted(&self.auth.request_headers(), headers)?;
                self.recognise_offer(Offer { bearer: None, headers }, facts).await
            }
        }
    }

    /// Which web pages are this server's own, as a request came here.
    #[must_use]
    pub fn ours(&self, facts: &Facts) -> Ours {
        // Where users reach this server, whatever a proxy makes of the `Host`.
        let listed = self.snapshot().config.server.external_url.iter().cloned().collect();
        Ours { listed, is_secure: facts.is_secure }
    }

    /// Which web page a request comes from, as far as its browser says.
    pub(super) fn whence(&self, headers: &HeaderMap, uri: &Uri, facts: &Facts) -> Whence {
        self.ours(facts).whence(headers, uri)
    }

    /// The same for a token that stands in no header: one that a client brings on its open connection.
    ///
    /// # Errors
    /// [`ApiError::Auth`], as for a request with that token.
    pub async fn recognise_token(&self, token: Secret, facts: &Facts) -> Result<Caller, ApiError> {
        self.recognise_offer(Offer { bearer: Some(token), headers: Vec::new() }, facts).await
    }

    async fn recognise_offer(&self, offer: Offer, facts: &Facts) -> Result<Caller, ApiError> {
        Ok(Caller(self.auth.recognise(offer, &facts.peer(), SystemTime::now()).await?))
    }

    /// Decides whether `caller` may look at that: first the right, then every validator. What does not exist for him is
    /// shown to the validators by its words alone, and is not found then.
    ///
    /// # Errors
    /// [`ApiError::Node`] for what does not exist or may not be known of, alike; [`ApiError::Auth`] when it is not allowed; else
    /// as [`Edge::validate`].
    pub async fn admit(&self, caller: &Caller, action: Action, name: &str, asked: Asked) -> Result<(), ApiError> {
        self.decide(caller, Some(action), name, asked).await
    }

    async fn decide(&self, caller: &Caller, action: Option<Action>, name: &str, asked: Asked) -> Result<(), ApiError> {
        let (who, permitted) =
            (caller.principal(), action.map_or(Ok(()), |action| self.permit(caller, action, &asked)));
        if let Err(ApiError::Node(_)) = &permitted {
            // What is wrong with the words is told in any case; that they mean something is not, to validators neither.
            let nowhere = Asked { fields: asked.fields, ..Asked::default() };
            self.validate(Some(who), name, nowhere).await?;
            return permitted;
        }
        permitted?;
        self.validate(Some(who), name, asked).await
    }

    /// Decides whether `caller` may do that, and has a refusal written down: every operation that would change something
    /// comes through here. Without an action it is what everybody may do with his own.
    ///
    /// # Errors
    /// As [`Edge::admit`], and when the refusal cannot be written down.
    pub async fn admit_deed(
        &self,
        (caller, facts): (&Caller, &Facts),
        action: impl Into<Option<Action>>,
        (name, target): (&str, &str),
        asked: Asked,
    ) -> Result<(), ApiError> {
        let admitted = self.decide(caller, action.into(), name, asked).await;
        self.on_record((caller, facts), (name, target), admitted, AuditOutcome::Refused).await
    }

    /// Passes a result on. A failure is written down before, with its code.
    ///
    /// # Errors
    /// The failure, or that it cannot be written down.
    pub async fn on_record<T>(
        &self,
        (caller, facts): (&Caller, &Facts),
        (name, target): (&str, &str),
        result: Result<T, ApiError>,
        outcome: AuditOutcome,
    ) -> Result<T, ApiError> {
        if let Err(error) = &result {
            self.record(caller, facts, name, target, outcome, error.code()).await?;
        }
        result
    }

    /// Shows what a stranger asks for to every validator, and has a refusal written down as [`Strangers`] allows it.
    ///
    /// # Errors
    /// As [`Edge::validate`].
    pub async fn admit_stranger(&self, facts: &Facts, name: &str, asked: Asked) -> Result<(), ApiError> {
        let admitted = self.validate(None, name, asked).await;
        if let Err(error) = &admitted {
            self.note_stranger(facts, name, "", error.code()).await;
        }
        admitted
    }

    /// Writes down that somebody unknown was refused: once in a minute for each address, with the number of those that were
    /// not written down since. The refusal stands, whether or not the store takes it.
    pub async fn note_stranger(&self, facts: &Facts, what: &str, target: &str, code: &str) {
        let Some(untold) = self.strangers.note(facts.address, Instant::now()) else { return };
        let record = AuditRecord {
            at: SystemTime::now(),
            who: String::new(),
            what: what.to_owned(),
            target: target.to_owned(),
            outcome: AuditOutcome::Refused,
            reason: if untold == 0 { code.to_owned() } else { format!("{code}; {untold} more before this one") },
            request_id: facts.request_id.clone(),
            address: Some(facts.address),
        };
        if let Err(error) = self.store.append_audit(record).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a stranger's refusal is not on record");
        }
    }

    /// Whether a caller may do that to what was named.
    ///
    /// # Errors
    /// As [`Edge::admit`].
    pub fn permit(&self, caller: &Caller, action: Action, asked: &Asked) -> Result<(), ApiError> {
        let principal = caller.principal();
        let object = match action.kind() {
            ActionKind::Server => Object::Server,
            ActionKind::Own => Object::Somewhere,
            ActionKind::Fleet => match &asked.node {
                None => Object::Somewhere,
                Some(node) => {
                    let place = Place::of(self.pool.node(node)?, asked);
                    place.is_known_to(&principal.rights, asked)?;
                    return Ok(self.auth.permit(principal, action, place.object(asked))?);
                }
            },
        };
        Ok(self.auth.permit(principal, action, object)?)
    }

    /// A node as somebody may see it: with the processes that he may see and no others. None if he may not see it at all.
    #[must_use]
    pub fn seen(&self, caller: &Caller, handle: &NodeHandle) -> Option<Seen> {
        let (rights, status) = (&caller.principal().rights, handle.status());
        let object = Object::Node { node: &status.id, environment: status.environment.as_deref() };
        allows(rights, Action::NodeRead, object).then(|| self.parts(caller, handle))
    }

    /// A node with the processes that somebody may see and no others, whether or not he may see the node alone.
    #[must_use]
    pub fn parts(&self, caller: &Caller, handle: &NodeHandle) -> Seen {
        let (rights, status) = (&caller.principal().rights, handle.status());
        let environment = status.environment.as_deref();
        if allows(rights, Action::ProcessRead, Object::Node { node: &status.id, environment }) {
            return Seen::Whole(status);
        }
        let may =
            |group: &str| allows(rights, Action::ProcessRead, Object::Group { node: &status.id, environment, group });
        let processes = status.processes.iter().filter(|seen| may(seen.process.id.group())).cloned().collect();
        Seen::Part(Arc::new(NodeStatus { processes, ..(*status).clone() }))
    }

    /// Writes down what a caller did or tried, durably.
    ///
    /// # Errors
    /// [`ApiError::Auth`] when the store cannot take it; the act is not to go on then.
    pub async fn record(
        &self,
        caller: &Caller,
        facts: &Facts,
        what: &str,
        target: &str,
        outcome: AuditOutcome,
        reason: &str,
    ) -> Result<(), ApiError> {
        let record = AuditRecord {
            at: SystemTime::now(),
            who: caller.principal().name.clone(),
            what: what.to_owned(),
            target: target.to_owned(),
            outcome,
            reason: reason.to_owned(),
            request_id: facts.request_id.clone(),
            address: Some(facts.address),
        };
        Ok(self.auth.audit(record).await?)
    }

    /// Shows a request to every validator. All that the validators are told of it besides what was asked comes from
    /// here, so that no handler can forget it.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with all violations of all validators. [`ApiError::Judge`] when a validator failed whose
    /// policy is to refuse; it carries what the others found.
    pub async fn validate(&self, who: Option<&Principal>, name: &str, asked: Asked) -> Result<(), ApiError> {
        let plugins = Arc::clone(&self.plugins.borrow());
        let request = Arc::new(self.operation(who, name, asked));
        let judged = judge(&plugins, &request).await;
        for (validator, source) in &judged.let_through {
            self.metrics.let_through(validator, name, source);
        }
        let violations: Vec<FieldProblem> = judged.violations.iter().map(view::violation).collect();
        match judged.failure {
            Some(source) => Err(ApiError::Judge { source, violations }),
            None if violations.is_empty() => Ok(()),
            None => Err(ApiError::Invalid(violations)),
        }
    }

    fn operation(&self, who: Option<&Principal>, name: &str, asked: Asked) -> OperationRequest {
        let node = asked.node.as_ref().and_then(|node| self.pool.node(node).ok());
        let place = node.clone().map(|node| Place::of(node, &asked));
        let requester = |principal: &Principal| Requester {
            name: principal.name.clone(),
            // The contract knows three: who has none of them over everything counts as the least.
            role: principal.role.unwrap_or(Role::Viewer),
            strategy: principal.strategy.clone(),
            permissions: self.auth.permissions(principal, place.as_ref().map_or(Object::Server, |p| p.object(&asked))),
        };
        let who = who.map(requester);
        // One request names one node at most, whose processes are at most as many as the contract has targets.
        let targets = node.map(|node| {
            let environment = node.status().environment.clone();
            let target = |process| Target { node: node.id().clone(), environment: environment.clone(), process };
            let members = asked.members.into_iter().map(Some);
            let one = members.len() == 0;
            members.chain(one.then_some(asked.process)).map(target).collect()
        });
        OperationRequest {
            name: name.to_owned(),
            is_mutating: is_mutating(name),
            requester: who,
            targets: targets.unwrap_or_default(),
            fields: asked.fields,
            at: SystemTime::now(),
        }
    }
}

/// A node that a request names, and where it is.
struct Place {
    status: Arc<NodeStatus>,
    group: Option<String>,
}

impl Place {
    fn of(node: NodeHandle, asked: &Asked) -> Self {
        let group = asked.process.as_ref().map(|process| process.group().to_owned()).or_else(|| asked.group.clone());
        Self { status: node.status(), group }
    }

    fn object(&self, asked: &Asked) -> Object<'_> {
        let (node, environment) = (&self.status.id, self.status.environment.as_deref());
        match &self.group {
            Some(group) => Object::Group { node, environment, group },
            None if asked.is_of_parts => Object::Part { node, environment },
            None => Object::Node { node, environment },
        }
    }

    /// Who has no right at all on something is answered as if it were not there.
    fn is_known_to(&self, rights: &Rights, asked: &Asked) -> Result<(), ApiError> {
        let (node, environment) = (&self.status.id, self.status.environment.as_deref());
        if !rights.touch(Object::Node { node, environment }) {
            return Err(NodeError::UnknownNode { node: node.to_string() }.into());
        }
        if rights.touch(self.object(asked)) {
            return Ok(());
        }
        Err(match (&asked.process, &self.group) {
            (Some(process), _) => NodeError::UnknownProcess { node: node.clone(), process: process.clone() },
            (None, Some(group)) => NodeError::UnknownGroup { node: node.clone(), group: group.clone() },
            (None, None) => NodeError::UnknownNode { node: node.to_string() },
        }
        .into())
    }
}

/// A node as somebody may see it.
#[derive(Debug, Clone)]
pub enum Seen {
    /// All of it.
    Whole(Arc<NodeStatus>),
    /// Without some of its processes.
    Part(Arc<NodeStatus>),
}

impl Seen {
    /// The status, without what may not be seen.
    #[must_use]
    pub fn status(&self) -> &Arc<NodeStatus> {
        match self {
            Self::Whole(status) | Self::Part(status) => status,
        }
    }
}

/// The headers that strategies want to see, one that was sent twice twice.
fn wanted(names: &[String], headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
    let mut found = Vec::new();
    for name in names {
        for value in headers.get_all(name) {
            // Half a name would be another one's.
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| ApiError::Malformed(format!("the header `{name}` is not UTF-8")))?;
            found.push((name.clone(), text.to_owned()));
        }
    }
    Ok(found)
}
