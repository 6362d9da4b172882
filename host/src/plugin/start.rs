//! The first generation of a plugin: from its file, or from what served last where the file cannot.

use crate::config::PluginsConfig;
use crate::plugin::generation::Generation;
use crate::plugin::keeper::probation;
use crate::plugin::kept::Kept;
use crate::plugin::load::{Candidate, Loader, Prepared, aside, place};
use crate::plugin::slot::Slot;
use crate::plugin::{Author, GenerationLog, GenerationRecord, LoadError, PluginClass, SwapEntry};
use std::sync::Arc;
use tokio::sync::Notify;

/// A plugin that can begin to serve.
pub(super) struct Started {
    class: PluginClass,
    name: String,
    active: Prepared,
    /// The component that served before the host was stopped, where the file is another one now.
    previous: Option<Prepared>,
    /// The file does not serve; what was kept does.
    is_fallback: bool,
    record: GenerationRecord,
}

/// Finds the component that is to serve and makes it a plugin.
pub(super) async fn one(
    loader: &Loader,
    config: &PluginsConfig,
    kept: &Kept,
    class: PluginClass,
    name: String,
    record: GenerationRecord,
) -> Result<Started, LoadError> {
    let from_file = async {
        let candidate = loader.read(&name, place(&config.directory, &name)?).await?;
        if record.is_refused(&candidate.digest) {
            return Err(LoadError::Refused { plugin: name.clone(), digest: candidate.digest });
        }
        let prepared = loader.prepare(config, class, &name, candidate.clone()).await?;
        Ok((candidate, prepared))
    };
    let error = match from_file.await {
        Ok((candidate, active)) => {
            keep(kept, &name, candidate).await;
            let was_other = !record.active.is_empty() && *record.active != *active.compiled.digest;
            let mut previous = None;
            if was_other {
                previous = from_kept(loader, config, kept, class, &name, &record.active).await.ok();
            }
            return Ok(Started { class, name, active, previous, is_fallback: false, record });
        }
        Err(error) => error,
    };
    for digest in [Some(record.active.clone()), record.previous.clone()].into_iter().flatten() {
        if digest.is_empty() {
            continue;
        }
        match from_kept(loader, config, kept, class, &name, &digest).await {
            Ok(active) => {
                tracing::warn!(
                    target: "omnivisor::plugin",
                    plugin = name, digest, error = &error as &dyn std::error::Error,
                    "the plugin's file does not serve; the component that served before does"
                );
                return Ok(Started { class, name, active, previous: None, is_fallback: true, record });
            }
            Err(reason) => {
                tracing::warn!(target: "omnivisor::plugin", plugin = name, digest, %reason, "a kept component does not serve");
            }
        }
    }
    Err(error)
}

/// A plugin of a component that was kept.
pub(super) async fn from_kept(
    loader: &Loader,
    config: &PluginsConfig,
    kept: &Kept,
    class: PluginClass,
    name: &str,
    digest: &str,
) -> Result<Prepared, LoadError> {
    loader.prepare(config, class, name, find(kept, name, digest, loader.component_bytes_max()).await?).await
}

/// A component that was kept.
pub(super) async fn find(kept: &Kept, name: &str, digest: &str, bytes_max: usize) -> Result<Candidate, LoadError> {
    let (kept, plugin, digest) = (kept.clone(), name.to_owned(), digest.to_owned());
    aside(name, move || {
        let bytes = kept.find(&digest, bytes_max).map_err(|source| LoadError::Unreadable {
            plugin,
            path: kept.path(&digest),
            source,
        })?;
        Ok(Candidate { bytes: bytes.into(), digest })
    })
    .await
}

/// Without its copy a plugin serves all the same; only the way back to it is closed.
async fn keep(kept: &Kept, name: &str, candidate: Candidate) {
    let (kept, plugin) = (kept.clone(), name.to_owned());
    let work = move || {
        let path = kept.path(&candidate.digest);
        kept.keep(&candidate.digest, &candidate.bytes).map_err(|source| LoadError::Unreadable { plugin, path, source })
    };
    if let Err(error) = aside(name, work).await {
        tracing::warn!(
            target: "omnivisor::plugin",
            plugin = name, error = &error as &dyn std::error::Error,
            "the component cannot be kept, so that there will be no way back to it"
        );
    }
}

/// All or nothing.
pub(super) fn sorted(results: Vec<Result<Started, LoadError>>) -> (Vec<Started>, Vec<LoadError>) {
    let (mut all, mut errors) = (Vec::new(), Vec::<LoadError>::new());
    for result in results {
        match result {
            Ok(started) => all.push(started),
            Err(error) => errors.push(error),
        }
    }
    (all, errors)
}

impl Started {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes down what is new and gives the plugin its place. A component that was not there when the host was
    /// stopped is on probation, as any other.
    pub(super) async fn into_slot(
        self,
        config: &PluginsConfig,
        log: &dyn GenerationLog,
        wake: &Arc<Notify>,
    ) -> Result<Arc<Slot>, LoadError> {
        let Self { class, name, active, previous, is_fallback, mut record } = self;
        let digest = active.compiled.digest.to_string();
        let id = record.generation.saturating_add(1);
        if record.active != digest {
            let bad = record.active.clone();
            record = if is_fallback { record.reverted(&bad, &digest) } else { record.activated(&digest, id) };
            let what = if is_fallback { "plugin.rollback" } else { "plugin.install" };
            let reason = format!("start {digest}");
            let entry = SwapEntry { what, plugin: name.clone(), author: Author::default(), is_done: true, reason };
            let failed = |reason| LoadError::Record { plugin: name.clone(), reason };
            log.commit(record.clone(), entry).await.map_err(failed)?;
        }
        let watched = previous.is_some().then(|| probation(config));
        let previous = previous.map(|prepared| Arc::new(Generation::new(id.saturating_sub(1), prepared, None)));
        let active = Arc::new(Generation::new(id, active, watched));
        Ok(Arc::new(Slot::new(&name, class, active, previous, record, Arc::clone(wake))))
    }
}
