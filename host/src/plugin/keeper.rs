//! The one task that owns what happens to the plugins: swaps one at a time, and what follows from how calls went.

use crate::config::PluginsConfig;
use crate::plugin::configure::Relinked;
use crate::plugin::generation::{Generation, GenerationState};
use crate::plugin::kept::Kept;
use crate::plugin::load::{Candidate, Loader, Prepared, place};
use crate::plugin::platform::Shared;
use crate::plugin::report::PluginEventKind;
use crate::plugin::slot::{GivenUp, Slot, SwapResult};
use crate::plugin::swap::{Job, JobKind};
use crate::plugin::watch::changed_files;
use crate::plugin::{
    Author, BoxFuture, GenerationLog, LoadError, PluginEvent, PluginSet, SwapEntry, SwapError, Swapped, serving,
};
use crate::resilience::{Budget, Probation, Reach};
use crate::task::until;
use crate::watch::{Debounce, FileWatch, Mark};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a new generation may spend before it is given up.
const BUDGET: Budget = Budget { failures_in_a_row_max: 3, calls_min: 500, permille_max: 10 };
/// Beyond its own time limit, what a call of a generation out of service is given before it is ended.
const REVOKE_MARGIN: Duration = Duration::from_secs(1);
/// How soon something that could not be written down is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The answer to whoever asked for a swap.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SwapError>>;

/// What the platform is asked.
pub(super) enum Order {
    Install { plugin: String, bytes: Bytes, author: Author, reply: Reply<Swapped> },
    RollBack { plugin: String, author: Author, reply: Reply<Swapped> },
    Configure { config: Box<PluginsConfig>, adapters: BTreeSet<String>, author: Author, reply: Reply<Vec<String>> },
}

/// What was done aside, beside this task's loop.
pub(super) enum Work {
    Scanned(Vec<(String, Mark, Result<Candidate, LoadError>)>),
    /// It serves already, or was refused before.
    Idle(Job, Candidate),
    Prepared(Job, Candidate, Box<Result<Prepared, LoadError>>),
    Failed(Job, LoadError),
    Configured(Box<Relinked>),
}

enum Step {
    Stop,
    Look,
    FilesChanged,
    Order(Order),
    Done(Work),
}

/// A generation on its way out.
struct Leaving {
    slot: Arc<Slot>,
    generation: Arc<Generation>,
    revoke_at: Option<Instant>,
}

/// See the module.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) loader: Arc<Loader>,
    pub(super) config: Arc<PluginsConfig>,
    pub(super) adapters: BTreeSet<String>,
    pub(super) log: Arc<dyn GenerationLog>,
    pub(super) kept: Kept,
    pub(super) work: Option<BoxFuture<'static, Work>>,
    pub(super) wake: Arc<Notify>,
    /// Files that were tried and do not serve, by plugin: their digest.
    pub(super) broken: BTreeMap<String, String>,
    publish: watch::Sender<Arc<PluginSet>>,
    events: mpsc::Sender<PluginEvent>,
    inbox: mpsc::Receiver<Order>,
    stop: CancellationToken,
    /// Files that changed, at most one for each plugin.
    found: VecDeque<(Job, Candidate)>,
    leaving: Vec<Leaving>,
    reaches: BTreeMap<Arc<str>, Reach>,
    retry_at: Option<Instant>,
    watch: Option<FileWatch>,
    debounce: Debounce,
    marks: BTreeMap<String, Mark>,
}

/// How long and how strictly a new generation is watched.
pub(super) fn probation(config: &PluginsConfig) -> Probation {
    Probation::new(BUDGET, Instant::now() + config.probation)
}

impl Keeper {
    #[expect(clippy::too_many_arguments, reason = "made in one place, of the parts that its one maker has at hand")]
    pub(super) fn new(
        shared: Arc<Shared>,
        loader: Arc<Loader>,
        config: PluginsConfig,
        adapters: BTreeSet<String>,
        log: Arc<dyn GenerationLog>,
        kept: Kept,
        publish: watch::Sender<Arc<PluginSet>>,
        events: mpsc::Sender<PluginEvent>,
        inbox: mpsc::Receiver<Order>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let watch = config.watch.then(|| FileWatch::start(&config.directory)).and_then(|started| {
            started
                .inspect_err(|error| {
                    tracing::warn!(
                        target: "omnivisor::plugin", directory = %config.directory.display(), %error,
                        "the plugins' directory is not watched; SIGHUP looks at it, and so does a restart"
                    );
                })
                .ok()
        });
        let mut debounce = Debounce::default();
        // Files may have changed between their reading and the start of the watch.
        debounce.note(Instant::now());
        let keeper = Self {
            shared,
            loader,
            config: Arc::new(config),
            adapters,
            log,
            kept,
            work: None,
            wake,
            broken: BTreeMap::new(),
            publish,
            events,
            inbox,
            stop,
            found: VecDeque::new(),
            leaving: Vec::new(),
            reaches: BTreeMap::new(),
            retry_at: None,
            debounce: if watch.is_some() { debounce } else { Debounce::default() },
            watch,
            marks: BTreeMap::new(),
        };
        keeper.publish();
        keeper
    }

    /// Until it is stopped. A swap under way then is not done.
    pub(super) async fn run(mut self) {
        for slot in self.slots() {
            self.tell(&slot, PluginEventKind::Activated, "").await;
        }
        self.prune().await;
        loop {
            self.take_up();
            let due = self.due();
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => Step::Stop,
                () = self.wake.notified() => Step::Look,
                work = finished(&mut self.work) => Step::Done(work),
                () = FileWatch::changed(self.watch.as_ref()) => Step::FilesChanged,
                () = until(due) => Step::Look,
                order = self.inbox.recv(), if self.work.is_none() => order.map_or(Step::Stop, Step::Order),
            };
            match step {
                Step::Stop => return,
                Step::Look => self.look(Instant::now()).await,
                Step::FilesChanged => self.debounce.note(Instant::now()),
                Step::Order(order) => self.begin(order).await,
                Step::Done(work) => self.settle(work).await,
            }
        }
    }

    /// Begins what waits, if nothing is under way.
    fn take_up(&mut self) {
        if self.work.is_some() {
            return;
        }
        if let Some((job, candidate)) = self.found.pop_front() {
            self.verify(job, candidate);
        } else if self.debounce.take(Instant::now()) {
            self.scan();
        }
    }

    async fn settle(&mut self, work: Work) {
        match work {
            Work::Scanned(files) => self.sort_out(files),
            Work::Idle(job, candidate) => self.leave_as_it_is(job, candidate).await,
            Work::Prepared(job, candidate, result) => match *result {
                Ok(prepared) => self.put_into_service(job, candidate, prepared).await,
                Err(error) => self.refuse(job, Some(candidate.digest), error.into()).await,
            },
            Work::Failed(job, error) => self.refuse(job, None, error.into()).await,
            Work::Configured(relinked) => self.apply(*relinked).await,
        }
    }

    /// Looks at the files of the plugins, whether or not they are watched.
    pub(super) fn look_at_files(&mut self) {
        self.debounce.note(Instant::now());
    }

    fn scan(&mut self) {
        let files = self.slots().into_iter().filter_map(|slot| {
            let path = place(&self.config.directory, &slot.name).ok()?;
            Some((slot.name.to_string(), path))
        });
        let (files, marks): (Vec<_>, _) = (files.collect(), self.marks.clone());
        let loader = Arc::clone(&self.loader);
        self.work = Some(Box::pin(async move {
            let changed = tokio::task::spawn_blocking(move || changed_files(files, &marks)).await.unwrap_or_default();
            let mut read = Vec::with_capacity(changed.len());
            for (name, path, mark) in changed {
                let candidate = loader.read(&name, path).await;
                read.push((name, mark, candidate));
            }
            Work::Scanned(read)
        }));
    }

    fn sort_out(&mut self, files: Vec<(String, Mark, Result<Candidate, LoadError>)>) {
        for (name, mark, candidate) in files {
            let Some(slot) = self.shared.slot(&name) else { continue };
            self.marks.insert(name.clone(), mark);
            match candidate {
                Ok(candidate) if self.broken.get(&name) == Some(&candidate.digest) => {}
                Ok(candidate) => {
                    let job = Job { slot, kind: JobKind::File, author: Author::default(), reply: None };
                    self.found.retain(|(waiting, _)| *waiting.slot.name != *name);
                    self.found.push_back((job, candidate));
                }
                // It was replaced or removed meanwhile; then there is another change to come.
                Err(error) => {
                    self.marks.remove(&name);
                    tracing::info!(target: "omnivisor::plugin", plugin = name, %error, "a plugin's file cannot be read now");
                }
            }
        }
    }

    /// Deals with all that calls, time and the end of calls brought.
    async fn look(&mut self, now: Instant) {
        self.retry_at = None;
        for slot in self.slots() {
            for given_up in slot.take_given_up() {
                self.follow(&slot, given_up, now).await;
            }
            self.announce_quarantine(&slot).await;
            self.end_probations(&slot, now).await;
        }
        self.drain(now);
    }

    /// Calls go to the generation before already; now it is written down and told.
    async fn follow(&mut self, slot: &Arc<Slot>, given_up: GivenUp, now: Instant) {
        self.leave(slot, &given_up.generation, now);
        let active = slot.routing().active.digest().to_owned();
        let digest = given_up.generation.digest().to_owned();
        let record = slot.record().reverted(&digest, &active);
        let reason = format!("probation {digest}: {}", given_up.reason);
        let entry = SwapEntry { reason, ..self.entry(slot, "plugin.rollback", Author::default()) };
        if let Err(reason) = self.log.commit(record.clone(), entry).await {
            tracing::error!(target: "omnivisor::plugin", plugin = &*slot.name, reason, "a roll-back cannot be written down");
            slot.give_up_again(given_up);
            self.retry_at = Some(now + RETRY);
            return;
        }
        tracing::warn!(
            target: "omnivisor::plugin",
            plugin = &*slot.name, generation = given_up.generation.id, digest, reason = given_up.reason,
            "a new generation failed too often and was given up"
        );
        slot.set_record(record);
        slot.count(SwapResult::GivenUp);
        self.publish();
        self.tell(slot, PluginEventKind::RolledBack, &given_up.reason).await;
    }

    async fn announce_quarantine(&mut self, slot: &Arc<Slot>) {
        let reach = slot.reach();
        let before = self.reaches.insert(Arc::clone(&slot.name), reach).unwrap_or(Reach::Nobody);
        if reach == before {
            return;
        }
        let reason = slot.failures().pop().map(|failure| failure.message).unwrap_or_default();
        let kind = if reach == Reach::Nobody { PluginEventKind::Released } else { PluginEventKind::Quarantined };
        if kind == PluginEventKind::Quarantined {
            tracing::warn!(
                target: "omnivisor::plugin",
                plugin = &*slot.name, reach = ?reach, reason, "a plugin that keeps failing is quarantined"
            );
        } else {
            tracing::info!(target: "omnivisor::plugin", plugin = &*slot.name, "a plugin is called again");
        }
        self.tell(slot, kind, &reason).await;
    }

    async fn end_probations(&mut self, slot: &Arc<Slot>, now: Instant) {
        let routing = slot.routing();
        if routing.active.probation_until().is_some_and(|until| until <= now) {
            routing.active.end_probation(now);
        }
        let Some((canary, _)) = &routing.canary else { return };
        if canary.probation_until().is_some_and(|until| until > now) || !canary.end_probation(now) {
            return;
        }
        let record = slot.record();
        let record = record.activated(canary.digest(), record.generation);
        let reason = format!("promoted {}", canary.digest());
        let entry = SwapEntry { reason, ..self.entry(slot, "plugin.install", Author::default()) };
        if let Err(reason) = self.log.commit(record.clone(), entry).await {
            tracing::error!(target: "omnivisor::plugin", plugin = &*slot.name, reason, "a promotion cannot be written down");
            self.retry_at = Some(now + RETRY);
            return;
        }
        slot.set_record(record);
        self.activate(slot, canary).await;
    }

    /// Calls of generations that are out of service end, or are ended.
    fn drain(&mut self, now: Instant) {
        self.leaving.retain_mut(|leaving| {
            let generation = &leaving.generation;
            if generation.state() != GenerationState::Draining {
                return false; // it serves again
            }
            if generation.in_flight() == 0 {
                generation.drained(now);
                let (plugin, drain) = (&*leaving.slot.name, generation.drain());
                tracing::debug!(target: "omnivisor::plugin", plugin, generation = generation.id, ?drain, "drained");
                return false;
            }
            if leaving.revoke_at.is_some_and(|at| at <= now) {
                leaving.revoke_at = None;
                let (plugin, calls) = (&*leaving.slot.name, generation.in_flight());
                tracing::warn!(
                    target: "omnivisor::plugin",
                    plugin, generation = generation.id, calls, "calls of a generation out of service are ended"
                );
                generation.revoke();
            }
            true
        });
    }

    /// When there is something to do without anybody asking.
    fn due(&self) -> Option<Instant> {
        let slots = self.shared.slots.load();
        let probations = slots.iter().flat_map(|slot| {
            let routing = slot.routing();
            let canary = routing.canary.as_ref().map(|(canary, _)| canary);
            let watched = [Some(&routing.active), canary].into_iter().flatten();
            watched.filter_map(|generation| generation.probation_until()).collect::<Vec<_>>()
        });
        let revocations = self.leaving.iter().filter_map(|leaving| leaving.revoke_at);
        let files = self.debounce.due().filter(|_| self.work.is_none());
        probations.chain(revocations).chain(self.retry_at).chain(files).min()
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.shared.slots.load().to_vec()
    }

    /// Lets calls of a generation end.
    pub(super) fn leave(&mut self, slot: &Arc<Slot>, generation: &Arc<Generation>, now: Instant) {
        let left = generation.left().unwrap_or(now);
        let revoke_at = Some(left + generation.prepared.granted.limits.time + REVOKE_MARGIN);
        // One that was put back and leaves again before anybody looked is here still, with the calls of its first time.
        self.leaving.retain(|leaving| !Arc::ptr_eq(&leaving.generation, generation));
        self.leaving.push(Leaving { slot: Arc::clone(slot), generation: Arc::clone(generation), revoke_at });
        self.drain(now);
    }

    /// Puts a generation that was written down into service.
    pub(super) async fn activate(&mut self, slot: &Arc<Slot>, generation: &Arc<Generation>) {
        let now = Instant::now();
        if let Some(left) = slot.activate(generation, now) {
            self.leave(slot, &left, now);
        }
        self.serve(slot, generation, SwapResult::Activated, PluginEventKind::Activated).await;
    }

    /// Counts, publishes and tells what serves now.
    pub(super) async fn serve(
        &mut self,
        slot: &Arc<Slot>,
        generation: &Arc<Generation>,
        result: SwapResult,
        kind: PluginEventKind,
    ) {
        tracing::info!(
            target: "omnivisor::plugin",
            plugin = &*slot.name, generation = generation.id, digest = generation.digest(), result = result.as_str(),
            "plugin swapped"
        );
        slot.count(result);
        self.publish();
        self.tell(slot, kind, "").await;
        self.prune().await;
    }

    pub(super) fn entry(&self, slot: &Arc<Slot>, what: &'static str, author: Author) -> SwapEntry {
        SwapEntry { what, plugin: slot.name.to_string(), author, is_done: true, reason: String::new() }
    }

    pub(super) fn publish(&self) {
        self.publish.send_replace(Arc::new(serving::set(&self.config, &self.shared.slots.load())));
    }

    pub(super) async fn tell(&mut self, slot: &Arc<Slot>, kind: PluginEventKind, reason: &str) {
        let report = Box::new(slot.report());
        let event = PluginEvent { at: SystemTime::now(), kind, reason: reason.to_owned(), report };
        // Nobody listens once the host goes down.
        drop(self.events.send(event).await);
    }

    /// Removes copies of components that no way leads back to.
    pub(super) async fn prune(&mut self) {
        let mut keep = BTreeSet::new();
        for slot in self.slots() {
            let (record, routing) = (slot.record(), slot.routing());
            keep.extend([Some(record.active), record.previous].into_iter().flatten());
            keep.extend(routing.canary.iter().map(|(canary, _)| canary.digest().to_owned()));
        }
        let kept = self.kept.clone();
        let pruned = tokio::task::spawn_blocking(move || kept.prune(&keep)).await;
        if let Ok(Err(error)) = pruned {
            tracing::warn!(target: "omnivisor::plugin", %error, "old components cannot be removed");
        }
    }
}

async fn finished(work: &mut Option<BoxFuture<'static, Work>>) -> Work {
    let Some(future) = work else { return std::future::pending().await };
    let done = future.await;
    *work = None;
    done
}
