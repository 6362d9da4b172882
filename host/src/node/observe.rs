//! How an owner learns what its node does: full observations, hints, nudges.

use crate::model::{
    AdapterFault, Event, EventBody, FaultKind, NodeStatus, Observation, ObservedProcess, Process, ProcessId,
};
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::owner::{HintStream, Owner};
use crate::node::patience::Errand;
use crate::node::snapshot::{Change, Roster, diff};
use crate::plugin::{AdapterError, ExchangeFailure, PluginFailure};
use crate::resilience::{Admit, CallOutcome};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// From a failed call's begin to the next while the node is not yet given up. One that timed out is repeated at once.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// A node that refuses us, or is something else, will not change its mind within a second.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Hints this close together cost one look.
const HINT_PAUSE: Duration = Duration::from_millis(2);
/// More hinted processes than this are cheaper to read with everything.
const HINTED_MAX: usize = 16;
/// Up to so many processes a nudge costs a supervisord less than half a per cent of a core.
const NUDGED_PROCESSES_MAX: usize = 50;
/// An answer to a request that asks for nothing is the work of a millisecond.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);
/// Before the hint stream is tried again after it ended or was refused.
const HINTS_PAUSE: Duration = Duration::from_secs(5);
/// A full observation takes at most this share of the time between two, so that no node spends more than 1 % on it.
const COST_FACTOR: u32 = 100;
/// By so much of themselves intervals and pauses may be shorter, so that nodes do not march in step.
const POLL_JITTER: f64 = 0.1;
const PAUSE_JITTER: f64 = 0.2;
/// With hints flowing, full observations only heal what hints missed and may be so much rarer.
const HINTED_FACTOR: u32 = 5;
/// The longest time between two full observations of a live node.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);

impl Owner {
    /// Reads everything.
    pub(super) async fn observe(&mut self) {
        let began = Instant::now();
        let seen = self
            .call(Errand::Look, |adapter, link, deadline| {
                Box::pin(async move { adapter.observe(link, deadline).await })
            })
            .await;
        // What was spent is the node's own time: neither our queue nor our adapter makes it look dearer than it is.
        let cost = (self.spent * COST_FACTOR).min(POLL_INTERVAL_MAX);
        match seen {
            Ok(observation) => {
                self.observed(observation).await;
                let interval = self.config.poll_interval;
                let interval = if self.hints.stream.is_some() { interval * HINTED_FACTOR } else { interval };
                let interval = self.jitter.shorten(interval, POLL_JITTER);
                self.poll_at = Instant::now() + cost.max(interval);
            }
            Err(failure) => self.call_failed(failure.error, began).await,
        }
    }

    /// Wakes a supervisor that looks at its children only when it is spoken to or a second has passed.
    pub(super) async fn nudge(&mut self) {
        let interval = self.config.nudge_interval;
        if interval.is_zero() || self.processes.len() > NUDGED_PROCESSES_MAX {
            self.hints.nudge_at = Instant::now() + POLL_INTERVAL_MAX;
            return;
        }
        let began = Instant::now();
        self.hints.nudge_at = began + interval;
        let is_byte_enough = self.adapter().is_ok_and(|adapter| adapter.info().wakes_at_bytes);
        let nudged = if is_byte_enough { self.wake().await } else { self.ask(Vec::new()).await.map(drop) };
        if let Err(error) = nudged {
            self.call_failed(error, began).await;
        }
    }

    /// A nudge without the adapter. What the transport felt counts like that of a call.
    async fn wake(&mut self) -> Result<(), NodeError> {
        let now = Instant::now();
        let deadline = now + self.call_limit(self.config.call_timeout).min(WAKE_TIMEOUT);
        let poked = tokio::select! {
            biased;
            () = self.leash.cut() => return Ok(()),
            poked = self.hints.wake.poke(&self.link, deadline) => poked,
        };
        poked.map_err(|failure| {
            self.record(CallOutcome::Failure, now);
            let (kind, code) = if failure == ExchangeFailure::TimedOut {
                (FaultKind::Timeout, "node.timed_out")
            } else {
                (FaultKind::Node, "node.unreachable")
            };
            let fault = AdapterFault { kind, code: code.into(), message: failure.to_string() };
            NodeError::Answered { node: self.node.name.clone(), fault }
        })
    }

    /// Looks at the processes that hints named.
    pub(super) async fn look_at_hinted(&mut self) {
        self.hints.look_at = None;
        let names = std::mem::take(&mut self.hints.names);
        let ids: Vec<ProcessId> = self
            .processes
            .iter()
            .map(|p| &p.process.id)
            .filter(|id| names.contains(id.name()) || names.contains(&id.to_string()))
            .cloned()
            .collect();
        let is_known = |name: &String| ids.iter().any(|id| id.name() == name || id.to_string() == *name);
        if ids.len() > HINTED_MAX || !names.iter().all(is_known) {
            self.observe().await;
        } else {
            self.look_at_some(ids).await;
        }
    }

    /// Looks at some processes and tells what changed. False if the node could not be asked.
    pub(super) async fn look_at_some(&mut self, ids: Vec<ProcessId>) -> bool {
        let began = Instant::now();
        let asked = ids.clone();
        match self.ask(ids).await {
            Ok(said) => {
                let roster = Roster::partial(&self.processes, &asked, said, SystemTime::now());
                self.replace(roster.processes).await;
                true
            }
            Err(error) => {
                self.call_failed(error, began).await;
                false
            }
        }
    }

    /// Opens the hint stream, if this kind of node has one. To the breaker and to the places of calls this is a call
    /// like any other; what stays open then counts among the streams.
    pub(super) async fn open_hints(&mut self) {
        self.hints.reopen_at = Instant::now() + self.jitter.shorten(HINTS_PAUSE, PAUSE_JITTER);
        let Ok(adapter) = self.adapter() else { return };
        let Ok(stream_place) = Arc::clone(&self.context.bounds.hint_streams).try_acquire_owned() else {
            self.hints.reopen_at = Instant::now() + POLL_INTERVAL_MAX;
            return;
        };
        let Ok(place) = self.place(Errand::Look).await else { return };
        let deadline = Instant::now() + self.config.call_timeout;
        let said = tokio::select! {
            biased;
            () = self.leash.cut() => return,
            said = adapter.hint_request(deadline) => said,
        };
        let request = match said {
            Ok(Some(request)) => request,
            Ok(None) => {
                self.hints.reopen_at = Instant::now() + POLL_INTERVAL_MAX;
                return;
            }
            Err(error) => {
                tracing::warn!(node = %self.node.name, error = %error, "the adapter did not say how to open the hint stream");
                return;
            }
        };
        if let Admit::Refuse { .. } = self.breaker.admit(Instant::now()) {
            return;
        }
        let opened = tokio::select! {
            biased;
            () = self.leash.cut() => {
                self.breaker.forgo(Instant::now());
                return;
            }
            opened = self.link.open_stream(request, deadline) => opened,
        };
        drop(place);
        match opened {
            Ok(pieces) => {
                self.record(CallOutcome::Success, Instant::now());
                PoolMetrics::add(&self.context.metrics.hint_streams);
                self.hints.stream = Some(HintStream { pieces, _place: stream_place });
                self.hints.rest.clear();
                self.hints.nudge_at = Instant::now() + self.config.nudge_interval;
                self.health.observed(true);
                self.tell_node().await;
            }
            Err(failure) => {
                // That there is no such stream is an answer.
                let outcome = match failure {
                    ExchangeFailure::TimedOut | ExchangeFailure::Unreachable(_) => CallOutcome::Failure,
                    ExchangeFailure::Protocol(_) | ExchangeFailure::TooLarge { .. } | ExchangeFailure::Refused(_) => {
                        CallOutcome::Success
                    }
                };
                self.record(outcome, Instant::now());
                self.hints.reopen_at = Instant::now() + POLL_INTERVAL_MAX;
                tracing::info!(node = %self.node.name, %failure, "no hint stream; changes show with the next poll");
            }
        }
    }

    /// Takes a piece of the hint stream, or its end.
    pub(super) async fn read_hints(&mut self, piece: Option<Bytes>) {
        let Some(piece) = piece else {
            self.hints_ended().await;
            return;
        };
        let deadline = Instant::now() + self.config.call_timeout;
        let Ok(adapter) = self.adapter() else { return };
        let rest = std::mem::take(&mut self.hints.rest);
        let places = self.context.bounds.hint_reads.clone();
        let read = async {
            let _place = timeout_at(deadline, places.take()).await;
            adapter.read_hints(deadline, rest, piece.to_vec()).await
        };
        let read = tokio::select! {
            biased;
            () = self.leash.cut() => return,
            read = read => read,
        };
        match read {
            Ok(read) => {
                self.hints.rest = read.rest;
                self.hints.names.extend(read.names);
                if read.everything || self.hints.names.len() > HINTED_MAX {
                    self.hints.names.clear();
                    self.poll_at = Instant::now();
                } else if !self.hints.names.is_empty() && self.hints.look_at.is_none() {
                    self.hints.look_at = Some(Instant::now() + HINT_PAUSE);
                }
            }
            Err(error) => {
                tracing::warn!(node = %self.node.name, error = %error, "a hint could not be read; reading everything");
                self.poll_at = Instant::now();
            }
        }
    }

    async fn hints_ended(&mut self) {
        self.hints.stream = None;
        self.hints.wake.close();
        self.hints.reopen_at = Instant::now() + self.jitter.shorten(HINTS_PAUSE, PAUSE_JITTER);
        self.poll_at = Instant::now();
        if self.health.state.is_live() {
            self.health.observed(false);
            self.tell_node().await;
        }
    }

    async fn ask(&mut self, ids: Vec<ProcessId>) -> Result<Vec<Process>, NodeError> {
        let call = self.call(Errand::Look, |adapter, link, deadline| {
            Box::pin(async move { adapter.observe_some(link, deadline, ids).await })
        });
        let said = call.await?;
        Ok(self.link.redaction.processes(said))
    }

    pub(super) async fn observed(&mut self, said: Observation) {
        let now = SystemTime::now();
        let said = Observation { processes: self.link.redaction.processes(said.processes), ..said };
        let roster = Roster::complete(&self.processes, said.processes, now);
        self.ambiguous = roster.ambiguous;
        self.lack = (said.skipped > 0).then(|| {
            format!("{} of its processes are not shown: they have no usable name, or there are too many", said.skipped)
        });
        self.health.observed(self.hints.stream.is_some());
        self.leaving_until = None;
        let info = self.adapter().ok().map(|adapter| Arc::clone(adapter.info()));
        // The first time the processes come before the node: whoever hears that it was observed has heard of all of them.
        let is_first = self.status.borrow().observed_at.is_none();
        let mut processes = Some(roster.processes);
        if is_first && let Some(processes) = processes.take() {
            self.replace(processes).await;
        }
        self.set_status(|status| {
            status.version = said.version;
            status.identification = said.identification;
            status.observed_at = Some(now);
            status.info = info;
        })
        .await;
        if let Some(processes) = processes {
            self.replace(processes).await;
        }
    }

    async fn call_failed(&mut self, error: NodeError, began: Instant) {
        let now = Instant::now();
        self.mind_leaving();
        match error {
            NodeError::Adapter { source: PluginFailure::Busy { .. }, .. } => {
                self.poll_at = now + RETRY_PAUSE;
                return;
            }
            NodeError::Answered { fault, .. } => self.health.failed(&AdapterError::Fault(fault)),
            NodeError::Adapter { source, .. } => self.health.failed(&AdapterError::Plugin(source)),
            NodeError::BreakerOpen { retry_after, .. } => {
                self.poll_at = now + retry_after;
                return;
            }
            NodeError::UnknownNode { .. }
            | NodeError::UnknownProcess { .. }
            | NodeError::AmbiguousProcess { .. }
            | NodeError::ProcessBusy { .. }
            | NodeError::QueueFull { .. }
            | NodeError::Unsupported { .. }
            | NodeError::PoolBusy { .. }
            | NodeError::CallerLeft { .. }
            | NodeError::NotBegun { .. }
            | NodeError::OutcomeUnknown { .. }
            | NodeError::NodeBusy { .. }
            | NodeError::UnknownGroup { .. }
            | NodeError::Lost { .. } => {
                self.poll_at = now + RETRY_PAUSE;
                return;
            }
            NodeError::Gone { .. }
            | NodeError::Removed { .. }
            | NodeError::Replaced { .. }
            | NodeError::Disabled { .. } => return,
        }
        let pause = self.failure_pause();
        self.poll_at = now.max(began + pause);
        if !self.health.state.is_live() {
            self.quiet();
        }
        self.tell_node().await;
    }

    /// Closes all that is open to the node.
    pub(super) fn quiet(&mut self) {
        self.hints.stream = None;
        self.hints.wake.close();
        self.link.close();
    }

    /// A node that is given up is asked again at a moment of its own; one that is not is asked as was promised.
    fn failure_pause(&mut self) -> Duration {
        use crate::model::NodeState as S;
        match self.health.state {
            S::Refused | S::WrongEndpoint => self.jitter.shorten(REFUSED_PAUSE, PAUSE_JITTER),
            S::Connecting | S::Live | S::LivePoll | S::Stale | S::ShuttingDown | S::Disabled => RETRY_PAUSE,
            S::Unreachable | S::AdapterFailed => self.jitter.shorten(self.config.poll_interval, PAUSE_JITTER),
        }
    }

    /// Publishes the new list, then tells what changed, then lets the orders under way look at it.
    async fn replace(&mut self, processes: Vec<ObservedProcess>) {
        let changes = diff(&self.processes, &processes);
        if changes.is_empty() {
            return;
        }
        self.processes = processes.into();
        let list = Arc::clone(&self.processes);
        let revision = self.context.revision();
        self.status.send_modify(|status| {
            let mut new = NodeStatus::clone(status);
            new.processes = list;
            new.revision = revision;
            *status = Arc::new(new);
        });
        for change in changes {
            self.emit(match change {
                Change::Added(after) => EventBody::Process { before: None, after: Box::new(after) },
                Change::Changed { before, after } => {
                    EventBody::Process { before: Some(Box::new(before)), after: Box::new(after) }
                }
                Change::Removed(id) => EventBody::ProcessRemoved(id),
            })
            .await;
        }
    }

    pub(super) async fn tell_node(&mut self) {
        self.set_status(|_| {}).await;
    }

    /// Replaces the status; tells the feed if anything but the time of the observation changed.
    async fn set_status(&mut self, change: impl FnOnce(&mut NodeStatus)) {
        let old = Arc::clone(&self.status.borrow());
        let mut new = NodeStatus::clone(&old);
        change(&mut new);
        new.revision = self.context.revision();
        if new.state != self.health.state {
            tracing::info!(node = %self.node.name, from = new.state.as_str(), to = self.health.state.as_str(),
                reason = self.health.reason.as_deref().unwrap_or(""), "node changed");
            new.since = SystemTime::now();
        }
        new.state = self.health.state;
        new.reason = self.health.reason.clone().or_else(|| self.lack.clone());
        let new = Arc::new(new);
        self.status.send_replace(Arc::clone(&new));
        if is_news(&old, &new) {
            self.emit(EventBody::Node(new)).await;
        }
    }

    pub(super) async fn emit(&mut self, body: EventBody) {
        let event = Event { node: self.node.name.clone(), at: SystemTime::now(), body };
        if let Ok(slot) = self.context.events.reserve().await {
            slot.send(event); // the relay is gone only when the host is going down
        }
    }
}

fn is_news(old: &NodeStatus, new: &NodeStatus) -> bool {
    old.state != new.state
        || old.reason != new.reason
        || old.version != new.version
        || old.identification != new.identification
        || old.info != new.info
}
