//! SIGHUP: another configuration while the host runs.

use crate::config::Config;
use crate::model::Role;
use crate::plugin::{Author, Platform};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Applies what can be applied of each configuration that comes, and logs what needs a restart, until `stop`.
pub(super) async fn run(
    mut configs: mpsc::Receiver<Config>,
    mut running: Config,
    platform: Platform,
    roles_max: watch::Sender<Arc<BTreeMap<String, Role>>>,
    stop: CancellationToken,
) {
    loop {
        let config = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            config = configs.recv() => config,
        };
        let Some(config) = config else { return };
        let restart = needs_restart(&running, &config);
        if !restart.is_empty() {
            tracing::warn!(sections = restart.join(", "), "the configuration differs in what only a restart changes");
        }
        match platform.configure(config.plugins.clone(), Author::host("SIGHUP")).await {
            Ok(changed) => {
                tracing::info!(plugins = changed.join(", "), "the configuration was read again");
                roles_max.send_replace(Arc::new(config.plugins.roles_max()));
                running.plugins = config.plugins;
            }
            Err(error) => tracing::error!(%error, "the new configuration was not applied; all is as it was"),
        }
    }
}

/// The sections and keys that differ and are settled at the start.
fn needs_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let (old_plugins, new_plugins) = (&running.plugins, &new.plugins);
    [
        ("[server]", running.server != new.server),
        ("[storage]", running.storage != new.storage),
        ("[plugins] directory", old_plugins.directory != new_plugins.directory),
        ("[plugins] watch", old_plugins.watch != new_plugins.watch),
        ("[pool]", running.pool != new.pool),
        ("[log]", running.log != new.log),
        ("[[node]]", running.nodes != new.nodes),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, MachineSecrets, check};
    use std::path::Path;

    fn config(text: &str) -> Config {
        let defaults = Defaults {
            storage_path: "/x.redb".into(),
            plugins_directory: "/plugins".into(),
            cache_directory: "/cache".into(),
        };
        check(text, &MachineSecrets, Path::new("/"), &defaults).expect("legal")
    }

    #[test]
    fn what_needs_a_restart_is_told_and_what_does_not_is_not() {
        let old = config("[server]\n");
        let new = config(
            "[server]\nbody_bytes_max = 2048\n[plugins]\nwatch = false\nprobation_ms = 500\n[plugins.auth_limits]\nfuel = 5\n\
             [plugin.auth-local]\ncanary_permille = 5\n[[node]]\nname = \"a\"\nurl = \"http://x:1\"\n",
        );
        assert_eq!(needs_restart(&old, &old), [""; 0]);
        assert_eq!(needs_restart(&old, &new), ["[server]", "[plugins] watch", "[[node]]"]);
    }
}
