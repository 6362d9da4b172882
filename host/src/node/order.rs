//! How an owner carries out orders.

use crate::model::{Command, CommandReport, Operation, Outcome, Process, ProcessId, ProcessState};
use crate::node::call::CallFailure;
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::owner::Owner;
use crate::node::patience::{Errand, Patience};
use crate::node::progress::{Progress, Step};
use crate::node::snapshot::find;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The first pause before looking what an order did; it doubles up to the second.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long the process of an order without an answer is watched for what became of it.
const DOUBT_MAX: Duration = Duration::from_secs(5);
/// A restart whose stop has not worked after this time is given up: nobody is waiting any more.
const ORDER_MAX: Duration = Duration::from_secs(300);

type Reply = oneshot::Sender<Result<CommandReport, NodeError>>;

/// An order that the supervisor has taken.
pub(super) struct Order {
    command: Command,
    progress: Progress,
    /// Taken when the answer is given. A restart goes on without it until its start is sent.
    reply: Option<Reply>,
    began: Instant,
    reply_by: Instant,
    look_at: Instant,
    pause: Duration,
    /// What was sent has no answer. The process itself may still tell whether it arrived.
    doubt: Option<Doubt>,
}

/// An order that may have arrived or not.
struct Doubt {
    why: NodeError,
    operation: Operation,
    /// When it is told as unknown. Nothing is sent twice in the meantime, and nothing after.
    until: Instant,
}

impl Order {
    /// When this order wants attention.
    pub(super) fn wake_at(&self) -> Instant {
        let reply_by = if self.reply.is_some() { self.reply_by } else { self.look_at };
        let doubt_until = self.doubt.as_ref().map_or(self.look_at, |doubt| doubt.until);
        self.look_at.min(reply_by).min(doubt_until)
    }

    /// What it is about.
    pub(super) const fn target(&self) -> (&ProcessId, Operation) {
        (&self.command.process, self.command.operation)
    }

    /// Gives it up with that answer.
    pub(super) fn end(mut self, error: NodeError) {
        self.answer(Err(error));
    }

    fn answer(&mut self, result: Result<CommandReport, NodeError>) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(result)); // the caller may have left
        }
    }
}

/// What became of an order when it was taken.
enum Begun {
    Unchanged(Process),
    Sent(Progress, Option<Doubt>),
}

impl Owner {
    /// Takes an order: sends it at most once, and either answers at once or watches what it does.
    pub(super) async fn take_order(&mut self, command: Command, patience: Patience, began: Instant, reply: Reply) {
        match self.begin(&command, &patience).await {
            Err(error) => drop(reply.send(Err(error))),
            Ok(Begun::Unchanged(process)) => {
                drop(reply.send(Ok(self.report(&command, Outcome::Unchanged, &process, began))));
            }
            Ok(Begun::Sent(progress, doubt)) => {
                PoolMetrics::add(&self.context.metrics.orders);
                let reply_by = began + command.wait;
                let look_at = Instant::now() + LOOK_PAUSE;
                let reply = Some(reply);
                self.orders.push(Order {
                    command,
                    progress,
                    reply,
                    began,
                    reply_by,
                    look_at,
                    pause: LOOK_PAUSE,
                    doubt,
                });
            }
        }
    }

    async fn begin(&mut self, command: &Command, patience: &Patience) -> Result<Begun, NodeError> {
        let id = &command.process;
        self.check_patience(patience)?;
        self.check_supported(command.operation)?;
        self.check_lane(id)?;
        if let Some(order) = self.orders.iter().find(|order| order.command.process == *id) {
            return Err(NodeError::ProcessBusy {
                node: self.node.name.clone(),
                process: id.clone(),
                operation: order.command.operation,
            });
        }
        if self.ambiguous.contains(id) {
            return Err(NodeError::AmbiguousProcess { node: self.node.name.clone(), process: id.clone() });
        }
        let before = self.look_at_one(id, patience).await?;
        if is_as_asked(command.operation, &before) {
            return Ok(Begun::Unchanged(before));
        }
        let (send, progress) = match command.operation {
            Operation::Restart if self.can(Operation::Restart)? => {
                (Operation::Restart, Progress::native_restart(&before))
            }
            Operation::Restart if before.state.is_stopped() => {
                (Operation::Start, Progress::new(Operation::Start, &before))
            }
            Operation::Restart => (Operation::Stop, Progress::new(Operation::Restart, &before)),
            operation @ (Operation::Start | Operation::Stop | Operation::Monitor | Operation::Unmonitor) => {
                (operation, Progress::new(operation, &before))
            }
        };
        // Somebody else's stop is under way: a second one would be refused, and its end is what is waited for.
        if send == Operation::Stop && before.state == ProcessState::Stopping {
            return Ok(Begun::Sent(progress, None));
        }
        self.check_patience(patience)?;
        let doubt = self.send(Errand::Order(patience), send, id).await?;
        Ok(Begun::Sent(progress, doubt))
    }

    /// True if the adapter carries this operation out by itself.
    fn can(&self, operation: Operation) -> Result<bool, NodeError> {
        Ok(self.adapter()?.info().operations.contains(&operation))
    }

    /// Refuses what this kind of node cannot do, before anything is sent.
    fn check_supported(&self, operation: Operation) -> Result<(), NodeError> {
        let is_composed =
            operation == Operation::Restart && self.can(Operation::Start)? && self.can(Operation::Stop)?;
        if is_composed || self.can(operation)? {
            return Ok(());
        }
        Err(NodeError::Unsupported { node: self.node.name.clone(), what: format!("{operation} processes") })
    }

    async fn look_at_one(&mut self, id: &ProcessId, patience: &Patience) -> Result<Process, NodeError> {
        let ids = vec![id.clone()];
        let said = self
            .call(Errand::Read(patience), |adapter, link, deadline| {
                Box::pin(async move { adapter.observe_some(link, deadline, ids).await })
            })
            .await?;
        let unknown = || NodeError::UnknownProcess { node: self.node.name.clone(), process: id.clone() };
        said.into_iter().find(|process| process.id == *id).ok_or_else(unknown)
    }

    /// Sends one order, once. That the process is already where it should be, or ended while it was being started, is no
    /// failure of the order: the next look tells the rest, in the same words as for one that ends a moment later. An
    /// order that left and has no answer is in doubt; the next looks may tell that as well.
    async fn send(
        &mut self,
        errand: Errand<'_>,
        operation: Operation,
        id: &ProcessId,
    ) -> Result<Option<Doubt>, NodeError> {
        let target = id.clone();
        let sent = self
            .call(errand, |adapter, link, deadline| {
                Box::pin(async move { adapter.run(link, deadline, operation, target).await })
            })
            .await;
        match sent {
            Ok(_) => Ok(None),
            Err(CallFailure { error, is_in_doubt: true }) => {
                tracing::warn!(node = %self.node.name, process = %id, %operation, %error, "an order has no answer");
                Ok(Some(Doubt { why: error, operation, until: Instant::now() + DOUBT_MAX }))
            }
            Err(CallFailure { error: NodeError::Answered { fault, .. }, .. })
                if is_told_by_the_next_look(operation, &fault.code) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure.error),
        }
    }

    /// Looks at the processes of orders whose time has come, and lets every order go on.
    pub(super) async fn look_at_orders(&mut self) {
        let now = Instant::now();
        let due: Vec<ProcessId> = self
            .orders
            .iter()
            .filter(|order| now >= order.look_at)
            .map(|order| order.command.process.clone())
            .collect();
        if !due.is_empty() && self.look_at_some(due).await {
            self.poll_at = self.poll_at.max(Instant::now() + LOOK_PAUSE);
        }
        let mut orders = std::mem::take(&mut self.orders);
        for order in &mut orders {
            self.advance(order).await;
        }
        let now = Instant::now();
        orders.retain_mut(|order| {
            let is_needed = order.reply.is_some() || order.progress.owes_a_start();
            let is_old = now >= order.began + ORDER_MAX;
            if is_old && order.progress.owes_a_start() {
                tracing::warn!(node = %self.node.name, process = %order.command.process,
                    "a restart was given up: its process has not stopped in five minutes");
            }
            is_needed && !is_old
        });
        self.orders = orders;
    }

    async fn advance(&mut self, order: &mut Order) {
        let now = Instant::now();
        if now >= order.look_at {
            order.pause = (order.pause * 2).min(LOOK_PAUSE_MAX);
            order.look_at = now + order.pause;
        }
        let id = order.command.process.clone();
        let Some(seen) = find(&self.processes, &id).map(|p| p.process.clone()) else {
            order.progress.abandon();
            order.answer(Err(NodeError::UnknownProcess { node: self.node.name.clone(), process: id }));
            return;
        };
        if order.doubt.is_some() && order.progress.has_moved(&seen) {
            order.doubt = None; // it did arrive, or somebody else did the same
        }
        match order.progress.next(&seen) {
            Step::Wait => {}
            Step::SendStart => match self.send(Errand::Rest, Operation::Start, &id).await {
                Ok(doubt) => {
                    order.doubt = doubt;
                    order.progress.start_sent(&seen);
                    (order.pause, order.look_at) = (LOOK_PAUSE, Instant::now() + LOOK_PAUSE);
                }
                Err(error) => {
                    order.progress.abandon();
                    order.answer(Err(error));
                }
            },
            Step::Settled(outcome) => {
                let report = self.report(&order.command, outcome, &seen, order.began);
                order.answer(Ok(report));
            }
        }
        if let Some(doubt) = order.doubt.take_if(|doubt| now >= doubt.until.min(order.reply_by)) {
            order.progress.abandon();
            order.answer(Err(NodeError::OutcomeUnknown {
                node: self.node.name.clone(),
                process: id,
                operation: doubt.operation,
                why: Box::new(doubt.why),
            }));
            return;
        }
        if now >= order.reply_by && order.reply.is_some() {
            let report = self.report(&order.command, Outcome::InProgress, &seen, order.began);
            order.answer(Ok(report));
        }
    }

    fn report(&self, command: &Command, outcome: Outcome, process: &Process, began: Instant) -> CommandReport {
        CommandReport {
            node: self.node.name.clone(),
            process: command.process.clone(),
            operation: command.operation,
            outcome,
            state: process.state,
            message: process.message.clone(),
            took: began.elapsed(),
        }
    }
}

/// True when the process is so already, and there is nothing to send.
fn is_as_asked(operation: Operation, process: &Process) -> bool {
    match operation {
        Operation::Start => process.state == ProcessState::Running,
        // What its supervisor does not watch may live, whatever is said of it.
        Operation::Stop => process.state.is_stopped() && process.is_monitored() != Some(false),
        Operation::Restart => false,
        Operation::Monitor => process.is_monitored() == Some(true),
        Operation::Unmonitor => process.is_monitored() == Some(false),
    }
}

/// True when that fault only says that the process is or was where it should be, which the next look tells better.
pub(super) fn is_told_by_the_next_look(operation: Operation, code: &str) -> bool {
    match operation {
        Operation::Start => matches!(code, "process.already_started" | "process.spawn_error"),
        Operation::Stop => code == "process.not_running",
        Operation::Restart | Operation::Monitor | Operation::Unmonitor => false,
    }
}
