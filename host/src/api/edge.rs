//! What every handler is given, and the one way a request takes to its handler.

use crate::api::error::ApiError;
use crate::api::metrics::Metrics;
use crate::api::socket::bearer_from;
use crate::api::view;
use crate::auth::{Action, Auth, AuthRefusal, SessionInfo};
use crate::config::ServerConfig;
use crate::hub::Hub;
use crate::model::{Field, OperationRequest, Principal};
use crate::node::Pool;
use crate::plugin::{Platform, PluginSet};
use crate::store::{AuditOutcome, AuditRecord};
use bytes::Bytes;
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What every handler is given. Made once by `app`.
pub struct Edge {
    /// The supervised nodes.
    pub pool: Pool,
    /// Who may do what.
    pub auth: Auth,
    /// The feed.
    pub hub: Hub,
    /// The plugins that serve now.
    pub plugins: watch::Receiver<Arc<PluginSet>>,
    /// Who looks after them.
    pub platform: Platform,
    /// `[server]`
    pub config: ServerConfig,
    /// Counters of this edge and of everything it can see.
    pub metrics: Metrics,
    /// True while requests are to be taken.
    pub stop: CancellationToken,
    /// Where feed connections run.
    pub tracker: TaskTracker,
    /// The OpenAPI document.
    pub openapi: Bytes,
}

/// The id of a request: the caller's own if it was proper, else ours.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Who asks. Keeping it keeps the session in use.
#[derive(Debug, Clone)]
pub struct Caller(pub SessionInfo);

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
    /// The peer's address.
    pub address: IpAddr,
}

impl Edge {
    /// Recognises the caller. The one place where a request becomes somebody's, for REST and feed alike.
    ///
    /// # Errors
    /// [`ApiError::Auth`] without a proper token, and what the session store says.
    pub fn recognise(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let token = bearer_from(headers).ok_or(AuthRefusal::Required)?;
        Ok(Caller(self.auth.authenticate_bearer(token, SystemTime::now())?))
    }

    /// Decides whether `caller` may do that: first the permission, then every validator.
    ///
    /// # Errors
    /// [`ApiError::Auth`] when it is not allowed, [`ApiError::Invalid`] with all violations of all validators, or how a validator failed.
    pub async fn admit(&self, caller: &Caller, action: Action, name: &str, fields: Vec<Field>) -> Result<(), ApiError> {
        self.auth.permit(caller.principal(), action)?;
        self.validate(Some(caller.principal()), name, fields).await
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

    /// Shows a request to every validator.
    ///
    /// # Errors
    /// As [`Edge::admit`], without the permission.
    pub async fn validate(&self, who: Option<&Principal>, name: &str, fields: Vec<Field>) -> Result<(), ApiError> {
        let plugins = Arc::clone(&self.plugins.borrow());
        let principal = who.map(|principal| principal.name.clone());
        let request = Arc::new(OperationRequest { name: name.to_owned(), principal, fields });
        let mut violations = Vec::new();
        for validator in &plugins.validators {
            let found = validator.validate(Arc::clone(&request)).await.map_err(ApiError::Judge)?;
            violations.extend(found.iter().map(view::violation));
        }
        if violations.is_empty() { Ok(()) } else { Err(ApiError::Invalid(violations)) }
    }
}
