//! What every handler is given, and the one way a request takes to its handler.

use crate::api::documents::Documents;
use crate::api::error::ApiError;
use crate::api::input::Asked;
use crate::api::judge::judge;
use crate::api::metrics::Metrics;
use crate::api::socket::{Door, bearer_from};
use crate::api::view;
use crate::api::wire::FieldProblem;
use crate::auth::{Action, Auth, Offer, Recognised};
use crate::config::Snapshot;
use crate::hub::Hub;
use crate::model::{OperationRequest, PeerFacts, Principal, Requester, Secret, Target, is_mutating};
use crate::node::Pool;
use crate::plugin::{Platform, PluginSet};
use crate::reload::Reloader;
use crate::store::{AuditOutcome, AuditRecord, Store};
use crate::task::{Places, Tasks};
use bytes::Bytes;
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;
use tokio::sync::watch;
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
    /// Log lines that were dropped, for they were not read fast enough.
    pub log_lines_dropped: Arc<AtomicU64>,
    /// The nodes' documents for lists.
    pub documents: Documents,
    /// Places of batches of orders under way.
    pub batches: Places,
    /// Places of copies of the database under way.
    pub backups: Places,
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
}

impl Facts {
    /// What strategies may know of the request.
    #[must_use]
    pub fn peer(&self) -> PeerFacts {
        PeerFacts { address: self.address, peer: self.peer, request_id: self.request_id.clone() }
    }
}

impl Edge {
    /// The configuration in force. Who does several things by it keeps this one.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reloader.snapshot()
    }

    /// Recognises the caller. The one place where a request becomes somebody's, for REST and feed alike.
    ///
    /// # Errors
    /// [`ApiError::Auth`] without a proper credential, and when none can be judged; [`ApiError::Malformed`] for a header
    /// that a strategy wants to see and that is no text.
    pub async fn recognise(&self, headers: &HeaderMap, facts: &Facts) -> Result<Caller, ApiError> {
        let bearer = bearer_from(headers).map(|token| Secret::new(token.to_owned()));
        let headers = if bearer.is_some() { Vec::new() } else { wanted(&self.auth.request_headers(), headers)? };
        self.recognise_offer(Offer { bearer, headers }, facts).await
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

    /// Decides whether `caller` may do that: first the permission, then every validator.
    ///
    /// # Errors
    /// [`ApiError::Auth`] when it is not allowed, else as [`Edge::validate`].
    pub async fn admit(&self, caller: &Caller, action: Action, name: &str, asked: Asked) -> Result<(), ApiError> {
        self.auth.permit(caller.principal(), action)?;
        self.validate(Some(caller.principal()), name, asked).await
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
        let requester = |principal: &Principal| Requester {
            name: principal.name.clone(),
            role: principal.role,
            strategy: principal.strategy.clone(),
            permissions: self.auth.permissions(principal),
        };
        // One request names one node at most, whose processes are at most as many as the contract has targets.
        let node = asked.node.and_then(|node| self.pool.node(&node).ok());
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
            requester: who.map(requester),
            targets: targets.unwrap_or_default(),
            fields: asked.fields,
            at: SystemTime::now(),
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
