use crate::config::{CallLimits, OnFailure, PluginConfig, PluginsConfig};
use crate::model::NodeId;
use crate::plugin::auth::{AuthStrategy, Linked as LinkedStrategy};
use crate::plugin::bindings::adapter::NodeAdapterPre;
use crate::plugin::call::Callee;
use crate::plugin::grant::{Asked, Granted, calls_at_once, settle};
use crate::plugin::inspect::{COMPONENT_BYTES_MAX, inspect};
use crate::plugin::node::NodeAdapter;
use crate::plugin::state::CallState;
use crate::plugin::text::clean;
use crate::plugin::ticker::Ticker;
use crate::plugin::validate::{self, InputValidator};
use crate::plugin::{
    Adapter, LoadError, Manifest, PluginClass, PluginCounters, PluginSet, Services, Strategy, Validator, engine,
    imports,
};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
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
    /// What it says of itself.
    pub manifest: Manifest,
    /// How long compiling it took.
    pub compile_time: Duration,
    /// What it has done since.
    pub counters: Arc<PluginCounters>,
}

/// Loads the plugins that the configuration names and the `adapters` that its nodes name, each from
/// `directory/NAME.wasm`: inspects, compiles, links, and asks each what it is.
///
/// Compiling happens on blocking threads, as many at once as there are cores. All or nothing: with one fault there is
/// no set.
///
/// # Errors
/// One [`LoadError`] for each plugin that cannot serve, so that all are told at once.
///
/// # Cancel safety
/// Dropping the future leaves nothing but a compilation under way, which ends by itself.
pub async fn load(
    config: &PluginsConfig,
    adapters: &BTreeSet<String>,
    services: Services,
) -> Result<LoadedPlugins, Vec<LoadError>> {
    let wanted: Vec<(PluginClass, String)> = [
        (PluginClass::Auth, config.auth.iter().collect::<Vec<_>>()),
        (PluginClass::Validate, config.validate.iter().collect()),
        (PluginClass::Adapter, adapters.iter().collect()),
    ]
    .into_iter()
    .flat_map(|(class, names)| names.into_iter().map(move |name| (class, name.clone())))
    .collect();
    let loader = Loader::new(config, &wanted, services).map_err(|error| vec![error])?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let loader = &loader;
    let results: Vec<_> = futures_util::stream::iter(wanted)
        .map(|(class, name)| async move { loader.load(class, &name).await })
        .buffered(cores)
        .collect()
        .await;
    assemble(results, lenient(&config.grants))
}

/// The plugins whose failure does not refuse a request.
fn lenient(grants: &BTreeMap<String, PluginConfig>) -> BTreeSet<String> {
    let lenient = grants.iter().filter(|(_, grant)| grant.on_failure == OnFailure::Allow);
    lenient.map(|(name, _)| name.clone()).collect()
}

fn assemble(
    results: Vec<Result<(LoadedPlugin, Ready), LoadError>>,
    lenient: BTreeSet<String>,
) -> Result<LoadedPlugins, Vec<LoadError>> {
    let mut set = PluginSet { lenient, ..PluginSet::default() };
    let (mut plugins, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok((plugin, ready)) => {
                match ready {
                    Ready::Strategy(strategy) => set.strategies.push(strategy),
                    Ready::Validator(validator) => set.validators.push(validator),
                    Ready::Adapter(adapter) => {
                        set.adapters.insert(plugin.name.clone(), adapter);
                    }
                }
                plugins.push(plugin);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(LoadedPlugins { set: Arc::new(set), plugins }) } else { Err(errors) }
}

enum Ready {
    Strategy(Arc<dyn Strategy>),
    Validator(Arc<dyn Validator>),
    Adapter(Arc<dyn Adapter>),
}

/// What loading one plugin needs to know.
struct Loader {
    config: PluginsConfig,
    engines: BTreeMap<PluginClass, (Engine, CallLimits)>,
    ticker: Arc<Ticker>,
    services: Services,
}

/// A component, compiled.
struct Compiled {
    component: Component,
    granted: Arc<Granted>,
    digest: String,
    size_bytes: u64,
    compile_time: Duration,
}

impl Loader {
    fn new(config: &PluginsConfig, wanted: &[(PluginClass, String)], services: Services) -> Result<Self, LoadError> {
        let mut engines = BTreeMap::new();
        for class in PluginClass::ALL {
            let limits = match class {
                PluginClass::Auth => config.auth_limits,
                PluginClass::Validate => config.validate_limits,
                PluginClass::Adapter => config.adapter_limits,
            };
            let plugins = wanted.iter().filter(|(wanted, _)| *wanted == class).map(|(_, name)| name.as_str());
            let calls = calls_at_once(config, &limits, plugins);
            if calls > 0 {
                let engine = engine::build(class, calls)
                    .map_err(|error| LoadError::Engine { class, reason: format!("{error:#}") })?;
                engines.insert(class, (engine, limits));
            }
        }
        let ticking: Vec<Engine> = engines.values().map(|(engine, _)| engine.clone()).collect();
        let ticker = Ticker::start(&ticking).map_err(|error| LoadError::Engine {
            class: PluginClass::Adapter,
            reason: format!("no thread to watch the time: {error}"),
        })?;
        Ok(Self { config: config.clone(), engines, ticker: Arc::new(ticker), services })
    }

    async fn load(&self, class: PluginClass, name: &str) -> Result<(LoadedPlugin, Ready), LoadError> {
        // The rule for a node's name leaves no way to leave the directory.
        if NodeId::parse(name).is_err() {
            return Err(LoadError::Name { plugin: clean(name, 64) });
        }
        let Some((engine, limits)) = self.engines.get(&class) else {
            return Err(LoadError::Engine { class, reason: "it was never made".to_owned() });
        };
        let job = Job {
            engine: engine.clone(),
            class,
            plugin: name.to_owned(),
            path: self.config.directory.join(format!("{name}.wasm")),
            config: self.config.grant(name),
            limits: *limits,
            services: self.services.clone(),
        };
        let compiled = job.run_aside().await?;
        let linked = link(engine, class, name, &compiled)?;
        let Compiled { granted, digest, size_bytes, compile_time, .. } = compiled;
        let manifest = granted.manifest.clone();
        let (ready, counters) = self.describe(class, name, granted, engine, linked).await?;
        let version = manifest.version.as_ref().map(tracing::field::display);
        tracing::info!(
            target: "omnivisor::plugin",
            plugin = name, %class, version, digest, size_bytes, ?compile_time, "plugin loaded"
        );
        let name = name.to_owned();
        let plugin = LoadedPlugin { name, class, digest, size_bytes, manifest, compile_time, counters };
        Ok((plugin, ready))
    }

    async fn describe(
        &self,
        class: PluginClass,
        name: &str,
        granted: Arc<Granted>,
        engine: &Engine,
        linked: InstancePre<CallState>,
    ) -> Result<(Ready, Arc<PluginCounters>), LoadError> {
        let misfit = |error: wasmtime::Error| LoadError::Link {
            plugin: name.to_owned(),
            class,
            reason: clean(&format!("{error:#}"), 512),
        };
        let (shared, engine, ticker) = (Arc::from(name), engine.clone(), Arc::clone(&self.ticker));
        Ok(match class {
            PluginClass::Auth => {
                let linked = LinkedStrategy::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, granted, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                let strategy = AuthStrategy::describe(callee, self.services.clone()).await?;
                (Ready::Strategy(Arc::new(strategy)), counters)
            }
            PluginClass::Validate => {
                let linked = validate::Linked::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, granted, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                (Ready::Validator(Arc::new(InputValidator::describe(callee).await?)), counters)
            }
            PluginClass::Adapter => {
                let linked = NodeAdapterPre::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, granted, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                (Ready::Adapter(Arc::new(NodeAdapter::describe(callee).await?)), counters)
            }
        })
    }
}

/// The part of loading that needs a thread of its own.
struct Job {
    engine: Engine,
    class: PluginClass,
    plugin: String,
    path: PathBuf,
    config: PluginConfig,
    limits: CallLimits,
    services: Services,
}

impl Job {
    async fn run_aside(self) -> Result<Compiled, LoadError> {
        let name = self.plugin.clone();
        let work = tokio::task::spawn_blocking(move || self.run());
        work.await.unwrap_or_else(|error| {
            tracing::error!(target: "omnivisor::plugin", plugin = name, %error, "compiling did not end well");
            Err(LoadError::Compile { plugin: name, reason: "the compiler failed".to_owned() })
        })
    }

    fn run(self) -> Result<Compiled, LoadError> {
        let Self { engine, class, plugin, path, config, limits, services } = self;
        // Read once: what was inspected is what is compiled and what the digest is of, whatever becomes of the file.
        let bytes = read(&plugin, &path)?;
        inspect(&plugin, class, &bytes)?;
        let (component, config, limits, services) = (&*bytes, &config, &limits, &services);
        let granted = settle(&Asked { plugin: &plugin, class, component, config, limits, services })?;
        let digest = digest(&bytes);
        let started = Instant::now();
        let component = Component::from_binary(&engine, &bytes)
            .map_err(|error| LoadError::Compile { plugin, reason: clean(&format!("{error:#}"), 512) })?;
        let (size_bytes, compile_time) = (bytes.len() as u64, started.elapsed());
        Ok(Compiled { component, granted: Arc::new(granted), digest, size_bytes, compile_time })
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a component's file, one byte more than it may have at most.
pub(super) fn read(plugin: &str, path: &Path) -> Result<Vec<u8>, LoadError> {
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
    file.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn link(
    engine: &Engine,
    class: PluginClass,
    plugin: &str,
    compiled: &Compiled,
) -> Result<InstancePre<CallState>, LoadError> {
    let mut linker = Linker::new(engine);
    imports::offer(&mut linker, class, &compiled.granted)
        .and_then(|()| linker.instantiate_pre(&compiled.component))
        .map_err(|error| {
            let reason = clean(&format!("{error:#}"), 512);
            LoadError::Link { plugin: plugin.to_owned(), class, reason }
        })
}
