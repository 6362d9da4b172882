//! Orders to whole groups: sent once, then watched process by process by the same rules as orders to one.

use crate::model::{
    Ability, AdapterFault, CommandReport, GroupCommand, GroupOperation, GroupReport, MemberOutcome, Operation, Outcome,
    Process, ProcessState,
};
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::lane::{Lane, Reply, Work, group_operation};
use crate::node::order::is_told_by_the_next_look;
use crate::node::owner::Owner;
use crate::node::patience::{Errand, Patience};
use crate::node::progress::{Progress, Step};
use crate::node::snapshot::find;
use std::time::Duration;
use tokio::time::Instant;

/// How long the processes of an order without an answer are watched for what became of it.
const DOUBT_MAX: Duration = Duration::from_secs(5);

/// An order to a group that its supervisor has taken.
pub(super) struct GroupWork {
    pub(super) command: GroupCommand,
    pub(super) members: Vec<Member>,
    pub(super) reply: Option<Reply<GroupReport>>,
    /// A restart that has not sent its start.
    owes_a_start: bool,
    doubt: Option<Doubt>,
}

/// One process of the group.
pub(super) struct Member {
    /// As it was when the order was sent.
    pub(super) before: Process,
    progress: Progress,
    ended: Option<(Outcome, ProcessState, String)>,
}

/// An order that may have arrived or not.
struct Doubt {
    why: NodeError,
    until: Instant,
}

impl GroupWork {
    pub(super) fn answer(&mut self, result: Result<GroupReport, NodeError>) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(result)); // the caller may have left
        }
    }

    /// Takes what the supervisor said of each process. Of those that it left out the next look tells.
    fn hear(&mut self, operation: Operation, said: Vec<MemberOutcome>) {
        for MemberOutcome { id, outcome } in said {
            let Some(member) = self.members.iter_mut().find(|member| member.before.id == id) else { continue };
            match outcome {
                Err(AdapterFault { code, message, .. }) if !is_told_by_the_next_look(operation, &code) => {
                    member.ended = Some((Outcome::Failed, member.before.state, message));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl Member {
    fn new(operation: Operation, before: Process) -> Self {
        let is_so = match operation {
            Operation::Start => before.state == ProcessState::Running,
            Operation::Stop => before.state.is_stopped(),
            Operation::Restart | Operation::Monitor | Operation::Unmonitor => false,
        };
        let ended = is_so.then(|| (Outcome::Unchanged, before.state, String::new()));
        // A restart is a stop first; its start makes members anew.
        let first = if operation == Operation::Restart { Operation::Stop } else { operation };
        Self { progress: Progress::new(first, &before), before, ended }
    }

    /// Takes a look. True if the process has moved since the order was sent.
    fn look(&mut self, seen: Option<&Process>) -> bool {
        let Some(seen) = seen else {
            self.ended.get_or_insert((Outcome::Failed, ProcessState::Unknown, "it is gone".to_owned()));
            return true;
        };
        if self.ended.is_none()
            && let Step::Settled(outcome) = self.progress.next(seen)
        {
            self.ended = Some((outcome, seen.state, seen.message.clone()));
        }
        self.progress.has_moved(seen)
    }
}

impl Owner {
    /// Takes an order to a group: sends it at most once, and either answers at once or watches what it does.
    pub(super) async fn take_group(
        &mut self,
        command: GroupCommand,
        patience: &Patience,
        began: Instant,
        reply: Reply<GroupReport>,
    ) {
        match self.begin_group(command, patience).await {
            Err(error) => drop(reply.send(Err(error))),
            Ok(mut work) => {
                PoolMetrics::add(&self.context.metrics.orders);
                work.reply = Some(reply);
                let wait = work.command.wait;
                self.lane = Some(Lane::new(Work::Group(work), began, wait));
            }
        }
    }

    async fn begin_group(&mut self, command: GroupCommand, patience: &Patience) -> Result<GroupWork, NodeError> {
        self.check_patience(patience)?;
        let what = format!("{} whole groups", command.operation);
        let node = || self.node.name.clone();
        let Some(send) = group_operation(command.operation) else {
            return Err(NodeError::Unsupported { node: node(), what });
        };
        match command.operation {
            Operation::Restart => self.check_able(&Ability::GROUP_RESTART, &what)?,
            Operation::Start | Operation::Stop | Operation::Monitor | Operation::Unmonitor => {
                self.check_able(&[send.ability()], &what)?;
            }
        }
        self.check_free()?;
        self.check_no_order(|process| process.group() == command.group)?;
        self.look_at_all(patience).await?;
        let members = self.members_of(&command.group);
        if members.is_empty() {
            return Err(NodeError::UnknownGroup { node: self.node.name.clone(), group: command.group });
        }
        if let Some(process) = members.iter().find(|member| self.ambiguous.contains(&member.id)) {
            return Err(NodeError::AmbiguousProcess { node: self.node.name.clone(), process: process.id.clone() });
        }
        self.check_patience(patience)?;
        let mut work = GroupWork {
            members: members.into_iter().map(|before| Member::new(command.operation, before)).collect(),
            reply: None,
            owes_a_start: command.operation == Operation::Restart,
            doubt: None,
            command,
        };
        if work.members.iter().all(|member| member.ended.is_some()) {
            return Ok(work); // all is as asked
        }
        let operation = if send == GroupOperation::Start { Operation::Start } else { Operation::Stop };
        self.send_to_group(Errand::Order(patience), &mut work, operation).await?;
        Ok(work)
    }

    /// Sends one order to the group, once.
    async fn send_to_group(
        &mut self,
        errand: Errand<'_>,
        work: &mut GroupWork,
        operation: Operation,
    ) -> Result<(), NodeError> {
        let send = if operation == Operation::Start { GroupOperation::Start } else { GroupOperation::Stop };
        match self.run_on_group(errand, send, &work.command.group).await {
            Ok(said) => work.hear(operation, said),
            Err(failure) if failure.is_in_doubt => {
                let what = format!("{operation} group `{}`", work.command.group);
                work.doubt = Some(Doubt { why: self.lost(failure, what), until: Instant::now() + DOUBT_MAX });
            }
            Err(failure) => return Err(failure.error),
        }
        Ok(())
    }

    /// Lets an order to a group go on. False when it is over.
    pub(super) async fn advance_group(&mut self, lane: &mut Lane) -> bool {
        let (now, began, reply_by) = (Instant::now(), lane.began, lane.reply_by);
        let Work::Group(work) = &mut lane.work else { return false };
        let mut has_moved = false;
        for member in &mut work.members {
            let seen = find(&self.processes, &member.before.id).map(|observed| &observed.process);
            has_moved |= member.look(seen);
        }
        if has_moved {
            work.doubt = None; // it did arrive, or somebody else did the same
        }
        if let Some(doubt) = work.doubt.take_if(|doubt| now >= doubt.until.min(reply_by)) {
            work.answer(Err(doubt.why));
            return false;
        }
        let mut is_settled = work.members.iter().all(|member| member.ended.is_some());
        if is_settled && work.owes_a_start {
            work.owes_a_start = false;
            let group = work.command.group.clone();
            let stopped = self.members_of(&group);
            work.members = stopped.into_iter().map(|before| Member::new(Operation::Start, before)).collect();
            if let Err(error) = self.send_to_group(Errand::Rest, work, Operation::Start).await {
                work.answer(Err(error));
                return false;
            }
            is_settled = work.members.iter().all(|member| member.ended.is_some());
            lane.look_soon();
        }
        let Work::Group(work) = &mut lane.work else { return false };
        if is_settled || (now >= reply_by && work.reply.is_some()) {
            let report = self.group_report(work, began);
            work.answer(Ok(report));
        }
        !is_settled && (work.reply.is_some() || work.owes_a_start)
    }

    fn group_report(&self, work: &GroupWork, began: Instant) -> GroupReport {
        let item = |member: &Member| -> CommandReport {
            let id = &member.before.id;
            let seen = find(&self.processes, id).map(|observed| &observed.process);
            let on_its_way = || {
                let (state, message) = seen.map_or((ProcessState::Unknown, ""), |p| (p.state, p.message.as_str()));
                (Outcome::InProgress, state, message.to_owned())
            };
            let (outcome, state, message) = member.ended.clone().unwrap_or_else(on_its_way);
            self.member_report(&work.command, began, (id, outcome, state, message))
        };
        let mut items: Vec<CommandReport> = work.members.iter().map(item).collect();
        if work.owes_a_start {
            // Stopped is not yet restarted.
            for item in items.iter_mut().filter(|item| item.outcome != Outcome::Failed) {
                item.outcome = Outcome::InProgress;
            }
        }
        GroupReport {
            node: self.node.name.clone(),
            group: work.command.group.clone(),
            operation: work.command.operation,
            outcome: Outcome::of_all(items.iter().map(|item| item.outcome)),
            items,
            took: began.elapsed(),
        }
    }
}
