//! One swap: verify aside, write down, then put into service.

use crate::plugin::generation::Generation;
use crate::plugin::keeper::{Keeper, Order, Reply, Work, probation};
use crate::plugin::kept::{Kept, digest_of, replace};
use crate::plugin::load::{Candidate, Prepared, aside, place};
use crate::plugin::report::PluginEventKind;
use crate::plugin::slot::{Slot, SwapResult};
use crate::plugin::{Author, SwapEntry, SwapError, Swapped, start};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::time::Instant;

/// A swap that somebody or something asked for.
pub(super) struct Job {
    pub slot: Arc<Slot>,
    pub kind: JobKind,
    pub author: Author,
    /// Whoever waits for it.
    pub reply: Option<Reply<Swapped>>,
}

/// What brought a swap about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    /// A component was handed in.
    Request,
    /// The plugin's file changed.
    File,
    /// The way back, to a component that has to be loaded again.
    Return,
}

impl Job {
    fn end(self, result: SwapResult) {
        self.slot.set_verifying(false);
        if let Some(reply) = self.reply {
            // Whoever asked may have left; what was done stays done.
            drop(reply.send(Ok(Swapped { result, report: self.slot.report() })));
        }
    }

    fn what(&self) -> &'static str {
        match self.kind {
            JobKind::Request | JobKind::File => "plugin.install",
            JobKind::Return => "plugin.rollback",
        }
    }
}

impl Keeper {
    pub(super) async fn begin(&mut self, order: Order) {
        let unknown = |plugin: String| Err(SwapError::Unknown { plugin });
        match order {
            Order::Install { plugin, bytes, author, reply } => match self.shared.slot(&plugin) {
                Some(slot) => {
                    let job = Job { slot, kind: JobKind::Request, author, reply: Some(reply) };
                    let digested = aside(&plugin, move || Ok(Candidate::new(bytes))).await;
                    match digested {
                        Ok(candidate) => self.verify(job, candidate),
                        Err(error) => self.refuse(job, None, error.into()).await,
                    }
                }
                None => drop(reply.send(unknown(plugin))),
            },
            Order::RollBack { plugin, author, reply } => match self.shared.slot(&plugin) {
                Some(slot) => self.roll_back(Job { slot, kind: JobKind::Return, author, reply: Some(reply) }).await,
                None => drop(reply.send(unknown(plugin))),
            },
            Order::Configure { config, adapters, author, reply } => self.configure(*config, adapters, author, reply),
        }
    }

    /// Prepares a component aside, unless it serves already or a file holds one that was refused before.
    pub(super) fn verify(&mut self, job: Job, candidate: Candidate) {
        let (loader, config) = (Arc::clone(&self.loader), Arc::clone(&self.config));
        let routing = job.slot.routing();
        let serves = |generation: &Arc<Generation>| generation.digest() == candidate.digest;
        let is_refused = job.kind == JobKind::File && job.slot.record().is_refused(&candidate.digest);
        let is_idle =
            serves(&routing.active) || routing.canary.as_ref().is_some_and(|(canary, _)| serves(canary)) || is_refused;
        if is_refused {
            tracing::warn!(
                target: "omnivisor::plugin",
                plugin = &*job.slot.name, digest = candidate.digest,
                "the plugin's file holds a component that was rolled back; it is left alone"
            );
        }
        if is_idle {
            self.work = Some(Box::pin(std::future::ready(Work::Idle(job, candidate))));
            return;
        }
        job.slot.set_verifying(true);
        self.work = Some(Box::pin(async move {
            let slot = &job.slot;
            let result = loader.prepare(&config, slot.class, &slot.name, candidate.clone()).await;
            Work::Prepared(job, candidate, Box::new(result))
        }));
    }

    /// There is nothing to swap; only the file of one who handed in a component is seen to.
    pub(super) async fn leave_as_it_is(&mut self, job: Job, candidate: Candidate) {
        if job.kind == JobKind::Request
            && let Err(error) = self.place(&job.slot, &candidate).await
        {
            return self.refuse(job, None, error).await;
        }
        if job.kind == JobKind::Request {
            job.slot.count(SwapResult::Unchanged);
        }
        job.end(SwapResult::Unchanged);
    }

    /// Reports a swap that was not done. Everything is as it was.
    pub(super) async fn refuse(&mut self, job: Job, digest: Option<String>, error: SwapError) {
        let (slot, reason) = (Arc::clone(&job.slot), chain(&error));
        tracing::warn!(
            target: "omnivisor::plugin", plugin = &*slot.name, digest, reason, "a swap failed; the plugin serves as before"
        );
        let entry = SwapEntry { is_done: false, reason, ..self.entry(&slot, job.what(), job.author.clone()) };
        if let Err(reason) = self.log.note(entry).await {
            tracing::error!(target: "omnivisor::plugin", plugin = &*slot.name, reason, "a failed swap cannot be audited");
        }
        slot.count(SwapResult::Failed);
        slot.set_verifying(false);
        if let (JobKind::File, Some(digest)) = (job.kind, digest) {
            self.broken.insert(slot.name.to_string(), digest);
        }
        if let Some(reply) = job.reply {
            drop(reply.send(Err(error)));
        }
    }

    /// Keeps the component, writes down what is to serve, and lets it serve.
    pub(super) async fn put_into_service(&mut self, job: Job, candidate: Candidate, prepared: Prepared) {
        let slot = Arc::clone(&job.slot);
        self.broken.remove(&*slot.name);
        if let Err(error) = keep(&self.kept, &slot, &candidate).await {
            return self.refuse(job, None, error).await;
        }
        if job.kind == JobKind::Request
            && let Err(error) = self.place(&slot, &candidate).await
        {
            return self.refuse(job, None, error).await;
        }
        let (record, digest) = (slot.record(), candidate.digest);
        let id = record.generation.saturating_add(1);
        let permille = self.config.grants.get(&*slot.name).map_or(0, |grant| grant.canary_permille);
        let is_canary = permille > 0 && job.kind != JobKind::Return;
        let (next, reason) = match job.kind {
            JobKind::Return => (record.reverted(&record.active, &digest), digest),
            JobKind::Request | JobKind::File if is_canary => (record.canary(&digest, id), format!("canary {digest}")),
            JobKind::Request | JobKind::File => (record.activated(&digest, id), digest),
        };
        let entry = SwapEntry { reason, ..self.entry(&slot, job.what(), job.author.clone()) };
        if let Err(reason) = self.log.commit(next.clone(), entry).await {
            let error = SwapError::NotKept { plugin: slot.name.to_string(), reason };
            return self.refuse(job, None, error).await;
        }
        slot.set_record(next);
        let now = Instant::now();
        if let Some(left) = slot.drop_canary(now) {
            self.leave(&slot, &left, now);
        }
        let watched = (job.kind != JobKind::Return).then(|| probation(&self.config));
        let generation = Arc::new(Generation::new(id, prepared, watched));
        let result = if is_canary {
            slot.begin_canary(&generation, permille);
            self.serve(&slot, &generation, SwapResult::Canary, PluginEventKind::Canary).await;
            SwapResult::Canary
        } else if job.kind == JobKind::Return {
            for left in slot.reconfigure(&generation, None, now) {
                self.leave(&slot, &left, now);
            }
            self.serve(&slot, &generation, SwapResult::RolledBack, PluginEventKind::RolledBack).await;
            SwapResult::RolledBack
        } else {
            self.activate(&slot, &generation).await;
            SwapResult::Activated
        };
        job.end(result);
    }

    async fn roll_back(&mut self, job: Job) {
        let (slot, now) = (Arc::clone(&job.slot), Instant::now());
        let (routing, record) = (slot.routing(), slot.record());
        let active = routing.active.digest();
        let next = match (&routing.canary, &routing.previous, &record.previous) {
            (Some((canary, _)), _, _) => record.reverted(canary.digest(), active),
            (None, Some(previous), _) => record.reverted(active, previous.digest()),
            (None, None, Some(digest)) => {
                let (kept, digest) = (self.kept.clone(), digest.clone());
                let (loader, config) = (Arc::clone(&self.loader), Arc::clone(&self.config));
                slot.set_verifying(true);
                self.work = Some(Box::pin(async move {
                    let slot = &job.slot;
                    match start::find(&kept, &slot.name, &digest, loader.component_bytes_max()).await {
                        Err(error) => Work::Failed(job, error),
                        Ok(candidate) => {
                            let result = loader.prepare(&config, slot.class, &slot.name, candidate.clone()).await;
                            Work::Prepared(job, candidate, Box::new(result))
                        }
                    }
                }));
                return;
            }
            (None, None, None) => {
                let error = SwapError::NoPrevious { plugin: slot.name.to_string() };
                return self.refuse(job, None, error).await;
            }
        };
        let reason = format!("{} instead of {}", next.active, next.refused.last().map_or("", String::as_str));
        let entry = SwapEntry { reason, ..self.entry(&slot, "plugin.rollback", job.author.clone()) };
        if let Err(reason) = self.log.commit(next.clone(), entry).await {
            let error = SwapError::NotKept { plugin: slot.name.to_string(), reason };
            return self.refuse(job, None, error).await;
        }
        slot.set_record(next);
        let left = if routing.canary.is_some() { slot.drop_canary(now) } else { slot.roll_back(now) };
        if let Some(left) = left {
            self.leave(&slot, &left, now);
        }
        let serving = slot.routing();
        self.serve(&slot, &serving.active, SwapResult::RolledBack, PluginEventKind::RolledBack).await;
        job.end(SwapResult::RolledBack);
    }

    /// Writes a component into the plugins' directory, unless it stands there already.
    async fn place(&mut self, slot: &Arc<Slot>, candidate: &Candidate) -> Result<(), SwapError> {
        let path = place(&self.config.directory, &slot.name)?;
        let (shown, candidate) = (path.clone(), candidate.clone());
        let written = blocking(move || place_file(&path, &candidate)).await;
        written.map_err(|error| SwapError::NotKept {
            plugin: slot.name.to_string(),
            reason: format!(
                "the file `{}` cannot be written ({error}); let this user write into the plugins' directory, or replace \
                 the file there yourself",
                shown.display()
            ),
        })
    }
}

fn place_file(path: &Path, candidate: &Candidate) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|bytes| digest_of(&bytes) == candidate.digest) {
        return Ok(());
    }
    replace(path, &candidate.bytes, 0o644)
}

async fn keep(kept: &Kept, slot: &Arc<Slot>, candidate: &Candidate) -> Result<(), SwapError> {
    let (copies, candidate) = (kept.clone(), candidate.clone());
    let shown: PathBuf = kept.path(&candidate.digest);
    let written = blocking(move || copies.keep(&candidate.digest, &candidate.bytes)).await;
    written.map_err(|error| SwapError::NotKept {
        plugin: slot.name.to_string(),
        reason: format!("its copy `{}` for the way back cannot be written ({error}); see to the disk", shown.display()),
    })
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// An error and all that caused it, for the log and the audit.
pub(super) fn chain(error: &SwapError) -> String {
    let mut text = error.to_string();
    // A load error is shown as itself, so its own source comes next.
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
