//! From a component to code that runs: what was compiled before, or the compiler.

use crate::config::PluginsConfig;
use crate::model::Secret;
use crate::plugin::artefact::{Artefact, Origin, Seal};
use crate::plugin::cache::{Cache, Found};
use crate::plugin::compile::{CompileBounds, CompileFailure};
use crate::plugin::text::clean;
use crate::plugin::{Compiler, LoadError};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compilations that one may wait for: each has an end of its own, so this bounds the wait by time.
const WAITS_MAX: u32 = 32;

/// Compiles components, one at a time, and keeps what came of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Toolchain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    compiler: Compiler,
    bounds: CompileBounds,
    cache: Option<Cache>,
    /// One compilation at a time: the next may take all the memory that one may.
    turn: Semaphore,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    cached: AtomicU64,
    compiled: AtomicU64,
    unfit: AtomicU64,
    failed: AtomicU64,
}

/// What came of the components so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolchainCounts {
    /// Had been compiled before.
    pub cached: u64,
    /// Were compiled.
    pub compiled: u64,
    /// Files of compiled code that were not used: not whole, not ours, or of another age.
    pub unfit: u64,
    /// Could not be compiled.
    pub failed: u64,
}

impl Toolchain {
    /// A toolchain with the bounds and the directory of the configuration. With a `key` compiled code is kept in the
    /// directory, sealed with it; without one nothing is kept.
    ///
    /// # Errors
    /// [`LoadError::CacheDirectory`] when others could place code there.
    pub fn new(config: &PluginsConfig, compiler: Compiler, key: Option<&Secret>) -> Result<Self, LoadError> {
        let bounds = CompileBounds {
            component_bytes_max: config.component_bytes_max,
            timeout: config.compile_timeout,
            memory_bytes: config.compile_memory_bytes,
        };
        let unsealed = |reason: String| {
            tracing::error!(target: "omnivisor::plugin", reason, "compiled code cannot be sealed, so none is kept");
        };
        let seal = key.and_then(|key| Seal::new(key).map_err(unsealed).ok());
        let cache = seal.map(|seal| Cache::open(&config.cache_directory, &config.directory, seal)).transpose()?;
        let (turn, counters) = (Semaphore::new(1), Counters::default());
        Ok(Self(Arc::new(Shared { compiler, bounds, cache: cache.flatten(), turn, counters })))
    }

    /// Compiles in this process and keeps nothing.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let (compiler, bounds) = (Compiler::InProcess, CompileBounds::for_tests());
        Self(Arc::new(Shared { compiler, bounds, cache: None, turn: Semaphore::new(1), counters: Counters::default() }))
    }

    /// What came of the components so far.
    #[must_use]
    pub fn counts(&self) -> ToolchainCounts {
        let Counters { cached, compiled, unfit, failed } = &self.0.counters;
        ToolchainCounts {
            cached: cached.load(Relaxed),
            compiled: compiled.load(Relaxed),
            unfit: unfit.load(Relaxed),
            failed: failed.load(Relaxed),
        }
    }

    /// Bytes that a component may have.
    pub(super) fn component_bytes_max(&self) -> usize {
        self.0.bounds.component_bytes_max
    }

    /// Makes a component that was inspected ready to be linked. `digest` is its SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// One of the `Compile...` of [`LoadError`], which is logged and counted here as well.
    ///
    /// # Cancel safety
    /// Dropping the future ends the compilation, if that is in a child.
    pub(super) async fn make(
        &self,
        engine: &Engine,
        plugin: &str,
        component: Bytes,
        digest: &str,
    ) -> Result<Component, LoadError> {
        let origin = self.0.cache.as_ref().map(|cache| cache.origin(digest, engine));
        if let Some(origin) = &origin
            && let Some(component) = self.find(engine, plugin, origin).await
        {
            self.0.counters.cached.fetch_add(1, Relaxed);
            return Ok(component);
        }
        let made = self.compile(engine, plugin, component, origin).await;
        match &made {
            Ok(_) => {
                self.0.counters.compiled.fetch_add(1, Relaxed);
            }
            Err(error) => {
                self.0.counters.failed.fetch_add(1, Relaxed);
                tracing::warn!(target: "omnivisor::plugin", plugin, code = error.code(), "{error}");
            }
        }
        made
    }

    async fn find(&self, engine: &Engine, plugin: &str, origin: &Origin) -> Option<Component> {
        let (shared, engine, sought) = (Arc::clone(&self.0), engine.clone(), origin.clone());
        let found = aside(move || match shared.cache.as_ref().map_or(Found::Nothing, |cache| cache.find(&sought)) {
            // The engine looks at version and settings again: they are what it trusts.
            Found::Artefact(artefact) => artefact.load(&engine).map(Some).map_err(|error| format!("{error:#}")),
            Found::Nothing => Ok(None),
            Found::Unfit(reason) => Err(reason.to_owned()),
        });
        match found.await.unwrap_or_else(Err) {
            Ok(found) => found,
            Err(reason) => {
                self.0.counters.unfit.fetch_add(1, Relaxed);
                tracing::warn!(
                    target: "omnivisor::plugin",
                    plugin, file = origin.file_name(), reason, "compiled code that was kept is not used; compiling anew"
                );
                None
            }
        }
    }

    async fn compile(
        &self,
        engine: &Engine,
        plugin: &str,
        component: Bytes,
        origin: Option<Origin>,
    ) -> Result<Component, LoadError> {
        let bounds = &self.0.bounds;
        let wait = bounds.timeout.saturating_mul(WAITS_MAX);
        let Ok(Ok(_turn)) = tokio::time::timeout(wait, self.0.turn.acquire()).await else {
            return Err(LoadError::CompilerBusy { plugin: plugin.to_owned(), waited: wait });
        };
        let failed = |failure| explain(plugin, failure);
        let artefact = self.0.compiler.compile(bounds, component).await.map_err(failed)?;
        let (shared, engine) = (Arc::clone(&self.0), engine.clone());
        let kept = aside(move || {
            let component = artefact.load(&engine).map_err(|error| format!("{error:#}"))?;
            Ok((component, keep(&shared, origin.as_ref(), &artefact)))
        });
        let (component, kept) =
            kept.await.unwrap_or_else(Err).map_err(|reason| failed(CompileFailure::Refused(clean(&reason, 512))))?;
        if let Err(error) = kept {
            tracing::warn!(target: "omnivisor::plugin", plugin, %error, "compiled code could not be kept");
        }
        Ok(component)
    }
}

fn keep(shared: &Shared, origin: Option<&Origin>, artefact: &Artefact) -> std::io::Result<()> {
    shared.cache.as_ref().zip(origin).map_or(Ok(()), |(cache, origin)| cache.keep(origin, artefact))
}

/// Runs what blocks on a thread for that.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("a task of the host failed: {error}"))
}

fn explain(plugin: &str, failure: CompileFailure) -> LoadError {
    let plugin = plugin.to_owned();
    match failure {
        CompileFailure::Refused(reason) => LoadError::Compile { plugin, reason: clean(&reason, 512) },
        CompileFailure::TimedOut(limit) => LoadError::CompileTimedOut { plugin, limit },
        CompileFailure::OutOfMemory(limit_bytes) => LoadError::CompileOutOfMemory { plugin, limit_bytes },
        CompileFailure::TooMuchCode(limit_bytes) => LoadError::CompileTooMuchCode { plugin, limit_bytes },
        CompileFailure::Died(how) => LoadError::CompilerDied { plugin, how },
        CompileFailure::Unavailable(source) => LoadError::CompilerUnavailable { plugin, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn one_component_is_compiled_at_a_time() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, program) = (place.path().display(), place.path().join("compiler"));
        // Stands in for the compiler, and notes when another one is at work.
        let script = format!(
            "#!/bin/sh\nmkdir {folder}/busy || touch {folder}/overlap\ncat >/dev/null\nsleep 0.1\nrmdir {folder}/busy\n\
             touch {folder}/$$\nexit 65\n"
        );
        std::fs::write(&program, script).expect("writable");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("ours");
        let (compiler, turn) = (Compiler::Child { program }, Semaphore::new(1));
        let shared =
            Shared { compiler, bounds: CompileBounds::for_tests(), cache: None, turn, counters: Counters::default() };
        let (toolchain, engine) = (Toolchain(Arc::new(shared)), Engine::default());
        let make = || toolchain.make(&engine, "x", Bytes::new(), "digest");
        let (first, second, third) = tokio::join!(make(), make(), make());
        for made in [first, second, third] {
            assert_eq!(made.err().map(|error| error.code()), Some("plugin.compile_refused"));
        }
        assert!(!place.path().join("overlap").exists());
        assert_eq!(toolchain.counts(), ToolchainCounts { cached: 0, compiled: 0, unfit: 0, failed: 3 });
        let files = std::fs::read_dir(place.path()).expect("a folder").count();
        assert_eq!(files, 1 + 3, "each of the three did run");
    }
}
