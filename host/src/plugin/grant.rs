//! What one plugin may do: what its manifest asks for against what its operator grants.

use crate::config::{CallLimits, LIMIT_KEYS, LimitOverrides, PluginConfig};
use crate::model::Secret;
use crate::plugin::class::{HTTP_CLIENT, Match, SECRETS, compare};
use crate::plugin::error::quoted;
use crate::plugin::manifest::Face;
use crate::plugin::text::clean;
use crate::plugin::web::Web;
use crate::plugin::{ApiKeys, LoadError, Manifest, PluginClass, Services};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A shorter secret is not taken out of log lines: it would stand in ordinary words.
const REDACTED_BYTES_MIN: usize = 6;

/// What has to be known to decide what a plugin may do.
pub(super) struct Asked<'a> {
    pub plugin: &'a str,
    pub class: PluginClass,
    /// The component's bytes, inspected.
    pub component: &'a [u8],
    /// What its operator grants.
    pub config: &'a PluginConfig,
    /// The limits of its class.
    pub limits: &'a CallLimits,
    pub services: &'a Services,
}

/// What one plugin may do. The same for all its calls.
pub(super) struct Granted {
    pub manifest: Manifest,
    pub limits: CallLimits,
    /// What the operator set for it, as JSON.
    pub settings: String,
    /// None where `secrets` is not linked.
    pub secrets: Option<BTreeMap<String, Secret>>,
    /// None where `http-client` is not linked.
    pub web: Option<Web>,
    pub api_keys: Option<Arc<dyn ApiKeys>>,
}

impl Granted {
    /// The text with every secret of this plugin taken out. A net under a plugin that logs what it should not; a secret
    /// that it changed first is not recognised.
    pub(super) fn redact(&self, mut text: String) -> String {
        for secret in self.secrets.iter().flatten().map(|(_, secret)| secret.reveal()) {
            if secret.len() >= REDACTED_BYTES_MIN && text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        text
    }
}

/// Settles what a plugin may do, before it is compiled. What is granted and not asked for is logged, and not given.
///
/// # Errors
/// Its manifest makes no sense, or asks for more than is granted; the text says which lines would grant it.
pub(super) fn settle(asked: &Asked<'_>) -> Result<Granted, LoadError> {
    let face = Face::of(asked.plugin, asked.component)?;
    let manifest = face.manifest(asked.plugin)?;
    check_world(asked, &manifest, &face)?;
    check_wishes(asked, &manifest, &face)?;
    let limits = limits(asked, &manifest.limits)?;
    tell_unasked(asked, &manifest);
    let secrets = has_wishes(&manifest, |wishes| !wishes.secrets.is_empty()).then(|| secrets(asked.config, &manifest));
    let web = has_wishes(&manifest, |wishes| wishes.has_http())
        .then(|| Web::new(asked.plugin, origins(asked.config, &manifest), asked.services));
    let api_keys = asked.services.api_keys.clone();
    Ok(Granted { limits, settings: asked.config.settings.clone(), secrets, web, api_keys, manifest })
}

fn has_wishes(manifest: &Manifest, has: impl Fn(&crate::plugin::Wishes) -> bool) -> bool {
    has(&manifest.wants) || has(&manifest.optional)
}

fn secrets(config: &PluginConfig, manifest: &Manifest) -> BTreeMap<String, Secret> {
    let is_wanted = |name: &String| manifest.wants.secrets.contains(name) || manifest.optional.secrets.contains(name);
    config
        .secrets
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, secret)| (name.clone(), secret.clone()))
        .collect()
}

fn origins(config: &PluginConfig, manifest: &Manifest) -> BTreeSet<String> {
    let is_wanted = |origin: &&String| manifest.wants.names_origin(origin) || manifest.optional.names_origin(origin);
    config.allow_http.iter().filter(is_wanted).cloned().collect()
}

/// The world is the package and version of an interface that the component exports, with the name of its class's world.
fn check_world(asked: &Asked<'_>, manifest: &Manifest, face: &Face<'_>) -> Result<(), LoadError> {
    let Some(world) = &manifest.world else { return Ok(()) };
    let worlds: Vec<String> = face.exports.iter().filter_map(|export| world_of(asked.class, export)).collect();
    if worlds.iter().any(|of_export| compare(world, of_export) == Match::Compatible) {
        return Ok(());
    }
    let expected = worlds.first().map_or_else(|| asked.class.world().to_owned(), |world| clean(world, 128));
    let reason = format!("its `world` is `{}`, and the component is for `{expected}`", clean(world, 128));
    Err(LoadError::Manifest { plugin: asked.plugin.to_owned(), reason })
}

fn world_of(class: PluginClass, export: &str) -> Option<String> {
    let (package, rest) = export.split_once('/')?;
    let (_, version) = rest.split_once('@')?;
    Some(format!("{package}/{}@{version}", class.world()))
}

fn check_wishes(asked: &Asked<'_>, manifest: &Manifest, face: &Face<'_>) -> Result<(), LoadError> {
    let refused =
        |what: String, advice: String| Err(LoadError::NotGranted { plugin: asked.plugin.to_owned(), what, advice });
    let imports = |interface: &str| face.imports.iter().any(|import| compare(import, interface) == Match::Compatible);
    let offers = |interface: &str| asked.class.imports().contains(&interface);
    for (interface, key, is_asked) in [
        (HTTP_CLIENT, "http = [\"https://HOST\"]", has_wishes(manifest, |wishes| wishes.has_http())),
        (SECRETS, "secrets = [\"NAME\"]", has_wishes(manifest, |wishes| !wishes.secrets.is_empty())),
    ] {
        if is_asked && !offers(interface) {
            let what = format!("asks for `{interface}`, which the world `{}` does not offer", asked.class.world());
            return refused(what, "take that wish out of its `plugin.toml` and pack it again".to_owned());
        }
        if !is_asked && imports(interface) {
            let what = format!("imports `{interface}`, and its manifest does not ask for it");
            return refused(what, format!("put `{key}` under `[wants]` in its `plugin.toml` and pack it again"));
        }
    }
    let missing: Vec<Missing> =
        [missing_http(asked, manifest), missing_secrets(asked, manifest)].into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let joined = |part: fn(&Missing) -> &String| missing.iter().map(part).cloned().collect::<Vec<_>>().join(" and ");
    refused(
        format!("wants {}, which is not granted", joined(|missing| &missing.what)),
        format!("if you trust it with that, add to the configuration: {}", joined(|missing| &missing.line)),
    )
}

/// A wish without its grant, and the line that would grant it.
struct Missing {
    what: String,
    line: String,
}

fn missing_http(asked: &Asked<'_>, manifest: &Manifest) -> Option<Missing> {
    let granted = &asked.config.allow_http;
    let missing: Vec<&String> = manifest.wants.http.iter().filter(|origin| !granted.contains(origin)).collect();
    let all: Vec<String> = granted.iter().chain(missing.iter().copied()).map(|origin| format!("{origin:?}")).collect();
    let line = |origins: &str| format!("`[plugin.{}] allow_http = [{origins}]`", asked.plugin);
    if !missing.is_empty() {
        return Some(Missing { what: format!("HTTP with {}", quoted(&missing)), line: line(&all.join(", ")) });
    }
    (manifest.wants.has_configured_http && granted.is_empty())
        .then(|| Missing { what: "HTTP with origins that you choose".to_owned(), line: line("\"https://HOST\"") })
}

fn missing_secrets(asked: &Asked<'_>, manifest: &Manifest) -> Option<Missing> {
    let granted = &asked.config.secrets;
    let missing: Vec<&String> = manifest.wants.secrets.iter().filter(|name| !granted.contains_key(*name)).collect();
    if missing.is_empty() {
        return None;
    }
    let values: Vec<String> = missing.iter().map(|name| format!("{name} = {{ file = \"PATH\" }}")).collect();
    let word = if missing.len() == 1 { "the secret" } else { "the secrets" };
    Some(Missing {
        what: format!("{word} {}", quoted(&missing)),
        line: format!("`[plugin.{}.secrets] {}`", asked.plugin, values.join(", ")),
    })
}

/// The operator's word wins; a wish below the limit of its class is followed, one above it needs the operator's word.
fn limits(asked: &Asked<'_>, wishes: &LimitOverrides) -> Result<CallLimits, LoadError> {
    let own = &asked.config.limits;
    let (class, granted, wanted) = (asked.limits.numbers(), own.numbers(), wishes.numbers());
    for ((((key, _, _), limit), granted), wish) in LIMIT_KEYS.into_iter().zip(class).zip(granted).zip(wanted) {
        if let (None, Some(wish)) = (granted, wish)
            && wish > limit
        {
            return Err(LoadError::LimitNotGranted { plugin: asked.plugin.to_owned(), key, wish, limit });
        }
    }
    Ok(own.or(wishes).over(asked.limits))
}

/// What is granted in vain is probably misspelt, or of an older version of the plugin.
fn tell_unasked(asked: &Asked<'_>, manifest: &Manifest) {
    let (all, wanted) = (&asked.config.allow_http, origins(asked.config, manifest));
    let origins: Vec<&String> = all.iter().filter(|origin| !wanted.contains(*origin)).collect();
    let wanted = secrets(asked.config, manifest);
    let secrets: Vec<&String> = asked.config.secrets.keys().filter(|name| !wanted.contains_key(*name)).collect();
    if !origins.is_empty() || !secrets.is_empty() {
        tracing::warn!(
            target: "omnivisor::plugin",
            plugin = asked.plugin, ?origins, ?secrets, "granted, and the plugin's manifest does not ask for it: it has no effect"
        );
    }
}

#[cfg(test)]
mod tests;
