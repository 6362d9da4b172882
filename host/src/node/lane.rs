//! What a node does one of at a time, with all else that could cross it kept out: orders to groups, and making it run what
//! its files say. Acts without a state to wait for stand here too.

use crate::model::{
    Ability, CommandReport, ConfigChanges, GroupCommand, GroupOperation, GroupReport, MemberOutcome, NodeOperation,
    Operation, Outcome, Process, ProcessAct, ProcessId, ProcessState, UpdateReport,
};
use crate::node::call::CallFailure;
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::group::GroupWork;
use crate::node::owner::Owner;
use crate::node::patience::{Errand, Patience};
use crate::node::update::UpdateWork;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The first pause before looking what an order did; it doubles up to the second.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(500);
/// After this time what is left of an order is given up: nobody is waiting any more.
const ORDER_MAX: Duration = Duration::from_secs(300);
/// So long a supervisor that was asked to restart or to end may be silent and count as shutting down.
const LEAVING_MAX: Duration = Duration::from_secs(60);

pub(super) type Reply<T> = oneshot::Sender<Result<T, NodeError>>;

/// What a handle asks of an owner besides orders to one process.
pub(super) enum LaneRequest {
    Act {
        process: ProcessId,
        act: ProcessAct,
        patience: Patience,
        reply: Reply<()>,
    },
    Group {
        command: GroupCommand,
        patience: Patience,
        asked: Instant,
        reply: Reply<GroupReport>,
    },
    Reread {
        patience: Patience,
        reply: Reply<ConfigChanges>,
    },
    Update {
        wait: Duration,
        patience: Patience,
        asked: Instant,
        reply: Reply<UpdateReport>,
    },
    /// Restart or shut down.
    Supervisor {
        operation: NodeOperation,
        patience: Patience,
        reply: Reply<()>,
    },
    NodeLog {
        bytes_max: u32,
        patience: Patience,
        reply: Reply<Vec<u8>>,
    },
}

/// The order under way that has the node's lane.
pub(super) struct Lane {
    pub(super) work: Work,
    pub(super) began: Instant,
    pub(super) reply_by: Instant,
    pub(super) look_at: Instant,
    pause: Duration,
}

pub(super) enum Work {
    Group(GroupWork),
    Update(UpdateWork),
}

impl Lane {
    pub(super) fn new(work: Work, began: Instant, wait: Duration) -> Self {
        Self { work, began, reply_by: began + wait, look_at: Instant::now() + LOOK_PAUSE, pause: LOOK_PAUSE }
    }

    pub(super) fn wake_at(&self) -> Instant {
        if self.is_awaited() { self.look_at.min(self.reply_by) } else { self.look_at }
    }

    /// Looks again soon: something was just sent.
    pub(super) fn look_soon(&mut self) {
        (self.pause, self.look_at) = (LOOK_PAUSE, Instant::now() + LOOK_PAUSE);
    }

    /// Gives it up with that answer.
    pub(super) fn end(self, error: NodeError) {
        match self.work {
            Work::Group(mut work) => work.answer(Err(error)),
            Work::Update(mut work) => work.answer(Err(error)),
        }
    }

    /// What an order to one process of `group` would cross.
    fn crosses(&self, group: &str) -> Option<String> {
        match &self.work {
            Work::Group(work) if work.command.group == group => Some(self.what()),
            Work::Group(_) => None,
            Work::Update(_) => Some(self.what()),
        }
    }

    fn what(&self) -> String {
        match &self.work {
            Work::Group(work) => format!("it was told to {} group `{}`", work.command.operation, work.command.group),
            Work::Update(_) => "it is being made to run what its files say".to_owned(),
        }
    }

    fn is_awaited(&self) -> bool {
        match &self.work {
            Work::Group(work) => work.reply.is_some(),
            Work::Update(work) => work.reply.is_some(),
        }
    }

    fn watched(&self) -> Vec<ProcessId> {
        match &self.work {
            Work::Group(work) => work.members.iter().map(|member| member.before.id.clone()).collect(),
            Work::Update(work) => work.stopping(),
        }
    }
}

impl Owner {
    pub(super) async fn handle_lane(&mut self, request: LaneRequest) {
        match request {
            LaneRequest::Act { process, act, patience, reply } => {
                let done = self.act(process, act, &patience).await;
                drop(reply.send(done)); // the caller may have left, here and below
            }
            LaneRequest::Group { command, patience, asked, reply } => {
                self.take_group(command, &patience, asked, reply).await;
            }
            LaneRequest::Reread { patience, reply } => drop(reply.send(self.reread(&patience).await)),
            LaneRequest::Update { wait, patience, asked, reply } => {
                self.take_update(wait, &patience, asked, reply).await;
            }
            LaneRequest::Supervisor { operation, patience, reply } => {
                drop(reply.send(self.tell_supervisor(operation, &patience).await));
            }
            LaneRequest::NodeLog { bytes_max, patience, reply } => {
                drop(reply.send(self.read_node_log(bytes_max, &patience).await));
            }
        }
    }

    /// Does something to one process at once, also while an order to it is under way: who sends `KILL` to a process that
    /// does not stop means just that. It is sent at most once, and there is nothing to watch for what became of it.
    async fn act(&mut self, process: ProcessId, act: ProcessAct, patience: &Patience) -> Result<(), NodeError> {
        self.check_patience(patience)?;
        self.check_able(&[act.ability()], &format!("take `{}` for its processes", act.as_str()))?;
        if self.ambiguous.contains(&process) {
            return Err(NodeError::AmbiguousProcess { node: self.node.name.clone(), process });
        }
        let what = format!("do `{}` to process `{process}`", act.as_str());
        let sent = self
            .call(Errand::Order(patience), |adapter, link, deadline| {
                Box::pin(async move { adapter.act(link, deadline, act, process).await })
            })
            .await;
        PoolMetrics::add(&self.context.metrics.orders);
        sent.map(drop).map_err(|failure| self.lost(failure, what))
    }

    async fn reread(&mut self, patience: &Patience) -> Result<ConfigChanges, NodeError> {
        self.check_patience(patience)?;
        self.check_able(&[Ability::Reread], "tell what its files say")?;
        self.ask_for_changes(patience).await
    }

    /// A question that changes nothing and may be repeated.
    pub(super) async fn ask_for_changes(&mut self, patience: &Patience) -> Result<ConfigChanges, NodeError> {
        let call = self.call(Errand::Read(patience), |adapter, link, deadline| {
            Box::pin(async move { adapter.reread(link, deadline).await })
        });
        Ok(call.await?)
    }

    async fn read_node_log(&mut self, bytes_max: u32, patience: &Patience) -> Result<Vec<u8>, NodeError> {
        self.check_patience(patience)?;
        self.check_able(&[Ability::NodeLog], "show its own log")?;
        let call = self.call(Errand::Read(patience), |adapter, link, deadline| {
            Box::pin(async move { adapter.read_node_log(link, deadline, bytes_max).await })
        });
        Ok(call.await?)
    }

    /// Restarts the supervisor, or ends it. From its yes on it is shutting down, and silence is what is expected of it.
    async fn tell_supervisor(&mut self, operation: NodeOperation, patience: &Patience) -> Result<(), NodeError> {
        self.check_patience(patience)?;
        let (word, reason) = match operation {
            NodeOperation::Shutdown => ("shut down", "the supervisor was told to shut down"),
            NodeOperation::Restart | NodeOperation::AddGroup(_) | NodeOperation::RemoveGroup(_) => {
                ("restart", "the supervisor was told to restart")
            }
        };
        self.check_able(&[operation.ability()], word)?;
        self.check_idle()?;
        self.run_on_node(Errand::Order(patience), operation, word).await?;
        self.leaving_until = Some(Instant::now() + LEAVING_MAX);
        self.health.leave(reason);
        self.quiet();
        self.poll_at = Instant::now() + LOOK_PAUSE_MAX;
        self.tell_node().await;
        Ok(())
    }

    /// What a node that is leaving says no more counts only for so long.
    pub(super) fn mind_leaving(&mut self) {
        if self.leaving_until.take_if(|until| Instant::now() >= *until).is_some() {
            self.health.stay();
        }
    }

    /// Gives one order to the supervisor itself, once.
    pub(super) async fn run_on_node(
        &mut self,
        errand: Errand<'_>,
        operation: NodeOperation,
        what: &str,
    ) -> Result<(), NodeError> {
        let sent = self
            .call(errand, |adapter, link, deadline| {
                Box::pin(async move { adapter.run_node(link, deadline, operation).await })
            })
            .await;
        sent.map(drop).map_err(|failure| self.lost(failure, what.to_owned()))
    }

    /// Gives one order to a group, once.
    pub(super) async fn run_on_group(
        &mut self,
        errand: Errand<'_>,
        operation: GroupOperation,
        group: &str,
    ) -> Result<Vec<MemberOutcome>, CallFailure> {
        let group = group.to_owned();
        self.call(errand, |adapter, link, deadline| {
            Box::pin(async move { adapter.run_group(link, deadline, operation, group).await })
        })
        .await
    }

    /// Reads everything on a caller's behalf, and publishes it.
    pub(super) async fn look_at_all(&mut self, patience: &Patience) -> Result<(), NodeError> {
        let said = self
            .call(Errand::Read(patience), |adapter, link, deadline| {
                Box::pin(async move { adapter.observe(link, deadline).await })
            })
            .await?;
        self.observed(said).await;
        Ok(())
    }

    /// The processes of a group as they were last seen.
    pub(super) fn members_of(&self, group: &str) -> Vec<Process> {
        let is_of = |process: &&Process| process.id.group() == group;
        self.processes.iter().map(|observed| &observed.process).filter(is_of).cloned().collect()
    }

    /// Refuses what this kind of node cannot do, before anything is sent.
    pub(super) fn check_able(&self, needed: &[Ability], what: &str) -> Result<(), NodeError> {
        let adapter = self.adapter()?;
        if needed.iter().all(|ability| adapter.info().abilities.contains(ability)) {
            return Ok(());
        }
        Err(NodeError::Unsupported { node: self.node.name.clone(), what: what.to_owned() })
    }

    /// Refuses an order to one process that the order on the lane could cross.
    pub(super) fn check_lane(&self, process: &ProcessId) -> Result<(), NodeError> {
        let Some(what) = self.lane.as_ref().and_then(|lane| lane.crosses(process.group())) else { return Ok(()) };
        Err(NodeError::NodeBusy { node: self.node.name.clone(), what })
    }

    /// The lane is for one at a time.
    pub(super) fn check_free(&self) -> Result<(), NodeError> {
        let Some(lane) = &self.lane else { return Ok(()) };
        Err(NodeError::NodeBusy { node: self.node.name.clone(), what: lane.what() })
    }

    /// Nothing at all is under way.
    pub(super) fn check_idle(&self) -> Result<(), NodeError> {
        self.check_free()?;
        self.check_no_order(|_| true)
    }

    /// No order is under way to any process of which this is true.
    pub(super) fn check_no_order(&self, is_meant: impl Fn(&ProcessId) -> bool) -> Result<(), NodeError> {
        let Some((process, operation)) = self.orders.iter().map(|order| order.target()).find(|(id, _)| is_meant(id))
        else {
            return Ok(());
        };
        Err(NodeError::ProcessBusy { node: self.node.name.clone(), process: process.clone(), operation })
    }

    /// A failure to send, in words for the caller: one that left without an answer is lost, and is not sent again.
    pub(super) fn lost(&self, failure: CallFailure, what: String) -> NodeError {
        if !failure.is_in_doubt {
            return failure.error;
        }
        tracing::warn!(node = %self.node.name, what, error = %failure.error, "an order has no answer");
        NodeError::Lost { node: self.node.name.clone(), what, why: Box::new(failure.error) }
    }

    /// Looks at what the order on the lane did, and lets it go on.
    pub(super) async fn look_at_lane(&mut self) {
        let now = Instant::now();
        let Some(mut lane) = self.lane.take_if(|lane| now >= lane.wake_at()) else { return };
        if now >= lane.look_at {
            lane.pause = (lane.pause * 2).min(LOOK_PAUSE_MAX);
            lane.look_at = now + lane.pause;
            let watched = lane.watched();
            if !watched.is_empty() && self.look_at_some(watched).await {
                self.poll_at = self.poll_at.max(Instant::now() + LOOK_PAUSE);
            }
        }
        let goes_on = match lane.work {
            Work::Group(_) => self.advance_group(&mut lane).await,
            Work::Update(_) => self.advance_update(&mut lane).await,
        };
        if goes_on && Instant::now() < lane.began + ORDER_MAX {
            self.lane = Some(lane);
        } else if goes_on {
            tracing::warn!(node = %self.node.name, what = lane.what(), "an order was given up after five minutes");
        }
    }

    /// What is told of one process of a group.
    pub(super) fn member_report(
        &self,
        command: &GroupCommand,
        began: Instant,
        ended: (&ProcessId, Outcome, ProcessState, String),
    ) -> CommandReport {
        let (process, outcome, state, message) = ended;
        CommandReport {
            node: self.node.name.clone(),
            process: process.clone(),
            operation: command.operation,
            outcome,
            state,
            message,
            took: began.elapsed(),
        }
    }
}

/// What an adapter is asked for, given what a user wants of a group. Watching is for single processes.
pub(super) const fn group_operation(operation: Operation) -> Option<GroupOperation> {
    match operation {
        Operation::Start => Some(GroupOperation::Start),
        Operation::Stop | Operation::Restart => Some(GroupOperation::Stop),
        Operation::Monitor | Operation::Unmonitor => None,
    }
}
