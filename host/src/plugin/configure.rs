//! Another configuration: the same components under other limits and grants, plugins that come and plugins that go.

use crate::config::PluginsConfig;
use crate::plugin::generation::Generation;
use crate::plugin::keeper::{Keeper, Reply, Work};
use crate::plugin::load::{Compiled, Loader, Prepared, limits, wanted};
use crate::plugin::report::PluginEventKind;
use crate::plugin::slot::{Slot, SwapResult};
use crate::plugin::start::{self, Started};
use crate::plugin::swap::chain;
use crate::plugin::{Author, LoadError, PluginClass, SwapEntry, SwapError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// What a configuration makes of the plugins, prepared and not yet in force.
pub(super) struct Relinked {
    config: PluginsConfig,
    adapters: BTreeSet<String>,
    author: Author,
    reply: Reply<Vec<String>>,
    /// In the configuration's order.
    plugins: Vec<(String, Change)>,
    errors: Vec<LoadError>,
}

enum Change {
    None(Arc<Slot>),
    /// The same components, the first of which serves.
    Same(Arc<Slot>, Vec<Prepared>),
    New(Box<Started>),
}

impl Keeper {
    pub(super) fn configure(
        &mut self,
        config: PluginsConfig,
        adapters: BTreeSet<String>,
        author: Author,
        reply: Reply<Vec<String>>,
    ) {
        // Where plugins lie, and whether somebody looks, is settled when the host starts.
        let (directory, watch) = (self.config.directory.clone(), self.config.watch);
        let config = PluginsConfig { directory, watch, ..config };
        let (loader, old, kept) = (Arc::clone(&self.loader), Arc::clone(&self.config), self.kept.clone());
        let (shared, log) = (Arc::clone(&self.shared), Arc::clone(&self.log));
        self.work = Some(Box::pin(async move {
            let (mut plugins, mut errors) = (Vec::new(), Vec::new());
            let records = log.read().unwrap_or_default();
            for (class, name) in wanted(&config, &adapters) {
                let changed = match shared.slot(&name).filter(|slot| slot.class == class) {
                    Some(slot) if is_same(&old, &config, class, &name) => Ok(Change::None(slot)),
                    Some(slot) => relink(&loader, &config, &slot).await.map(|made| Change::Same(slot, made)),
                    None => {
                        let record = records.get(&name).cloned().unwrap_or_default();
                        start::one(&loader, &config, &kept, class, name.clone(), record)
                            .await
                            .map(|started| Change::New(Box::new(started)))
                    }
                };
                match changed {
                    Ok(change) => plugins.push((name, change)),
                    Err(error) => errors.push(error),
                }
            }
            Work::Configured(Box::new(Relinked { config, adapters, author, reply, plugins, errors }))
        }));
    }

    /// All or nothing: what cannot be prepared or written down leaves everything as it was.
    pub(super) async fn apply(&mut self, relinked: Relinked) {
        let Relinked { config, adapters, author, reply, plugins, errors } = relinked;
        if !errors.is_empty() {
            let error = SwapError::Several(errors);
            let entry = SwapEntry {
                what: "plugin.configure",
                plugin: String::new(),
                author,
                is_done: false,
                reason: chain(&error),
            };
            if let Err(reason) = self.log.note(entry).await {
                tracing::error!(target: "omnivisor::plugin", reason, "a failed reload cannot be audited");
            }
            drop(reply.send(Err(error)));
            return;
        }
        match self.put_in_force(config, author, plugins).await {
            Ok(changed) => {
                self.adapters = adapters;
                drop(reply.send(Ok(changed)));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
        // Files may have changed unseen.
        self.look_at_files();
    }

    async fn put_in_force(
        &mut self,
        config: PluginsConfig,
        author: Author,
        plugins: Vec<(String, Change)>,
    ) -> Result<Vec<String>, SwapError> {
        let (mut slots, mut changed, mut relinked) = (Vec::new(), Vec::new(), Vec::new());
        for (name, change) in plugins {
            match change {
                Change::None(slot) => slots.push(slot),
                Change::Same(slot, made) => {
                    let record = slot.record();
                    let next = record.canary(&record.active, record.generation.saturating_add(1));
                    let reason = format!("limits or grants of {}", record.active);
                    let entry = SwapEntry { reason, ..self.entry(&slot, "plugin.configure", author.clone()) };
                    let failed = |reason| SwapError::NotKept { plugin: name.clone(), reason };
                    self.log.commit(next.clone(), entry).await.map_err(failed)?;
                    slot.set_record(next.clone());
                    changed.push(name);
                    relinked.push((Arc::clone(&slot), made, next.generation));
                    slots.push(slot);
                }
                Change::New(started) => {
                    changed.push(started.name().to_owned());
                    slots.push(started.into_slot(&config, &*self.log, &self.wake).await?);
                }
            }
        }
        let gone: Vec<Arc<Slot>> =
            self.slots().into_iter().filter(|old| !slots.iter().any(|slot| Arc::ptr_eq(slot, old))).collect();
        let now = Instant::now();
        for (slot, made, generation) in relinked {
            self.exchange(&slot, made, generation, now);
        }
        let is_touched = |slot: &&Arc<Slot>| changed.iter().any(|name| **name == *slot.name);
        let touched: Vec<Arc<Slot>> = slots.iter().filter(is_touched).cloned().collect();
        self.shared.slots.store(Arc::new(slots));
        self.config = Arc::new(config);
        self.publish();
        for slot in touched {
            self.tell(&slot, PluginEventKind::Activated, "configured").await;
        }
        for slot in gone {
            self.tell(&slot, PluginEventKind::Removed, "").await;
            changed.push(slot.name.to_string());
            let left = slot.routing();
            left.active.retire(now);
            self.leave(&slot, &left.active, now);
        }
        Ok(changed)
    }

    /// Puts the same components into service under the new configuration. One that was given up while the others were
    /// linked stays given up.
    fn exchange(&mut self, slot: &Arc<Slot>, made: Vec<Prepared>, generation: u64, now: Instant) {
        let routing = slot.routing();
        let mut made: Vec<Arc<Generation>> =
            made.into_iter().map(|prepared| Arc::new(Generation::new(generation, prepared, None))).collect();
        let take = |made: &mut Vec<Arc<Generation>>, digest: &str| {
            let at = made.iter().position(|generation| generation.digest() == digest)?;
            Some(made.swap_remove(at))
        };
        let Some(active) = take(&mut made, routing.active.digest()) else {
            tracing::error!(target: "omnivisor::plugin", plugin = &*slot.name, "the serving component was not linked anew");
            return;
        };
        let previous = routing.previous.as_ref().and_then(|previous| take(&mut made, previous.digest()));
        for left in slot.reconfigure(&active, previous, now) {
            self.leave(slot, &left, now);
        }
        slot.count(SwapResult::Activated);
    }
}

/// Whether a plugin is told, granted and allowed the same by both.
fn is_same(old: &PluginsConfig, new: &PluginsConfig, class: PluginClass, name: &str) -> bool {
    limits(old, class) == limits(new, class) && old.grants.get(name) == new.grants.get(name)
}

/// Links what serves, and what can be gone back to, under another configuration. A way back that is closed by it is no
/// fault.
async fn relink(loader: &Loader, config: &PluginsConfig, slot: &Arc<Slot>) -> Result<Vec<Prepared>, LoadError> {
    let routing = slot.routing();
    let compiled = |generation: &Arc<Generation>| -> Compiled { generation.prepared.compiled.clone() };
    let mut made = vec![loader.link_anew(config, slot.class, &slot.name, compiled(&routing.active)).await?];
    if let Some(previous) = &routing.previous {
        match loader.link_anew(config, slot.class, &slot.name, compiled(previous)).await {
            Ok(prepared) => made.push(prepared),
            Err(error) => tracing::warn!(
                target: "omnivisor::plugin",
                plugin = &*slot.name, %error, "the generation before does not fit the new configuration"
            ),
        }
    }
    Ok(made)
}
