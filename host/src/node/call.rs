//! One call to a node: breaker, a place among the calls under way, deadline, and what the transport felt.

use crate::model::{Behalf, NodeId};
use crate::node::error::NodeError;
use crate::node::figures::{OpenBreaker, PoolMetrics};
use crate::node::leash::Pull;
use crate::node::link::{Link, Repeat, Trace, Traced};
use crate::node::owner::Owner;
use crate::node::patience::{Errand, Patience};
use crate::node::pool::ADAPTER_SLACK;
use crate::plugin::{
    Adapter, AdapterError, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest, ExchangeResponse, PluginFailure,
};
use crate::resilience::{Admit, CallOutcome};
use crate::task::Place as Permit;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Why a call gave nothing.
#[derive(Debug)]
pub(super) struct CallFailure {
    pub(super) error: NodeError,
    /// A request left, and what the node made of it is not known.
    pub(super) is_in_doubt: bool,
}

impl From<NodeError> for CallFailure {
    /// A failure before anything was sent.
    fn from(error: NodeError) -> Self {
        Self { error, is_in_doubt: false }
    }
}

impl From<CallFailure> for NodeError {
    fn from(failure: CallFailure) -> Self {
        failure.error
    }
}

/// A place among the calls under way, given back when it is dropped.
pub(super) struct Place {
    _call: Permit,
    /// One of the fewer places of nodes that are not known to answer.
    _suspect: Option<Permit>,
}

/// How a call's work ended.
enum Ended<T> {
    Cut,
    Left,
    Done(Result<T, AdapterError>),
}

impl Owner {
    /// Runs one call of the adapter. None begins once the leash is cut; one under way is dropped then, and its
    /// connection with it. So is a read whose reader has left.
    ///
    /// The time in the queue for a place is the caller's and not the node's: the call's own limit begins after it.
    pub(super) async fn call<T: Send + 'static>(
        &mut self,
        errand: Errand<'_>,
        work: impl FnOnce(Arc<dyn Adapter>, Arc<dyn Exchange>, Instant) -> BoxFuture<'static, Result<T, AdapterError>>,
    ) -> Result<T, CallFailure> {
        let adapter = self.adapter()?;
        let place = self.place(errand).await?;
        let now = Instant::now();
        if let Admit::Refuse { retry_after } = self.breaker.admit(now) {
            return Err(self.breaker_open(retry_after).into());
        }
        let limit = now + self.call_limit(errand.limit(&self.config));
        let deadline = errand.deadline().map_or(limit, |until| until.min(limit));
        let trace = Arc::new(Trace::default());
        let link = CallLink {
            link: Arc::clone(&self.link),
            node: self.node.name.clone(),
            deadline,
            repeat: errand.repeat(),
            behalf: errand.behalf(),
            trace: Arc::clone(&trace),
        };
        let ended = tokio::select! {
            biased;
            () = self.leash.cut() => Ended::Cut,
            () = errand.left() => Ended::Left,
            result = work(adapter, Arc::new(link), deadline + ADAPTER_SLACK) => Ended::Done(result),
        };
        drop(place);
        let traced = trace.take();
        self.spent = traced.spent;
        let result = match ended {
            Ended::Done(result) => result.map_err(|error| self.link.redaction.error(error)),
            Ended::Cut => {
                self.breaker.forgo(Instant::now());
                return Err(CallFailure { error: self.cut_short(traced.is_sent()), is_in_doubt: false });
            }
            Ended::Left => {
                self.breaker.forgo(Instant::now());
                return Err(NodeError::CallerLeft { node: self.node.name.clone() }.into());
            }
        };
        self.context.metrics.took(errand.kind(), now.elapsed());
        self.note(result.as_ref().err(), &traced, deadline < limit);
        result.map_err(|error| {
            let is_in_doubt = traced.is_open || (traced.is_sent() && matches!(error, AdapterError::Plugin(_)));
            CallFailure { error: NodeError::from_adapter(self.node.name.clone(), error), is_in_doubt }
        })
    }

    /// Waits for a place among the calls under way. The breaker is asked first, so that nobody waits for a refusal, and
    /// is asked for a trial only by who has a place.
    ///
    /// A node whose last call failed shares half of the places with all others like it: however many nodes are dead, the
    /// rest of the places are for those that answer.
    pub(super) async fn place(&self, errand: Errand<'_>) -> Result<Place, NodeError> {
        if !self.node.is_enabled {
            return Err(self.disabled(false));
        }
        let now = Instant::now();
        if let Some(retry_after) = self.breaker.refusal(now) {
            return Err(self.breaker_open(retry_after));
        }
        let limit = now + errand.limit(&self.config);
        let until = errand.begin_by().map_or(limit, |until| until.min(limit));
        let is_suspect = self.health.failures > 0 || !self.breaker.is_closed();
        let place = async {
            let suspect = match is_suspect {
                true => Some(self.context.bounds.suspects.take().await?),
                false => None,
            };
            let call = self.context.bounds.calls.take().await?;
            Some(Place { _call: call, _suspect: suspect })
        };
        let place = tokio::select! {
            biased;
            () = self.leash.cut() => return Err(self.cut_short(false)),
            () = errand.waits_no_more() => return Err(NodeError::CallerLeft { node: self.node.name.clone() }),
            place = timeout_at(until, place) => place,
        };
        let busy = || NodeError::PoolBusy { node: self.node.name.clone() };
        place.ok().flatten().ok_or_else(busy)
    }

    /// Why something that a caller asked for is not begun any more.
    pub(super) fn check_patience(&self, patience: &Patience) -> Result<(), NodeError> {
        let node = || self.node.name.clone();
        if patience.left.is_cancelled() {
            return Err(NodeError::CallerLeft { node: node() });
        }
        if Instant::now() >= patience.until {
            return Err(NodeError::NotBegun { node: node() });
        }
        Ok(())
    }

    pub(super) fn adapter(&self) -> Result<Arc<dyn Adapter>, NodeError> {
        let plugins = self.context.plugins.borrow();
        plugins.adapters.get(&self.node.adapter).cloned().ok_or_else(|| NodeError::Adapter {
            node: self.node.name.clone(),
            source: PluginFailure::Trapped { plugin: self.node.adapter.clone(), what: "it is not loaded".into() },
        })
    }

    /// Why a call was cut, or did not begin.
    pub(super) fn cut_short(&self, was_sent: bool) -> NodeError {
        let node = self.node.name.clone();
        match self.leash.why() {
            None => NodeError::Gone { node },
            Some(Pull::Removed) => NodeError::Removed { node, was_sent },
            Some(Pull::Replaced | Pull::Renamed) => NodeError::Replaced { node, was_sent },
        }
    }

    pub(super) fn disabled(&self, was_sent: bool) -> NodeError {
        NodeError::Disabled { node: self.node.name.clone(), was_sent }
    }

    pub(super) fn breaker_open(&self, retry_after: Duration) -> NodeError {
        NodeError::BreakerOpen { node: self.node.name.clone(), retry_after }
    }

    /// The breaker counts what the transport felt, whatever the adapter made of it. A fault that the node answered is
    /// an answer; a plugin that failed by itself says nothing about the node, and neither does a node that was given
    /// less than its time.
    fn note(&mut self, error: Option<&AdapterError>, traced: &Traced, was_hurried: bool) {
        let now = Instant::now();
        let metrics = &self.context.metrics;
        PoolMetrics::add(if error.is_some() { &metrics.calls_failed } else { &metrics.calls_ok });
        match (&traced.failure, error) {
            (Some(ExchangeFailure::Refused(_)), _) | (None, Some(AdapterError::Plugin(_))) => self.breaker.forgo(now),
            (Some(ExchangeFailure::TimedOut), _) if was_hurried => self.breaker.forgo(now),
            (Some(_), _) => self.record(CallOutcome::Failure, now),
            (None, Some(AdapterError::Fault(_)) | None) => self.record(CallOutcome::Success, now),
        }
    }

    /// Tells the breaker, and counts it while it is open.
    pub(super) fn record(&mut self, outcome: CallOutcome, now: Instant) {
        self.breaker.record(outcome, now);
        if self.breaker.is_closed() {
            self.open_breaker = None;
        } else if self.open_breaker.is_none() {
            self.open_breaker = Some(OpenBreaker::new(Arc::clone(&self.context.metrics)));
        }
    }

    /// A node that has just been silent is asked again with less patience: two lost calls in a row make it stale, and
    /// its users should know within 4 s, a poll interval of one second included.
    pub(super) fn call_limit(&self, limit: Duration) -> Duration {
        if self.health.failures == 0 { limit } else { limit * 2 / 5 }
    }
}

/// The link of one call, which cannot outlast the call's deadline for bytes.
struct CallLink {
    link: Arc<Link>,
    node: NodeId,
    deadline: Instant,
    repeat: Repeat,
    /// What the node is told of who asks, behind what the adapter says.
    behalf: Option<Arc<Behalf>>,
    trace: Arc<Trace>,
}

impl Exchange for CallLink {
    fn send<'a>(
        &'a self,
        mut request: ExchangeRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ExchangeResponse, ExchangeFailure>> {
        request.headers.extend(self.behalf.as_ref().map(|behalf| behalf.headers()).unwrap_or_default());
        Box::pin(self.link.exchange(request, deadline.min(self.deadline), self.repeat, &self.trace))
    }

    fn node(&self) -> Option<&str> {
        Some(self.node.as_str())
    }
}
