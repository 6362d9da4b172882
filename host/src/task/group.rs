use crate::task::panics::CURRENT;
use crate::task::{Consequence, Stage, TaskKind};
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Names of tasks left behind that are told.
const NAMES_MAX: usize = 10;

/// All tasks of one host, by kind. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    slots: [Slot; TaskKind::ALL.len()],
    broken: Mutex<Option<Broken>>,
    is_broken: CancellationToken,
}

/// What is known of one kind.
#[derive(Default)]
struct Slot {
    tracker: TaskTracker,
    panics: AtomicU64,
    numbers: AtomicU64,
    names: Mutex<BTreeMap<u64, Arc<str>>>,
}

impl Slot {
    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task whose panic ends the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its kind.
    pub kind: TaskKind,
    /// Its name.
    pub name: Arc<str>,
}

/// What is known of the tasks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskFigures {
    /// The kind.
    pub kind: TaskKind,
    /// Tasks that live.
    pub running: usize,
    /// Tasks that panicked since the start.
    pub panics: u64,
}

impl Tasks {
    /// No task yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where tasks of one kind are started.
    #[must_use]
    pub fn group(&self, kind: TaskKind) -> TaskGroup {
        TaskGroup { inner: Arc::clone(&self.inner), kind }
    }

    /// What is known of each kind, in the order of [`TaskKind::ALL`].
    #[must_use]
    pub fn figures(&self) -> [TaskFigures; TaskKind::ALL.len()] {
        TaskKind::ALL.map(|kind| {
            let slot = self.inner.slot(kind);
            TaskFigures { kind, running: slot.tracker.len(), panics: slot.panics.load(Relaxed) }
        })
    }

    /// Counts a panic that somebody else caught, such as that of a request's handler.
    pub fn note_panic(&self, kind: TaskKind) {
        self.inner.slot(kind).panics.fetch_add(1, Relaxed);
    }

    /// Waits for a task to panic without which the host is none.
    ///
    /// # Cancel safety
    /// Nothing is lost: a later call answers at once.
    pub async fn broken(&self) -> Broken {
        self.inner.is_broken.cancelled().await;
        let broken = self.inner.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        broken.unwrap_or(Broken { kind: TaskKind::Listener, name: Arc::from("") })
    }

    /// The task that broke the host, if one did.
    #[must_use]
    pub fn find_broken(&self) -> Option<Broken> {
        self.inner.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every task of a stage has ended. Later ones are waited for too.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing.
    pub async fn ended(&self, stage: Stage) {
        for kind in TaskKind::ALL.into_iter().filter(|kind| kind.stage() == stage) {
            let tracker = &self.inner.slot(kind).tracker;
            tracker.close();
            tracker.wait().await;
        }
    }

    /// How many tasks live, with the names of the first few.
    #[must_use]
    pub fn left(&self) -> (usize, Vec<String>) {
        let running: usize = self.figures().iter().map(|figures| figures.running).sum();
        let names = TaskKind::ALL.into_iter().flat_map(|kind| {
            let names: Vec<String> = self.inner.slot(kind).names().values().map(|n| format!("{kind} {n}")).collect();
            names
        });
        (running, names.take(NAMES_MAX).collect())
    }
}

impl Inner {
    #[expect(clippy::indexing_slicing, reason = "the slots are as many as the kinds, whose numbers count from zero")]
    fn slot(&self, kind: TaskKind) -> &Slot {
        &self.slots[kind as usize]
    }

    fn panicked(&self, kind: TaskKind, name: &Arc<str>) {
        self.slot(kind).panics.fetch_add(1, Relaxed);
        match kind.consequence() {
            Consequence::Contained | Consequence::Restarted => {}
            Consequence::Ends => {
                let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
                broken.get_or_insert_with(|| Broken { kind, name: Arc::clone(name) });
                drop(broken);
                self.is_broken.cancel();
            }
        }
    }
}

/// Starts tasks of one kind. Cheap to clone.
#[derive(Clone)]
pub struct TaskGroup {
    inner: Arc<Inner>,
    kind: TaskKind,
}

impl TaskGroup {
    /// Starts a task that needs no name of its own.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.named(self.kind.as_str(), future)
    }

    /// Starts a task. Its panic is counted, has the consequence of its kind, and goes on to whoever joins it.
    pub fn named<F>(&self, name: &str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker().spawn(self.guarded(Arc::from(name), future))
    }

    /// The future with what is said of it. Put together and not awaited in a block, which would keep it twice: there are
    /// thousands of tasks.
    pub(super) fn guarded<F: Future>(&self, name: Arc<str>, future: F) -> impl Future<Output = F::Output> + use<F> {
        let entry = Entry::new(self, &name);
        let (inner, kind) = (Arc::clone(&self.inner), self.kind);
        let caught = AssertUnwindSafe(future).catch_unwind();
        CURRENT.scope((kind, Arc::clone(&name)), caught).map(move |ended| {
            let _entry = entry;
            ended.unwrap_or_else(|panic| {
                inner.panicked(kind, &name);
                resume_unwind(panic)
            })
        })
    }

    /// Runs blocking work on a thread of its own, counted as a task.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker().spawn_blocking(work)
    }

    /// The group of another kind of the same host.
    #[must_use]
    pub fn of(&self, kind: TaskKind) -> Self {
        Self { inner: Arc::clone(&self.inner), kind }
    }

    /// Tasks of one kind on a tracker that somebody else waits for.
    #[must_use]
    pub fn on(kind: TaskKind, tracker: &TaskTracker) -> Self {
        let mut inner = Inner::default();
        if let Some(slot) = inner.slots.get_mut(kind as usize) {
            slot.tracker = tracker.clone();
        }
        Self { inner: Arc::new(inner), kind }
    }

    /// The bare tracker: tasks on it are counted, but have no name, and their panics have no consequence.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.inner.slot(self.kind).tracker
    }
}

/// The name of a task for as long as it lives.
struct Entry {
    group: TaskGroup,
    number: u64,
}

impl Entry {
    fn new(group: &TaskGroup, name: &Arc<str>) -> Self {
        let slot = group.inner.slot(group.kind);
        let number = slot.numbers.fetch_add(1, Relaxed);
        slot.names().insert(number, Arc::clone(name));
        Self { group: group.clone(), number }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.group.inner.slot(self.group.kind).names().remove(&self.number);
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.figures()).finish()
    }
}

impl std::fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskGroup").field("kind", &self.kind).finish_non_exhaustive()
    }
}
