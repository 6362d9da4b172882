//! What is done to a node on somebody's behalf, on the record.

use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::{ApiError, node_code};
use crate::api::input::Asked;
use crate::auth::Action;
use crate::model::{FaultKind, Outcome};
use crate::node::{NodeError, NodeHandle, Patience};
use crate::store::AuditOutcome;
use crate::task::{TaskGroup, TaskKind};
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

/// What the audit calls an override that was asked for and admitted.
const OVERRIDE: &str = "change.override";

/// Something that changes what a node does.
pub(super) struct Deed<'a> {
    /// The permission that it needs.
    pub(super) action: Action,
    /// What validators and the audit call it.
    pub(super) operation: &'a str,
    /// What the audit says it was done to.
    pub(super) target: String,
    /// What the audit says of the intent.
    pub(super) detail: &'a str,
    /// Why it has to be done in spite of a validator.
    pub(super) reason: Option<String>,
    /// The node.
    pub(super) node: String,
}

/// How a result stands in the audit.
pub(super) trait Settled {
    fn outcome(&self) -> Outcome;
}

impl Settled for () {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}

impl Settled for crate::model::CommandReport {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl Settled for crate::model::GroupReport {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl Settled for crate::model::UpdateReport {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

impl Settled for crate::model::ConfigChanges {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}

/// Asks everybody who has a say, does it, and writes down what became of it.
///
/// # Cancel safety
/// Dropped before it was sent, it is not sent. Dropped later, it goes on. Either is on the record.
pub(super) async fn on_record<T, W, F>(
    edge: &Arc<Edge>,
    (caller, facts): (Caller, Facts),
    asked: Asked,
    deed: Deed<'_>,
    patience: Patience,
    work: W,
) -> Result<T, ApiError>
where
    T: Settled + Send + 'static,
    W: FnOnce(NodeHandle, Patience) -> F + Send + 'static,
    F: Future<Output = Result<T, NodeError>> + Send,
{
    let Deed { action, operation, target, detail, reason, node } = deed;
    edge.admit_deed((&caller, &facts), action, (operation, &target), asked).await?;
    let handle = edge.pool.node(&node)?;
    if let Some(reason) = &reason {
        // Whether it was needed is known to the validators alone; that it was asked for, and why, is on the record.
        edge.record(&caller, &facts, OVERRIDE, &target, AuditOutcome::Done, reason).await?;
    }
    // The intent is durable before the node hears of it, so that nothing goes out that the audit does not know.
    edge.record(&caller, &facts, operation, &target, AuditOutcome::Intended, detail).await?;
    let _here = patience.left.clone().drop_guard();
    let (task, operation) = (Arc::clone(edge), operation.to_owned());
    let patience = patience.of(facts.behalf());
    let order = async move {
        let result = work(handle, patience).await;
        let (outcome, reason) = verdict(&result);
        let audited = task.record(&caller, &facts, &operation, &target, outcome, reason).await;
        audited.and(result.map_err(ApiError::Node))
    };
    to_its_end(&edge.tasks.group(TaskKind::Request), "order", order).await.ok_or(ApiError::ShuttingDown)?
}

/// Does what was admitted and is about no node. The intent is durable before it begins, and what became of it before it is
/// told.
///
/// # Errors
/// What the work failed by, or that it cannot be written down; without the intent on record nothing is done.
///
/// # Cancel safety
/// Dropped after its first poll, it is finished, and what became of it is on record.
pub(super) async fn carry_out<T: Send + 'static>(
    edge: &Arc<Edge>,
    (caller, facts): (Caller, Facts),
    (operation, target): (&'static str, String),
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let task = Arc::clone(edge);
    let deed = async move {
        let (who, what) = ((&caller, &facts), (operation, target.as_str()));
        task.record(who.0, who.1, what.0, what.1, AuditOutcome::Intended, "").await?;
        let done = task.on_record(who, what, work.await, AuditOutcome::Failed).await?;
        task.record(who.0, who.1, what.0, what.1, AuditOutcome::Done, "").await?;
        Ok(done)
    };
    to_its_end(&edge.tasks.group(TaskKind::Request), operation, deed).await.ok_or(ApiError::ShuttingDown)?
}

/// Does it on a task of its own, to its end, whether or not its caller waits for it. None if the task broke.
///
/// # Cancel safety
/// Dropped after its first poll, the work goes on, and what comes of it is dropped when it ends.
async fn to_its_end<T: Send + 'static>(
    tasks: &TaskGroup,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (done, made) = oneshot::channel();
    let work = async move { drop(done.send(work.await)) }; // the caller may have left
    tasks.named(name, work.instrument(Span::current()));
    made.await.ok()
}

/// How the audit has it. `unknown` is what was sent and has no answer: it may have been carried out.
fn verdict<T: Settled>(result: &Result<T, NodeError>) -> (AuditOutcome, &'static str) {
    match result {
        Ok(report) => match report.outcome() {
            Outcome::Done => (AuditOutcome::Done, ""),
            Outcome::Unchanged => (AuditOutcome::Done, "unchanged"),
            Outcome::InProgress => (AuditOutcome::Unknown, "in_progress"),
            Outcome::Failed => (AuditOutcome::Failed, "settled_elsewhere"),
        },
        Err(error) if is_lost(error) => (AuditOutcome::Unknown, node_code(error)),
        Err(error) => (AuditOutcome::Failed, node_code(error)),
    }
}

fn is_lost(error: &NodeError) -> bool {
    let is_unanswered = |error: &NodeError| {
        matches!(error, NodeError::Gone { .. } | NodeError::Adapter { .. })
            || matches!(error, NodeError::OutcomeUnknown { .. } | NodeError::Lost { .. })
    };
    is_unanswered(error)
        || matches!(error, NodeError::Removed { was_sent, .. } | NodeError::Replaced { was_sent, .. }
            | NodeError::Disabled { was_sent, .. } if *was_sent)
        || matches!(error, NodeError::Answered { fault, .. } if fault.kind == FaultKind::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Places;
    use futures_util::FutureExt as _;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn who_leaves_while_a_copy_is_made_leaves_its_place_taken_until_it_is_made() {
        let (places, tracker, disk) = (Places::new(1), TaskTracker::new(), Arc::new(Notify::new()));
        let tasks = TaskGroup::on(TaskKind::Request, &tracker);
        let (place, slow) = (places.try_take().expect("it is free"), Arc::clone(&disk));
        let work = async move {
            slow.notified().await;
            place
        };
        let mut asking = Box::pin(to_its_end(&tasks, "work", work));
        assert!(asking.as_mut().now_or_never().is_none(), "it is being made");
        drop(asking);
        tokio::task::yield_now().await;
        assert!(places.try_take().is_none(), "another one would take the file's name");
        disk.notify_one();
        tracker.close();
        tracker.wait().await;
        assert!(places.try_take().is_some());
    }
}
