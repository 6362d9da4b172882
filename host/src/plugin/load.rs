use crate::config::{CallLimits, PluginsConfig};
use crate::model::NodeId;
use crate::plugin::auth::AuthStrategy;
use crate::plugin::bindings::adapter::NodeAdapterPre;
use crate::plugin::bindings::auth::AuthStrategyPre;
use crate::plugin::bindings::validate::InputValidatorPre;
use crate::plugin::call::Callee;
use crate::plugin::inspect::inspect;
use crate::plugin::node::NodeAdapter;
use crate::plugin::state::CallState;
use crate::plugin::text::clean;
use crate::plugin::ticker::Ticker;
use crate::plugin::validate::InputValidator;
use crate::plugin::{
    Adapter, LoadError, PluginClass, PluginCounters, PluginSet, Services, Strategy, Toolchain, Validator, engine,
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
    /// How long compiling it took, or reading what was compiled before.
    pub compile_time: Duration,
    /// What it has done since.
    pub counters: Arc<PluginCounters>,
}

/// Loads the plugins that the configuration names and the `adapters` that its nodes name, each from
/// `directory/NAME.wasm`: inspects, compiles, links, and asks each what it is.
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
    assemble(results)
}

fn assemble(results: Vec<Result<(LoadedPlugin, Ready), LoadError>>) -> Result<LoadedPlugins, Vec<LoadError>> {
    let mut set = PluginSet { strategies: Vec::new(), validators: Vec::new(), adapters: BTreeMap::new() };
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
    directory: PathBuf,
    engines: BTreeMap<PluginClass, (Engine, CallLimits)>,
    ticker: Arc<Ticker>,
    services: Services,
}

/// A component, compiled.
struct Compiled {
    component: Component,
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
            let plugins = wanted.iter().filter(|(wanted, _)| *wanted == class).count();
            if plugins > 0 {
                let engine = engine::build(class, &limits, plugins)
                    .map_err(|error| LoadError::Engine { class, reason: format!("{error:#}") })?;
                engines.insert(class, (engine, limits));
            }
        }
        let ticking: Vec<Engine> = engines.values().map(|(engine, _)| engine.clone()).collect();
        let ticker = Ticker::start(&ticking).map_err(|error| LoadError::Engine {
            class: PluginClass::Adapter,
            reason: format!("no thread to watch the time: {error}"),
        })?;
        Ok(Self { directory: config.directory.clone(), engines, ticker: Arc::new(ticker), services })
    }

    async fn load(&self, class: PluginClass, name: &str) -> Result<(LoadedPlugin, Ready), LoadError> {
        // The rule for a node's name leaves no way to leave the directory.
        if NodeId::parse(name).is_err() {
            return Err(LoadError::Name { plugin: clean(name, 64) });
        }
        let Some((engine, limits)) = self.engines.get(&class) else {
            return Err(LoadError::Engine { class, reason: "it was never made".to_owned() });
        };
        let path = self.directory.join(format!("{name}.wasm"));
        let compiled = compile_aside(&self.services.toolchain, engine, class, name, path).await?;
        let linked = link(engine, class, name, &compiled.component)?;
        let (ready, counters) = self.describe(class, name, limits, engine, linked).await?;
        let Compiled { digest, size_bytes, compile_time, .. } = compiled;
        let plugin = LoadedPlugin { name: name.to_owned(), class, digest, size_bytes, compile_time, counters };
        tracing::info!(
            target: "omnivisor::plugin",
            plugin = name, %class, digest = plugin.digest, size_bytes, ?compile_time, "plugin loaded"
        );
        Ok((plugin, ready))
    }

    async fn describe(
        &self,
        class: PluginClass,
        name: &str,
        limits: &CallLimits,
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
                let linked = AuthStrategyPre::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, *limits, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                let strategy = AuthStrategy::describe(callee, self.services.clone()).await?;
                (Ready::Strategy(Arc::new(strategy)), counters)
            }
            PluginClass::Validate => {
                let linked = InputValidatorPre::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, *limits, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                (Ready::Validator(Arc::new(InputValidator::describe(callee).await?)), counters)
            }
            PluginClass::Adapter => {
                let linked = NodeAdapterPre::new(linked).map_err(misfit)?;
                let callee = Callee::new(shared, class, *limits, linked, engine, ticker);
                let counters = Arc::clone(&callee.counters);
                (Ready::Adapter(Arc::new(NodeAdapter::describe(callee).await?)), counters)
            }
        })
    }
}

async fn compile_aside(
    toolchain: &Toolchain,
    engine: &Engine,
    class: PluginClass,
    plugin: &str,
    path: PathBuf,
) -> Result<Compiled, LoadError> {
    let (name, bytes_max) = (plugin.to_owned(), toolchain.component_bytes_max());
    let read = tokio::task::spawn_blocking(move || {
        // Read once: what was inspected is what is compiled and what the digest is of, whatever becomes of the file.
        let bytes = read(&name, &path, bytes_max)?;
        inspect(&name, class, &bytes)?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((Arc::<[u8]>::from(bytes), digest))
    });
    let (bytes, digest) = read.await.unwrap_or_else(|error| {
        tracing::error!(target: "omnivisor::plugin", plugin, %error, "inspecting did not end well");
        Err(LoadError::Compile { plugin: plugin.to_owned(), reason: "the host failed while inspecting it".to_owned() })
    })?;
    let (size_bytes, started) = (bytes.len() as u64, Instant::now());
    let component = toolchain.make(engine, plugin, bytes, &digest).await?;
    Ok(Compiled { component, digest, size_bytes, compile_time: started.elapsed() })
}

fn read(plugin: &str, path: &Path, bytes_max: usize) -> Result<Vec<u8>, LoadError> {
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
) -> Result<InstancePre<CallState>, LoadError> {
    let mut linker = Linker::new(engine);
    imports::offer(&mut linker, class).and_then(|()| linker.instantiate_pre(component)).map_err(|error| {
        LoadError::Link { plugin: plugin.to_owned(), class, reason: clean(&format!("{error:#}"), 512) }
    })
}
