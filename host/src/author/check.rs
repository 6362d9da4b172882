use crate::author::limits::{LimitOptions, Place};
use crate::author::script::Script;
use crate::author::text::{row, took};
use crate::author::{AuthorError, Facts};
use crate::config::PluginConfig;
use crate::plugin::{LoadedPlugins, PluginClass};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A component that can be taken into service.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// What its file says.
    #[serde(flatten)]
    pub facts: Facts,
    /// What it says of itself; null for validators, which say nothing that anybody is shown.
    pub describes: Value,
    /// Milliseconds that compiling took.
    pub compile_ms: u64,
    /// Fuel that it used to say what it is.
    pub describe_fuel: u64,
}

/// Shows what a component's file says of itself. Nothing of it is compiled or runs.
///
/// # Errors
/// [`AuthorError`]: no such file, or no component in order.
pub fn inspect(file: &Path) -> Result<Facts, AuthorError> {
    Facts::read(file)
}

/// Does all that a server does before the first call: reads, inspects, compiles, links, and asks what it is.
///
/// # Errors
/// [`AuthorError::Load`] with the words that a server would have for it, and [`AuthorError::NoWorld`].
///
/// # Cancel safety
/// Dropping the future leaves nothing but a compilation under way.
pub async fn check(file: &Path, limits: LimitOptions) -> Result<Checked, AuthorError> {
    let facts = Facts::read(file)?;
    let class = facts.known_class()?;
    let place = Place { class, plugin: facts.plugin.clone(), folder: facts.folder(), limits };
    let loaded = place.load(PluginConfig::default(), Arc::new(Script::default())).await?;
    let (compile_time, describe_fuel) = loaded
        .plugins
        .first()
        .map_or((Duration::ZERO, 0), |plugin| (plugin.compile_time, plugin.counters.snapshot().fuel_last));
    let compile_ms = u64::try_from(compile_time.as_millis()).unwrap_or(u64::MAX);
    Ok(Checked { describes: describes(class, &loaded), facts, compile_ms, describe_fuel })
}

/// What a loaded component said of itself, as far as a server keeps it.
pub(super) fn describes(class: PluginClass, loaded: &LoadedPlugins) -> Value {
    let said = match class {
        PluginClass::Adapter => loaded.set.adapters.values().next().map(|adapter| {
            let info = adapter.info();
            let operations: Vec<_> = info.operations.iter().map(|operation| operation.as_str()).collect();
            let abilities: Vec<_> = info.abilities.iter().map(|ability| ability.as_str()).collect();
            json!({ "kind": info.kind, "operations": operations, "abilities": abilities, "log_channels": info.log_channels })
        }),
        PluginClass::Auth => loaded.set.strategies.first().map(|strategy| {
            let info = strategy.info();
            json!({ "credentials": info.credentials, "request_headers": info.request_headers })
        }),
        PluginClass::Validate => None,
    };
    said.unwrap_or(Value::Null)
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)?;
        if let Value::Object(said) = &self.describes {
            let lines: Vec<String> = said.iter().map(|(key, value)| format!("{key} {value}")).collect();
            f.write_str(&row("describes", &lines))?;
        }
        let compile = took(Duration::from_millis(self.compile_ms));
        writeln!(f, "ok: it can be taken into service (compiled in {compile}, described itself)")
    }
}
