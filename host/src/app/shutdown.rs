//! The end: stages in the reverse order of building, inside one budget.

use crate::task::{Stage, Tasks};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How the host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything had stopped by itself.
    Clean,
    /// The budget ran out first; the log names what was still running.
    Forced,
}

/// The budget of one shutdown.
pub(super) struct Shutdown {
    deadline: Instant,
    ended: Ended,
}

impl Shutdown {
    pub(super) fn begin(budget: Duration) -> Self {
        Self { deadline: Instant::now() + budget, ended: Ended::Clean }
    }

    /// Waits for a stage as long as the budget lasts.
    pub(super) async fn stage(&mut self, name: &str, work: impl Future<Output = ()>) {
        let began = Instant::now();
        if timeout_at(self.deadline, work).await.is_err() {
            tracing::error!(stage = name, "shutdown: this stage did not end in time");
            self.ended = Ended::Forced;
        } else {
            tracing::debug!(stage = name, took = ?began.elapsed(), "shutdown: stage done");
        }
    }

    /// Waits until every task of a stage has ended.
    pub(super) async fn tasks(&mut self, name: &str, tasks: &Tasks, stage: Stage) {
        self.stage(name, tasks.ended(stage)).await;
    }

    /// Counts what is left when all stages are over: nothing, or the end was not clean.
    pub(super) fn count(&mut self, what: &str, left: usize, names: &[String]) {
        if left > 0 {
            tracing::error!(left, names = names.join(", "), "shutdown: {what} are left behind");
            self.ended = Ended::Forced;
        }
    }

    /// Whether all that was to end until now has.
    pub(super) fn is_clean(&self) -> bool {
        self.ended == Ended::Clean
    }

    pub(super) fn ended(self) -> Ended {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskKind;

    #[tokio::test(start_paused = true)]
    async fn one_budget_covers_all_stages_and_what_overran_shows() {
        let began = Instant::now();
        let mut shutdown = Shutdown::begin(Duration::from_secs(10));
        shutdown.stage("quick", tokio::time::sleep(Duration::from_secs(4))).await;
        shutdown.stage("stuck", std::future::pending()).await;
        shutdown.stage("late", std::future::ready(())).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        assert_eq!(shutdown.ended(), Ended::Forced);
        assert_eq!(Shutdown::begin(Duration::from_secs(1)).ended(), Ended::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_stays_is_counted_and_makes_the_end_a_forced_one() {
        let tasks = Tasks::new();
        drop(tasks.group(TaskKind::Owner).named("stuck", std::future::pending::<()>()));
        let mut shutdown = Shutdown::begin(Duration::from_secs(1));
        shutdown.tasks("requests", &tasks, Stage::Edge).await;
        assert_eq!(shutdown.ended, Ended::Clean);
        shutdown.tasks("nodes", &tasks, Stage::Core).await;
        let (left, names) = tasks.left();
        assert_eq!((left, names.as_slice()), (1, ["owner stuck".to_owned()].as_slice()));
        shutdown.count("tasks", left, &names);
        assert_eq!(shutdown.ended(), Ended::Forced);
    }
}
