//! The task that owns one node.

use crate::config::NodeConfig;
use crate::model::{
    Command, CommandReport, EventBody, LogChannel, LogRange, LogSlice, NodeId, NodeStatus, ObservedProcess, ProcessId,
};
use crate::node::error::NodeError;
use crate::node::follow::Rope;
use crate::node::health::Health;
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
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
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
    pub(super) link: Arc<Link>,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
    pub(super) processes: Arc<[ObservedProcess]>,
    pub(super) ambiguous: BTreeSet<ProcessId>,
    /// What is missing from the processes, in words.
    pub(super) lack: Option<String>,
    pub(super) orders: Vec<Order>,
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
    inbox: mpsc::Receiver<Request>,
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
}

impl Owner {
    pub(super) fn new(
        node: &NodeConfig,
        context: Arc<PoolContext>,
        leash: Arc<Leash>,
        inbox: mpsc::Receiver<Request>,
        status: watch::Sender<Arc<NodeStatus>>,
    ) -> Self {
        let config = &context.config;
        Self {
            node: node.clone(),
            link: Arc::new(Link::new(node, config)),
            breaker: breaker(&context, &node.name),
            health: Health::new(config.failures_max, config.breaker_failures_max),
            processes: Arc::from([]),
            ambiguous: BTreeSet::new(),
            lack: None,
            orders: Vec::new(),
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
        }
        if is_other_supervisor || old.login != self.node.login {
            let config = &self.context.config;
            self.link = Arc::new(Link::new(&self.node, config));
            self.breaker = breaker(&self.context, &self.node.name);
            self.health = Health::new(config.failures_max, config.breaker_failures_max);
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
            let wake_at = self.wake_at();
            let step = tokio::select! {
                biased;
                () = leash.rest() => Step::Stop,
                request = self.inbox.recv() => request.map_or(Step::Stop, Step::Request),
                piece = next_piece(&mut self.hints.stream) => Step::Hint(piece),
                () = sleep_until(wake_at) => Step::Tick,
            };
            match step {
                Step::Request(request) => self.handle(request).await,
                Step::Hint(piece) => self.read_hints(piece).await,
                Step::Tick => self.tick().await,
                Step::Stop => break,
            }
        }
        self.let_go();
        self
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
    }

    async fn handle(&mut self, request: Request) {
        match request {
            Request::Command { command, patience, asked, reply } => {
                self.take_order(command, patience, asked, reply).await;
            }
            Request::ReadLog { process, channel, range, patience, reply } => {
                let slice = self.read_log(process, channel, range, &patience).await;
                drop(reply.send(slice)); // the reader may have left
            }
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
    }

    fn wake_at(&self) -> Instant {
        let is_live = self.health.state.is_live();
        let reopen = (is_live && self.hints.stream.is_none()).then_some(self.hints.reopen_at);
        let nudge = self.hints.stream.is_some().then_some(self.hints.nudge_at);
        let orders = self.orders.iter().map(Order::wake_at);
        [reopen, nudge, self.hints.look_at].into_iter().flatten().chain(orders).fold(self.poll_at, Instant::min)
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
        let call = self.call(Errand::Read(patience), |adapter, link, deadline| {
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

fn breaker(context: &PoolContext, node: &NodeId) -> Breaker {
    let config = &context.config;
    let settings = BreakerSettings {
        failures_max: config.breaker_failures_max,
        cooldown: config.breaker_cooldown,
        cooldown_max: config.breaker_cooldown,
    };
    Breaker::new(settings).with_jitter(context.jitter(node))
}

async fn next_piece(stream: &mut Option<HintStream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.pieces.next().await,
        None => std::future::pending().await,
    }
}
