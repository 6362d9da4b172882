//! Requests that go on while something else is done.

use super::SOON;
use anyhow::Context as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tests::Client;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Somebody, or several, who ask again and again until it is over.
pub(super) struct Load {
    served: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// So many who ask, each by itself.
    pub(super) fn start<F, R>(clients: usize, ask: F) -> Self
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = anyhow::Result<()>> + Send,
    {
        let (served, is_over, tracker) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), TaskTracker::new());
        let tasks = (0..clients)
            .map(|_| {
                let (ask, served, is_over) = (ask.clone(), Arc::clone(&served), Arc::clone(&is_over));
                tracker.spawn(async move {
                    let mut failed = Vec::new();
                    while !is_over.load(SeqCst) {
                        match ask().await {
                            Ok(()) => drop(served.fetch_add(1, SeqCst)),
                            Err(error) => failed.push(format!("{error:#}")),
                        }
                    }
                    failed
                })
            })
            .collect();
        Self { served, is_over, tasks }
    }

    /// So many who want the list of nodes.
    pub(super) fn of_lists(clients: usize, client: &Client) -> Self {
        let client = client.clone();
        Self::start(clients, move || {
            let client = client.clone();
            async move { client.get("/api/v1/nodes").await?.expect_status(200).map(drop) }
        })
    }

    /// Requests that went well so far.
    pub(super) fn served(&self) -> u64 {
        self.served.load(SeqCst)
    }

    /// Waits until somebody was served by what serves now.
    pub(super) async fn once_more(&self) -> anyhow::Result<()> {
        // The one under way may have begun before.
        let enough = self.served() + 2;
        let wait = async {
            while self.served() < enough && !self.tasks.iter().all(JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.context("nobody is served")
    }

    /// Ends it. What went well, and what went wrong.
    pub(super) async fn end(self) -> anyhow::Result<(u64, Vec<String>)> {
        self.is_over.store(true, SeqCst);
        let served = self.served();
        let mut failed = Vec::new();
        for task in self.tasks {
            failed.extend(task.await?);
        }
        Ok((served, failed))
    }
}
