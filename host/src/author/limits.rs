//! The limits of a call: those that a server sets for plugins of this kind, with what the author says in their place.

use crate::author::AuthorError;
use crate::author::script::Script;
use crate::config::{self, Defaults, MachineSecrets, PluginConfig, PluginsConfig};
use crate::plugin::{Compiler, LoadedPlugins, PluginClass, Toolchain, load};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Limits in place of those of the kind. What may be set is what a configuration may say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOptions {
    /// `fuel`
    pub fuel: Option<u64>,
    /// `time_ms`
    pub time_ms: Option<u64>,
    /// `memory_bytes`
    pub memory_bytes: Option<u64>,
    /// `hostcall_bytes`
    pub hostcall_bytes: Option<u64>,
}

/// The component that a server would load, and how.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub class: PluginClass,
    pub plugin: String,
    pub folder: PathBuf,
    pub limits: LimitOptions,
}

impl Place {
    /// Loads the component the way a server does: inspects, compiles, links, asks it what it is.
    pub(super) async fn load(&self, grant: PluginConfig, script: Arc<Script>) -> Result<LoadedPlugins, AuthorError> {
        let mut config = self.config()?;
        config.grants = BTreeMap::from([(self.plugin.clone(), grant)]);
        let adapters = match self.class {
            PluginClass::Adapter => BTreeSet::from([self.plugin.clone()]),
            PluginClass::Auth | PluginClass::Validate => BTreeSet::new(),
        };
        // Its author's own, on its author's machine: the bounds on its structure are enough.
        let toolchain = Toolchain::new(&config, Compiler::InProcess, None).map_err(AuthorError::Load)?;
        load(&config, &adapters, script.services(toolchain)).await.map_err(|errors| {
            let first = errors.into_iter().next();
            first.map_or_else(|| AuthorError::Limits("nothing was loaded".to_owned()), AuthorError::Load)
        })
    }

    /// How long one call may take.
    pub(super) fn time(&self) -> Result<std::time::Duration, AuthorError> {
        let config = self.config()?;
        Ok(match self.class {
            PluginClass::Auth => config.auth_limits.time,
            PluginClass::Validate => config.validate_limits.time,
            PluginClass::Adapter => config.adapter_limits.time,
        })
    }

    /// A configuration that names this plugin alone. The limits go through the same check as an operator's.
    fn config(&self) -> Result<PluginsConfig, AuthorError> {
        let text = format!("[plugins.{}_limits]\n{}", self.class, self.limits.lines());
        let defaults = Defaults {
            storage_path: PathBuf::new(),
            plugins_directory: self.folder.clone(),
            cache_directory: PathBuf::new(),
        };
        let checked = config::check(&text, &MachineSecrets, Path::new("."), &defaults);
        let plugins = checked.map_err(|faults| {
            let faults = faults.iter().map(|fault| format!("{}: {}; {}", fault.key, fault.problem, fault.advice));
            AuthorError::Limits(faults.collect::<Vec<_>>().join("\n"))
        });
        let named = |class| if self.class == class { vec![self.plugin.clone()] } else { Vec::new() };
        Ok(PluginsConfig { auth: named(PluginClass::Auth), validate: named(PluginClass::Validate), ..plugins?.plugins })
    }
}

impl LimitOptions {
    fn lines(&self) -> String {
        let mut text = String::new();
        let set = [
            ("fuel", self.fuel),
            ("time_ms", self.time_ms),
            ("memory_bytes", self.memory_bytes),
            ("hostcall_bytes", self.hostcall_bytes),
        ];
        for (key, value) in set {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(limits: LimitOptions) -> Place {
        Place { class: PluginClass::Adapter, plugin: "node-toy".into(), folder: "plugins".into(), limits }
    }

    #[test]
    fn limits_are_those_of_the_kind_unless_said_otherwise() {
        let kind = place(LimitOptions::default()).config().expect("defaults");
        let set = place(LimitOptions { fuel: Some(7), time_ms: Some(9), ..LimitOptions::default() });
        let set_config = set.config().expect("in range");
        assert_eq!((set_config.adapter_limits.fuel, set.time().expect("in range")), (7, Duration::from_millis(9)));
        assert_eq!(set_config.adapter_limits.memory_bytes, kind.adapter_limits.memory_bytes);
        assert!(set_config.auth.is_empty() && set_config.validate.is_empty(), "nothing else is loaded");
    }

    #[test]
    fn a_limit_out_of_range_is_refused_in_the_words_of_the_configuration() {
        for limits in [
            LimitOptions { fuel: Some(0), ..LimitOptions::default() },
            LimitOptions { memory_bytes: Some(1 << 40), ..LimitOptions::default() },
            LimitOptions { fuel: Some(u64::MAX), ..LimitOptions::default() },
        ] {
            let error = place(limits).config().expect_err("out of range").to_string();
            assert!(error.contains("these limits cannot be set: "), "{error}");
        }
    }
}
