//! The task that owns one node.

use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Command, CommandReport, EventBody, LogChannel, LogRange, LogSlice, NodeStatus, ObservedProcess, ProcessId,
};
use crate::node::error::NodeError;
use crate::node::figures::OpenBreaker;
use crate::node::follow::Rope;
use crate::node::health::Health;
use crate::node::inbox::Inbox;
use crate::node::lane::{Lane, LaneRequest};
use crate::node::leash::{Leash, Pull};
use crate::node::link::{Link, NodeStream};
use crate::node::order::Order;
use crate::node::patience::{Errand, Patience};
use crate::node::pool::PoolContext;
use crate::node::wake::Wake;
use crate::resilience::{Breaker, BreakerSettings, Jitter};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// What a handle asks of an owner.
pub(super) enum Request {
    Command {
        command: Command,
        patience: Patience,
        /// When it was asked for: the time in the queue is its caller's too.
        asked: Instant,
        reply: oneshot::Sender<Result<CommandReport, NodeError>>,
    },
    ReadLog {
        process: ProcessId,
        channel: LogChannel,
        range: LogRange,
        patience: Patience,
        reply: oneshot::Sender<Result<LogSlice, NodeError>>,
    },
    Lane(LaneRequest),
    /// How to be told that a log grows.
    Rope {
        process: ProcessId,
        channel: LogChannel,
        patience: Patience,
        reply: oneshot::Sender<Result<Rope, NodeError>>,
    },
}

/// Everything about one node that changes.
pub(super) struct Owner {
    pub(super) node: NodeConfig,
    pub(super) context: Arc<PoolContext>,
    /// The settings of the step under way.
    pub(super) config: Arc<PoolConfig>,
    settings: watch::Receiver<Arc<PoolConfig>>,
    pub(super) link: Arc<Link>,
    pub(super) breaker: Breaker,
    pub(super) open_breaker: Option<OpenBreaker>,
    pub(super) health: Health,
    pub(super) processes: Arc<[ObservedProcess]>,
    pub(super) ambiguous: BTreeSet<ProcessId>,
    /// What is missing from the processes, in words.
    pub(super) lack: Option<String>,
    pub(super) orders: Vec<Order>,
    /// An order to a group, or to make the node run what its files say.
    pub(super) lane: Option<Lane>,
    /// Until when a supervisor that was told to restart or to end may be silent.
    pub(super) leaving_until: Option<Instant>,
    pub(super) hints: Hints,
    pub(super) poll_at: Instant,
    /// What the last call cost the node: the time between requests and their answers.
    pub(super) spent: Duration,
    pub(super) jitter: Jitter,
    pub(super) status: watch::Sender<Arc<NodeStatus>>,
    /// The feed has not been told of the node as it is now.
    pub(super) is_news: bool,
    /// Processes of the supervisor that was here before, not yet taken back on the feed.
    withdrawn: Arc<[ObservedProcess]>,
    pub(super) leash: Arc<Leash>,
    inbox: Inbox,
}

/// The hint stream and what it said.
pub(super) struct Hints {
    pub(super) stream: Option<HintStream>,
    /// Bytes of an unfinished line.
    pub(super) rest: Vec<u8>,
    /// Names to look at, without groups.
    pub(super) names: BTreeSet<String>,
    /// When to look at them: hints that come close together cost one look.
    pub(super) look_at: Option<Instant>,
    pub(super) reopen_at: Instant,
    pub(super) nudge_at: Instant,
    /// How a node that wakes at bytes is nudged.
    pub(super) wake: Wake,
}

/// An open hint stream in its place among all of them.
pub(super) struct HintStream {
    pub(super) pieces: NodeStream,
    pub(super) _place: OwnedSemaphorePermit,
}

enum Step {
    Stop,
    Request(Request),
    Hint(Option<Bytes>),
    Tick,
    Settings,
}

impl Owner {
    pub(super) fn new(
        node: &NodeConfig,
        context: Arc<PoolContext>,
        leash: Arc<Leash>,
        inbox: Inbox,
        status: watch::Sender<Arc<NodeStatus>>,
    ) -> Self {
        let (config, settings) = (context.config(), context.settings());
        Self {
            node: node.clone(),
            link: Arc::new(Link::new(node, &config)),
            breaker: breaker(&config, context.jitter(&node.name)),
            open_breaker: None,
            health: health(node, &config),
            processes: Arc::from([]),
            ambiguous: BTreeSet::new(),
            lack: None,
            orders: Vec::new(),
            lane: None,
            leaving_until: None,
            hints: Hints::none(),
            poll_at: Instant::now(),
            spent: Duration::ZERO,
            jitter: context.jitter(&node.name),
            status,
            is_news: false,
            withdrawn: Arc::from([]),
            leash,
            inbox,
            context,
            config,
            settings,
        }
    }

    /// The same owner with other settings, which are shown when this returns.
    pub(super) fn with_settings(mut self, node: NodeConfig, leash: Arc<Leash>) -> Self {
        let old = std::mem::replace(&mut self.node, node);
        self.leash = leash;
        self.is_news = true;
        let is_other_supervisor = old.endpoint != self.node.endpoint || old.adapter != self.node.adapter;
        if is_other_supervisor {
            self.withdrawn = std::mem::replace(&mut self.processes, Arc::from([]));
            self.ambiguous.clear();
            self.lack = None;
            for order in self.orders.drain(..) {
                order.end(NodeError::Replaced { node: old.name.clone(), was_sent: true });
            }
            if let Some(lane) = self.lane.take() {
                lane.end(NodeError::Replaced { node: old.name.clone(), was_sent: true });
            }
        }
        let is_switched = old.is_enabled != self.node.is_enabled;
        if is_switched && !self.node.is_enabled {
            let disabled = self.disabled(true);
            self.orders.drain(..).for_each(|order| order.end(disabled.clone()));
            if let Some(lane) = self.lane.take() {
                lane.end(disabled);
            }
        }
        if is_other_supervisor || old.login != self.node.login || is_switched {
            self.config = self.context.config();
            self.link = Arc::new(Link::new(&self.node, &self.config));
            self.breaker = breaker(&self.config, self.context.jitter(&self.node.name));
            self.open_breaker = None;
            self.health = health(&self.node, &self.config);
            self.hints = Hints::none();
            self.poll_at = Instant::now();
        }
        let revision = self.context.revision();
        self.status.send_modify(|status| {
            let mut new = NodeStatus::clone(status);
            new.environment.clone_from(&self.node.environment);
            new.adapter.clone_from(&self.node.adapter);
            new.processes = Arc::clone(&self.processes);
            if new.state != self.health.state {
                new.since = SystemTime::now();
            }
            new.state = self.health.state;
            new.reason.clone_from(&self.health.reason);
            if is_other_supervisor {
                (new.observed_at, new.info) = (None, None);
                new.version.clear();
                new.identification.clear();
            }
            new.revision = revision;
            *status = Arc::new(new);
        });
        self
    }

    /// Owns the node until the pool stops or its leash is pulled. Every step carries its own deadline.
    pub(super) async fn run(mut self) -> Self {
        self.tell_news().await;
        let leash = Arc::clone(&self.leash);
        loop {
            self.take_settings();
            let wake_at = self.wake_at();
            let step = tokio::select! {
                biased;
                () = leash.rest() => Step::Stop,
                request = self.inbox.recv() => request.map_or(Step::Stop, Step::Request),
                piece = next_piece(&mut self.hints.stream) => Step::Hint(piece),
                () = sleep_until(wake_at), if self.node.is_enabled => Step::Tick,
                Ok(()) = self.settings.changed() => Step::Settings,
            };
            self.take_settings();
            match step {
                Step::Request(request) => self.handle(request).await,
                Step::Hint(piece) => self.read_hints(piece).await,
                Step::Tick => self.tick().await,
                Step::Settings => {}
                Step::Stop => break,
            }
        }
        self.let_go();
        self
    }

    /// Has the settings of the pool count as they are now. Each step has one set of them from its beginning to its end.
    fn take_settings(&mut self) {
        let config = Arc::clone(&self.settings.borrow_and_update());
        if Arc::ptr_eq(&config, &self.config) {
            return;
        }
        let old = std::mem::replace(&mut self.config, config);
        let config = &self.config;
        self.breaker.set(breaker_settings(config));
        self.health.set(config.failures_max, config.breaker_failures_max);
        if (old.connect_timeout, old.response_bytes_max) != (config.connect_timeout, config.response_bytes_max) {
            // The open connection is given up with the old one; the hint stream is not.
            self.link = Arc::new(Link::new(&self.node, config));
        }
        let now = Instant::now();
        if config.poll_interval < old.poll_interval {
            // In proportion: nodes that do not march in step do not begin to.
            let share = config.poll_interval.as_secs_f64() / old.poll_interval.as_secs_f64();
            self.poll_at = now + self.poll_at.saturating_duration_since(now).mul_f64(share);
        }
        if config.nudge_interval != old.nudge_interval {
            self.hints.nudge_at = self.hints.nudge_at.min(now + config.nudge_interval);
        }
    }

    async fn tell_news(&mut self) {
        for observed in std::mem::replace(&mut self.withdrawn, Arc::from([])).iter() {
            self.emit(EventBody::ProcessRemoved(observed.process.id.clone())).await;
        }
        if std::mem::take(&mut self.is_news) {
            let status = Arc::clone(&self.status.borrow());
            self.emit(EventBody::Node(status)).await;
        }
    }

    /// What ends with a run: everything, unless the same connection is to go on.
    fn let_go(&mut self) {
        let is_sent = match self.leash.why() {
            Some(Pull::Renamed | Pull::Replaced) => return,
            Some(Pull::Removed) => true,
            None => false,
        };
        self.hints = Hints::none();
        self.link.close();
        for order in self.orders.drain(..).filter(|_| is_sent) {
            order.end(NodeError::Removed { node: self.node.name.clone(), was_sent: true });
        }
        if let Some(lane) = self.lane.take().filter(|_| is_sent) {
            lane.end(NodeError::Removed { node: self.node.name.clone(), was_sent: true });
        }
    }

    async fn handle(&mut self, request: Request) {
        match request {
            Request::Command { reply, .. } if !self.node.is_enabled => drop(reply.send(Err(self.disabled(false)))),
            Request::ReadLog { reply, .. } if !self.node.is_enabled => drop(reply.send(Err(self.disabled(false)))),
            Request::Command { command, patience, asked, reply } => {
                self.take_order(command, patience, asked, reply).await;
            }
            Request::ReadLog { process, channel, range, patience, reply } => {
                let slice = self.read_log(process, channel, range, &patience).await;
                drop(reply.send(slice)); // the reader may have left
            }
            Request::Lane(request) => self.handle_lane(request).await,
            Request::Rope { process, channel, patience, reply } => {
                let rope = self.rope(process, channel, &patience).await;
                drop(reply.send(rope)); // the follower may have left
            }
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.poll_at {
            self.observe().await;
        } else if self.hints.look_at.is_some_and(|at| now >= at) {
            self.look_at_hinted().await;
        } else if self.health.state.is_live() && self.hints.stream.is_none() && now >= self.hints.reopen_at {
            self.open_hints().await;
        } else if self.hints.stream.is_some() && now >= self.hints.nudge_at {
            self.nudge().await;
        }
        self.look_at_orders().await;
        self.look_at_lane().await;
    }

    fn wake_at(&self) -> Instant {
        let is_live = self.health.state.is_live();
        let reopen = (is_live && self.hints.stream.is_none()).then_some(self.hints.reopen_at);
        let nudge = self.hints.stream.is_some().then_some(self.hints.nudge_at);
        let orders = self.orders.iter().map(Order::wake_at);
        let lane = self.lane.as_ref().map(Lane::wake_at);
        [reopen, nudge, self.hints.look_at, lane].into_iter().flatten().chain(orders).fold(self.poll_at, Instant::min)
    }

    async fn read_log(
        &mut self,
        process: ProcessId,
        channel: LogChannel,
        range: LogRange,
        patience: &Patience,
    ) -> Result<LogSlice, NodeError> {
        self.check_patience(patience)?;
        if !self.adapter()?.info().log_channels.iter().any(|known| known == channel.as_str()) {
            let what = format!("show the log `{}` of its processes", channel.as_str());
            return Err(NodeError::Unsupported { node: self.node.name.clone(), what });
        }
        let call = self.call(Errand::Log(patience), |adapter, link, deadline| {
            Box::pin(async move { adapter.read_log(link, deadline, process, channel, range).await })
        });
        Ok(call.await?)
    }
}

impl Hints {
    /// No stream, and nothing to look at.
    fn none() -> Self {
        let now = Instant::now();
        Self {
            stream: None,
            rest: Vec::new(),
            names: BTreeSet::new(),
            look_at: None,
            reopen_at: now,
            nudge_at: now,
            wake: Wake::new(),
        }
    }
}

fn health(node: &NodeConfig, config: &PoolConfig) -> Health {
    let health = Health::new(config.failures_max, config.breaker_failures_max);
    if node.is_enabled { health } else { health.disabled() }
}

fn breaker(config: &PoolConfig, jitter: Jitter) -> Breaker {
    Breaker::new(breaker_settings(config)).with_jitter(jitter)
}

fn breaker_settings(config: &PoolConfig) -> BreakerSettings {
    BreakerSettings {
        failures_max: config.breaker_failures_max,
        cooldown: config.breaker_cooldown,
        cooldown_max: config.breaker_cooldown,
    }
}

async fn next_piece(stream: &mut Option<HintStream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.pieces.next().await,
        None => std::future::pending().await,
    }
}
