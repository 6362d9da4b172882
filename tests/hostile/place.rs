//! A directory of plugins, a configuration that names them, and the two seams that plugins are given.

use omnivisor::config::{CallLimits, PluginConfig, PluginsConfig};
use omnivisor::fetch::Fetch;
use omnivisor::model::Secret;
use omnivisor::plugin::{
    Accounts, ApiKey, ApiKeys, BoxFuture, Compiler, Exchange, ExchangeFailure, ExchangeRequest, ExchangeResponse,
    LoadError, LoadedPlugins, PasswordCheck, Services, Toolchain, WebCache, load,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// Where the plugins of one test lie.
pub(crate) struct Place {
    _directory: TempDir,
    /// What the test's host would have read from its file.
    pub(crate) config: PluginsConfig,
    /// Where its plugins are compiled.
    pub(crate) compiler: Compiler,
    /// With one, compiled code is kept.
    pub(crate) key: Option<Secret>,
    /// The adapters that its nodes name.
    pub(crate) adapters: BTreeSet<String>,
    /// What strategies check passwords against.
    pub(crate) accounts: Arc<OneAccount>,
    /// What plugins fetched, over all that this place loads.
    web_cache: WebCache,
}

/// Limits under which a loop is stopped after some 5 ms, and nothing good is.
pub(crate) const LIMITS: CallLimits = CallLimits {
    fuel: 5_000_000,
    time: Duration::from_secs(5),
    memory_bytes: 16 << 20,
    hostcall_bytes: 4 << 20,
    calls_max: 4,
};

impl Place {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = PluginsConfig {
            directory: directory.path().join("plugins"),
            cache_directory: directory.path().join("cache"),
            component_bytes_max: 8 << 20,
            compile_timeout: Duration::from_secs(30),
            compile_memory_bytes: 2 << 30,
            auth: vec![],
            validate: vec![],
            watch: false,
            probation: Duration::from_secs(60),
            auth_limits: LIMITS,
            validate_limits: LIMITS,
            adapter_limits: LIMITS,
            grants: BTreeMap::new(),
        };
        std::fs::create_dir(&config.directory)?;
        Ok(Self {
            _directory: directory,
            config,
            compiler: Compiler::InProcess,
            key: None,
            adapters: BTreeSet::new(),
            accounts: Arc::default(),
            web_cache: WebCache::default(),
        })
    }

    /// Puts a file where the plugin of that name is looked for.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(std::fs::write(self.config.directory.join(format!("{name}.wasm")), bytes)?)
    }

    pub(crate) fn adapter(mut self, name: &str, bytes: &[u8]) -> anyhow::Result<Self> {
        self.put(name, bytes)?;
        self.adapters.insert(name.to_owned());
        Ok(self)
    }

    pub(crate) fn strategy(mut self, name: &str, bytes: &[u8]) -> anyhow::Result<Self> {
        self.put(name, bytes)?;
        self.config.auth.push(name.to_owned());
        Ok(self)
    }

    pub(crate) fn validator(mut self, name: &str, bytes: &[u8]) -> anyhow::Result<Self> {
        self.put(name, bytes)?;
        self.config.validate.push(name.to_owned());
        Ok(self)
    }

    /// Grants this to the plugin of that name.
    pub(crate) fn grant(mut self, name: &str, grant: PluginConfig) -> Self {
        self.config.grants.insert(name.to_owned(), grant);
        self
    }

    pub(crate) async fn load(&self) -> Result<LoadedPlugins, Vec<LoadError>> {
        self.load_with(self.toolchain().map_err(|error| vec![error])?).await
    }

    /// Compiles as this place is configured.
    pub(crate) fn toolchain(&self) -> Result<Toolchain, LoadError> {
        Toolchain::new(&self.config, self.compiler.clone(), self.key.as_ref())
    }

    pub(crate) async fn load_with(&self, toolchain: Toolchain) -> Result<LoadedPlugins, Vec<LoadError>> {
        let accounts: Arc<dyn Accounts> = Arc::<OneAccount>::clone(&self.accounts);
        let services = Services {
            accounts,
            api_keys: Some(Arc::new(OneKey)),
            http: Some(Arc::new(Fetch::new())),
            web_cache: self.web_cache.clone(),
            toolchain,
        };
        load(&self.config, &self.adapters, services).await
    }
}

/// `ann`, whose password is `pass`.
#[derive(Default)]
pub(crate) struct OneAccount {
    /// Checks asked for so far.
    pub(crate) checks: AtomicUsize,
}

impl Accounts for OneAccount {
    fn check_password(&self, username: String, password: Secret) -> BoxFuture<'_, Result<PasswordCheck, String>> {
        self.checks.fetch_add(1, SeqCst);
        let is_right = username == "ann" && password.reveal() == "pass";
        Box::pin(async move { Ok(if is_right { PasswordCheck::Matches } else { PasswordCheck::Differs }) })
    }
}

/// The key `the-key` of `ann`.
pub(crate) struct OneKey;

impl ApiKeys for OneKey {
    fn find(&self, text: Secret) -> Result<Option<ApiKey>, String> {
        let found = || ApiKey { id: "k-1".to_owned(), account: "ann".to_owned(), scopes: vec![], expires: None };
        match text.reveal() {
            "broken" => Err("the keys cannot be read".to_owned()),
            text => Ok((text == "the-key").then(found)),
        }
    }
}

/// How the node of a test behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// Answers at once.
    Answers,
    /// Never answers; the exchange itself keeps to its deadline.
    Silent,
    /// Never answers, and the exchange forgets its deadline.
    Forgetful,
    /// Blocks the thread for so long.
    Blocks(Duration),
    /// The exchange has a bug.
    Panics,
}

impl Exchange for Node {
    #[expect(clippy::panic, reason = "the bug that the test is about")]
    fn send<'a>(
        &'a self,
        _request: ExchangeRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ExchangeResponse, ExchangeFailure>> {
        Box::pin(async move {
            match self {
                Self::Answers => {}
                Self::Silent => {
                    tokio::time::sleep_until(deadline).await;
                    return Err(ExchangeFailure::TimedOut);
                }
                Self::Forgetful => std::future::pending().await,
                Self::Blocks(time) => {
                    let end = Instant::now() + *time;
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                }
                Self::Panics => panic!("a bug in the exchange"),
            }
            Ok(ExchangeResponse { status: 200, headers: vec![], body: vec![] })
        })
    }
}
