use crate::config::{CallLimits, PluginsConfig};
use crate::model::NodeId;
use crate::plugin::auth::{AuthStrategy, Linked as LinkedStrategy};
use crate::plugin::call::{Callee, Ties};
use crate::plugin::grant::{Asked, Granted, settle};
use crate::plugin::inspect::inspect;
use crate::plugin::kept::digest_of;
use crate::plugin::node::{self, NodeAdapter};
use crate::plugin::serving::lenient;
use crate::plugin::state::CallState;
use crate::plugin::text::clean;
use crate::plugin::ticker::Ticker;
use crate::plugin::validate::{self, InputValidator};
use crate::plugin::{
    Adapter, LoadError, Manifest, PluginClass, PluginCounters, PluginSet, Services, Strategy, Validator, engine,
    imports,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// Plugins ready to serve, and what is known of each.
pub struct LoadedPlugins {
    /// The set.
    pub set: Arc<PluginSet>,
    /// Each plugin of the set, in the order strategies, validators, adapters.
    pub plugins: Vec<LoadedPlugin>,
}

/// One plugin that was loaded.
#[derive(Debug, Clone)]
pub struct LoadedPlugin {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub class: PluginClass,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// What it says of itself and asks for.
    pub manifest: Manifest,
    /// How long compiling it took, or reading what was compiled before.
    pub compile_time: Duration,
    /// What it has done since.
    pub counters: Arc<PluginCounters>,
}

/// Loads the plugins that the configuration names and the `adapters` that its nodes name, each from
/// `directory/NAME.wasm`: inspects, compiles, links, and asks each what it is. They serve as they are, without swaps,
/// quarantine or probation; those are [`Platform`](crate::plugin::Platform)'s.
///
/// Files are read and inspected on blocking threads; compiling is the toolchain's. All or nothing: with one fault there
/// is no set.
///
/// # Errors
/// One [`LoadError`] for each plugin that cannot serve, so that all are told at once.
///
/// # Cancel safety
/// Dropping the future ends a compilation under way in a child; one in this process ends by itself.
pub async fn load(
    config: &PluginsConfig,
    adapters: &BTreeSet<String>,
    services: Services,
) -> Result<LoadedPlugins, Vec<LoadError>> {
    let loader = Loader::new(services).map_err(|error| vec![error])?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let loader = &loader;
    let results: Vec<_> = futures_util::stream::iter(wanted(config, adapters))
        .map(|(class, name)| async move {
            let candidate = loader.read(&name, place(&config.directory, &name)?).await?;
            let prepared = loader.prepare(config, class, &name, candidate).await?;
            Ok((name, class, prepared))
        })
        .buffered(cores)
        .collect()
        .await;
    assemble(config, results)
}

fn assemble(
    config: &PluginsConfig,
    results: Vec<Result<(String, PluginClass, Prepared), LoadError>>,
) -> Result<LoadedPlugins, Vec<LoadError>> {
    let mut set = PluginSet { lenient: lenient(config), ..PluginSet::default() };
    let (mut plugins, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok((name, class, Prepared { ready, ties, compiled, granted })) => {
                match ready {
                    Ready::Strategy(strategy) => set.strategies.push(strategy),
                    Ready::Validator(validator) => set.validators.push(validator),
                    Ready::Adapter(adapter) => drop(set.adapters.insert(name.clone(), adapter)),
                }
                let Compiled { digest, size_bytes, compile_time, .. } = compiled;
                let (digest, counters) = (digest.to_string(), ties.counters);
                let manifest = granted.manifest.clone();
                plugins.push(LoadedPlugin { name, class, digest, size_bytes, manifest, compile_time, counters });
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(LoadedPlugins { set: Arc::new(set), plugins }) } else { Err(errors) }
}

/// A linked component that said what it is.
#[derive(Clone)]
pub(super) enum Ready {
    Strategy(Arc<dyn Strategy>),
    Validator(Arc<dyn Validator>),
    Adapter(Arc<dyn Adapter>),
}

/// What makes plugins of files: one for a host, because the engines and their ticker are.
pub(super) struct Loader {
    engines: BTreeMap<PluginClass, Engine>,
    ticker: Arc<Ticker>,
    services: Services,
}

/// A component, compiled. Cheap to clone.
#[derive(Clone)]
pub(super) struct Compiled {
    component: Component,
    /// What it was compiled from, for its wishes are read again when its grants change.
    bytes: Bytes,
    pub digest: Arc<str>,
    pub size_bytes: u64,
    pub compile_time: Duration,
}

/// A component with its digest, before anything is known of it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub bytes: Bytes,
    pub digest: String,
}

/// A plugin that could serve at once.
pub(super) struct Prepared {
    pub ready: Ready,
    pub ties: Ties,
    pub granted: Arc<Granted>,
    pub compiled: Compiled,
}

impl Loader {
    pub(super) fn new(services: Services) -> Result<Self, LoadError> {
        let mut engines = BTreeMap::new();
        for class in PluginClass::ALL {
            let engine = engine::build(class, engine::slots(class))
                .map_err(|error| LoadError::Engine { class, reason: format!("{error:#}") })?;
            engines.insert(class, engine);
        }
        let ticking: Vec<Engine> = engines.values().cloned().collect();
        let ticker = Ticker::start(&ticking).map_err(|error| LoadError::Engine {
            class: PluginClass::Adapter,
            reason: format!("no thread to watch the time: {error}"),
        })?;
        Ok(Self { engines, ticker: Arc::new(ticker), services })
    }

    /// Bytes that a component may have.
    pub(super) fn component_bytes_max(&self) -> usize {
        self.services.toolchain.component_bytes_max()
    }

    /// Reads a plugin's file, once: what is inspected is what is compiled and what the digest is of, whatever becomes
    /// of the file.
    pub(super) async fn read(&self, plugin: &str, path: PathBuf) -> Result<Candidate, LoadError> {
        let (name, bytes_max) = (plugin.to_owned(), self.component_bytes_max());
        aside(plugin, move || read(&name, &path, bytes_max).map(Candidate::new)).await
    }

    /// Makes a plugin of a component: inspects, compiles, links, and asks it what it is.
    pub(super) async fn prepare(
        &self,
        config: &PluginsConfig,
        class: PluginClass,
        name: &str,
        candidate: Candidate,
    ) -> Result<Prepared, LoadError> {
        let granted = self.settle_aside(config, class, name, candidate.bytes.clone()).await?;
        let compiled = self.compile(class, name, candidate).await?;
        let prepared = self.link(class, name, compiled, granted).await?;
        let Compiled { digest, size_bytes, compile_time, .. } = &prepared.compiled;
        let version = prepared.granted.manifest.version.as_ref().map(tracing::field::display);
        tracing::info!(
            target: "omnivisor::plugin",
            plugin = name, %class, version, %digest, size_bytes, ?compile_time, "plugin loaded"
        );
        Ok(prepared)
    }

    /// Makes a plugin of a component that was compiled before: settles what it may do now, links it and asks it what it
    /// is.
    pub(super) async fn link_anew(
        &self,
        config: &PluginsConfig,
        class: PluginClass,
        name: &str,
        compiled: Compiled,
    ) -> Result<Prepared, LoadError> {
        let granted = self.settle_aside(config, class, name, compiled.bytes.clone()).await?;
        self.link(class, name, compiled, granted).await
    }

    async fn compile(&self, class: PluginClass, name: &str, candidate: Candidate) -> Result<Compiled, LoadError> {
        let Candidate { bytes, digest } = candidate;
        let (size_bytes, started) = (bytes.len() as u64, Instant::now());
        let component = self.services.toolchain.make(self.engine(class)?, name, bytes.clone(), &digest).await?;
        let compile_time = started.elapsed();
        Ok(Compiled { component, bytes, digest: Arc::from(digest), size_bytes, compile_time })
    }

    async fn link(
        &self,
        class: PluginClass,
        name: &str,
        compiled: Compiled,
        granted: Arc<Granted>,
    ) -> Result<Prepared, LoadError> {
        let linked = link(self.engine(class)?, class, name, &compiled.component, &granted)?;
        let ties = Ties::default();
        let ready = self.describe(class, name, Arc::clone(&granted), linked, &ties).await?;
        Ok(Prepared { ready, ties, granted, compiled })
    }

    /// Inspects a component and settles what it may do.
    async fn settle_aside(
        &self,
        config: &PluginsConfig,
        class: PluginClass,
        name: &str,
        component: Bytes,
    ) -> Result<Arc<Granted>, LoadError> {
        // Not all come from a file.
        let bytes_max = self.component_bytes_max();
        if component.len() > bytes_max {
            return Err(LoadError::TooLarge { plugin: name.to_owned(), bytes_max: bytes_max as u64 });
        }
        let (plugin, config, limits) = (name.to_owned(), config.grant(name), limits(config, class));
        let services = self.services.clone();
        aside(name, move || {
            inspect(&plugin, class, &component)?;
            let (component, config, limits, services) = (&*component, &config, &limits, &services);
            settle(&Asked { plugin: &plugin, class, component, config, limits, services }).map(Arc::new)
        })
        .await
    }

    async fn describe(
        &self,
        class: PluginClass,
        name: &str,
        granted: Arc<Granted>,
        linked: InstancePre<CallState>,
        ties: &Ties,
    ) -> Result<Ready, LoadError> {
        let misfit = |error: wasmtime::Error| LoadError::Link {
            plugin: name.to_owned(),
            class,
            reason: clean(&format!("{error:#}"), 512),
        };
        let callee = CalleeParts { name, class, granted, engine: self.engine(class)?, ticker: &self.ticker, ties };
        Ok(match class {
            PluginClass::Auth => {
                let callee = callee.with(LinkedStrategy::new(linked).map_err(misfit)?);
                Ready::Strategy(Arc::new(AuthStrategy::describe(callee, self.services.clone()).await?))
            }
            PluginClass::Validate => {
                let callee = callee.with(validate::Linked::new(linked).map_err(misfit)?);
                Ready::Validator(Arc::new(InputValidator::describe(callee).await?))
            }
            PluginClass::Adapter => {
                let callee = callee.with(node::Linked::new(linked).map_err(misfit)?);
                Ready::Adapter(Arc::new(NodeAdapter::describe(callee).await?))
            }
        })
    }

    fn engine(&self, class: PluginClass) -> Result<&Engine, LoadError> {
        self.engines.get(&class).ok_or_else(|| LoadError::Engine { class, reason: "it was never made".to_owned() })
    }
}

/// What a callee of any world is made of.
struct CalleeParts<'a> {
    name: &'a str,
    class: PluginClass,
    granted: Arc<Granted>,
    engine: &'a Engine,
    ticker: &'a Arc<Ticker>,
    ties: &'a Ties,
}

impl CalleeParts<'_> {
    fn with<P: Send + Sync>(self, linked: P) -> Callee<P> {
        let Self { name, class, granted, engine, ticker, ties } = self;
        Callee::new(Arc::from(name), class, granted, linked, engine.clone(), Arc::clone(ticker), ties.clone())
    }
}

/// How far a call of a plugin of this kind may go.
pub(super) fn limits(config: &PluginsConfig, class: PluginClass) -> CallLimits {
    match class {
        PluginClass::Auth => config.auth_limits,
        PluginClass::Validate => config.validate_limits,
        PluginClass::Adapter => config.adapter_limits,
    }
}

/// The plugins that a configuration wants, in the order strategies, validators, adapters.
pub(super) fn wanted(config: &PluginsConfig, adapters: &BTreeSet<String>) -> Vec<(PluginClass, String)> {
    [
        (PluginClass::Auth, config.auth.iter().collect::<Vec<_>>()),
        (PluginClass::Validate, config.validate.iter().collect()),
        (PluginClass::Adapter, adapters.iter().collect()),
    ]
    .into_iter()
    .flat_map(|(class, names)| names.into_iter().map(move |name| (class, name.clone())))
    .collect()
}

/// Where a plugin's file is looked for.
pub(super) fn place(directory: &Path, name: &str) -> Result<PathBuf, LoadError> {
    // The rule for a node's name leaves no way to leave the directory.
    NodeId::parse(name).map_err(|_| LoadError::Name { plugin: clean(name, 64) })?;
    Ok(directory.join(format!("{name}.wasm")))
}

impl Candidate {
    /// Blocks for as long as the digest takes.
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: digest_of(&bytes), bytes }
    }
}

/// Does blocking work for a plugin on a thread where nobody waits behind it.
pub(super) async fn aside<T: Send + 'static>(
    plugin: &str,
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(target: "omnivisor::plugin", plugin, %error, "work for a plugin did not end well");
        Err(LoadError::Compile { plugin: plugin.to_owned(), reason: "the host failed at it".to_owned() })
    })
}

/// Reads a component's file, one byte more than it may have at most.
pub(super) fn read(plugin: &str, path: &Path, bytes_max: usize) -> Result<Vec<u8>, LoadError> {
    let failed = |source: io::Error| {
        let (plugin, path) = (plugin.to_owned(), path.to_owned());
        if source.kind() == io::ErrorKind::NotFound {
            LoadError::Missing { plugin, path }
        } else {
            LoadError::Unreadable { plugin, path, source }
        }
    };
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(LoadError::TooLarge { plugin: plugin.to_owned(), bytes_max: bytes_max as u64 });
    }
    Ok(bytes)
}

fn link(
    engine: &Engine,
    class: PluginClass,
    plugin: &str,
    component: &Component,
    granted: &Granted,
) -> Result<InstancePre<CallState>, LoadError> {
    let mut linker = Linker::new(engine);
    imports::offer(&mut linker, class, granted).and_then(|()| linker.instantiate_pre(component)).map_err(|error| {
        LoadError::Link { plugin: plugin.to_owned(), class, reason: clean(&format!("{error:#}"), 512) }
    })
}
