//! Making a node run what its files say, group by group, as `supervisorctl update` does: what is removed is stopped, seen
//! stopped and taken out of service; what is changed is put back then; what is added is put in.

use crate::model::{
    Ability, GroupChange, GroupOperation, GroupUpdate, NodeOperation, Outcome, ProcessId, UpdateReport,
};
use crate::node::error::NodeError;
use crate::node::figures::PoolMetrics;
use crate::node::lane::{Lane, Reply, Work};
use crate::node::owner::Owner;
use crate::node::patience::{Errand, Patience};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// An update under way.
pub(super) struct UpdateWork {
    todo: VecDeque<(String, GroupChange)>,
    /// A group that was told to stop, with its processes.
    current: Option<(String, GroupChange, Vec<ProcessId>)>,
    done: Vec<GroupUpdate>,
    pub(super) reply: Option<Reply<UpdateReport>>,
}

impl UpdateWork {
    pub(super) fn answer(&mut self, result: Result<UpdateReport, NodeError>) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(result)); // the caller may have left
        }
    }

    /// The processes whose end is waited for.
    pub(super) fn stopping(&self) -> Vec<ProcessId> {
        self.current.as_ref().map(|(_, _, members)| members.clone()).unwrap_or_default()
    }

    fn end(&mut self, group: String, change: GroupChange, result: Result<(), NodeError>) -> Result<(), NodeError> {
        let (outcome, message) = match result {
            Ok(()) => (Outcome::Done, String::new()),
            // Nobody knows what the node did: nothing more is built upon it.
            Err(error) if is_lost(&error) => return Err(error),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        self.done.push(GroupUpdate { group, change, outcome, message });
        Ok(())
    }
}

/// Nothing is known of what was sent, or the node is no longer ours.
const fn is_lost(error: &NodeError) -> bool {
    matches!(
        error,
        NodeError::Lost { .. } | NodeError::Gone { .. } | NodeError::Removed { .. } | NodeError::Replaced { .. }
    )
}

impl Owner {
    pub(super) async fn take_update(
        &mut self,
        wait: Duration,
        patience: &Patience,
        began: Instant,
        reply: Reply<UpdateReport>,
    ) {
        match self.begin_update(patience).await {
            Err(error) => drop(reply.send(Err(error))),
            Ok(todo) => {
                PoolMetrics::add(&self.context.metrics.orders);
                let work = UpdateWork { todo, current: None, done: Vec::new(), reply: Some(reply) };
                let mut lane = Lane::new(Work::Update(work), began, wait);
                lane.look_at = Instant::now();
                self.lane = Some(lane);
            }
        }
    }

    async fn begin_update(&mut self, patience: &Patience) -> Result<VecDeque<(String, GroupChange)>, NodeError> {
        self.check_patience(patience)?;
        self.check_able(&Ability::UPDATE, "be made to run what its files say")?;
        self.check_idle()?;
        let changes = self.ask_for_changes(patience).await?;
        self.look_at_all(patience).await?;
        self.check_patience(patience)?;
        let of = |groups: Vec<String>, change| groups.into_iter().map(move |group| (group, change));
        Ok(of(changes.removed, GroupChange::Removed)
            .chain(of(changes.changed, GroupChange::Changed))
            .chain(of(changes.added, GroupChange::Added))
            .collect())
    }

    /// Does the next piece of an update: at most one group at a time, so that others are served in between. False when it
    /// is over.
    pub(super) async fn advance_update(&mut self, lane: &mut Lane) -> bool {
        let (now, began, reply_by) = (Instant::now(), lane.began, lane.reply_by);
        let Work::Update(work) = &mut lane.work else { return false };
        let stepped = self.step(work).await;
        if let Err(error) = stepped {
            work.answer(Err(error));
            self.poll_at = Instant::now();
            return false;
        }
        let is_over = work.todo.is_empty() && work.current.is_none();
        if is_over {
            self.observe().await; // who reads the answer finds its groups in the list
        }
        if is_over || (now >= reply_by && work.reply.is_some()) {
            let report = self.update_report(work, began);
            work.answer(Ok(report));
        }
        if work.current.is_none() {
            lane.look_at = Instant::now();
        }
        !is_over
    }

    async fn step(&mut self, work: &mut UpdateWork) -> Result<(), NodeError> {
        if let Some((group, change, members)) = work.current.take() {
            if self.members_of(&group).iter().any(|member| !member.state.is_stopped()) {
                work.current = Some((group, change, members));
                return Ok(());
            }
            let swapped = self.swap_group(&group, change).await;
            return work.end(group, change, swapped);
        }
        match work.todo.pop_front() {
            None => Ok(()),
            Some((group, GroupChange::Added)) => {
                let what = format!("add group `{group}`");
                let added = self.run_on_node(Errand::Rest, NodeOperation::AddGroup(group.clone()), &what).await;
                work.end(group, GroupChange::Added, added)
            }
            Some((group, change @ (GroupChange::Changed | GroupChange::Removed))) => {
                let members = self.members_of(&group);
                let is_up = members.iter().any(|member| !member.state.is_stopped());
                if is_up && let Err(failure) = self.run_on_group(Errand::Rest, GroupOperation::Stop, &group).await {
                    let error = self.lost(failure, format!("stop group `{group}`"));
                    return work.end(group, change, Err(error));
                }
                work.current = Some((group, change, members.into_iter().map(|member| member.id).collect()));
                Ok(())
            }
        }
    }

    /// Takes a group whose processes have stopped out of service, and puts it back if it is only changed.
    async fn swap_group(&mut self, group: &str, change: GroupChange) -> Result<(), NodeError> {
        let what = format!("remove group `{group}`");
        self.run_on_node(Errand::Rest, NodeOperation::RemoveGroup(group.to_owned()), &what).await?;
        if change == GroupChange::Changed {
            let what = format!("add group `{group}`");
            self.run_on_node(Errand::Rest, NodeOperation::AddGroup(group.to_owned()), &what).await?;
        }
        Ok(())
    }

    fn update_report(&self, work: &UpdateWork, began: Instant) -> UpdateReport {
        let open = |(group, change): (&String, GroupChange)| GroupUpdate {
            group: group.clone(),
            change,
            outcome: Outcome::InProgress,
            message: String::new(),
        };
        let current = work.current.iter().map(|(group, change, _)| open((group, *change)));
        let todo = work.todo.iter().map(|(group, change)| open((group, *change)));
        let groups: Vec<GroupUpdate> = work.done.iter().cloned().chain(current).chain(todo).collect();
        UpdateReport {
            node: self.node.name.clone(),
            outcome: Outcome::of_all(groups.iter().map(|group| group.outcome)),
            groups,
            took: began.elapsed(),
        }
    }
}
