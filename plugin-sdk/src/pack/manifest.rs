//! What an author should hear of a manifest before an operator does. The host checks everything again.

use crate::pack::component::list;
use toml::{Table, Value};

/// A manifest's text and the name of the plugin that it should be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestFile<'a> {
    /// The plugin's name: its file's without `.wasm`.
    pub plugin: &'a str,
    /// The text of `plugin.toml`.
    pub text: &'a str,
}

/// What a manifest asks for, as far as imports need it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    has_http: bool,
    has_secrets: bool,
}

impl Wishes {
    /// Reads a manifest against the exports of its component.
    pub(super) fn read(file: ManifestFile<'_>, exports: &[String]) -> Result<Self, String> {
        let manifest: Table = toml::from_str(file.text).map_err(|why| why.to_string())?;
        let word = |key: &str| {
            manifest.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key} = \"...\"` is missing"))
        };
        let (name, _version, of) = (word("name")?, word("version")?, word("world")?);
        if name != file.plugin {
            return Err(format!("its `name` is `{name}`, and the host loads a plugin of that name from `{name}.wasm`"));
        }
        let fits = |export: &String| {
            let (package, version) = parts(export);
            !package.is_empty() && parts(of) == (package, version)
        };
        if !exports.iter().any(fits) {
            return Err(format!("its `world` is `{of}`, and the component exports {}", list(exports)));
        }
        let asks = |key: &str| {
            let tables =
                ["wants", "optional"].into_iter().filter_map(|table| manifest.get(table)?.get(key)?.as_array());
            tables.into_iter().any(|wishes| !wishes.is_empty())
        };
        Ok(Self { has_http: asks("http"), has_secrets: asks("secrets") })
    }

    /// Whether the imports are asked for.
    pub(super) fn cover(&self, imports: &[String]) -> Result<(), String> {
        for (interface, key, is_asked) in [
            ("omnivisor:host/http-client@", "http = [\"https://HOST\"]", self.has_http),
            ("omnivisor:host/secrets@", "secrets = [\"NAME\"]", self.has_secrets),
        ] {
            if !is_asked && let Some(import) = imports.iter().find(|import| import.starts_with(interface)) {
                return Err(format!("the component imports `{import}`; ask for it with `{key}` under `[wants]`"));
            }
        }
        Ok(())
    }
}

/// The package and version of an interface or world: of `omnivisor:auth/strategy@0.1.0` `omnivisor:auth` and `0.1.0`.
fn parts(name: &str) -> (&str, &str) {
    let (package, rest) = name.split_once('/').unwrap_or_default();
    (package, rest.split_once('@').unwrap_or_default().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wishes, String> {
        Wishes::read(ManifestFile { plugin: "auth-x", text }, &["omnivisor:auth/strategy@0.1.0".to_owned()])
    }

    const HEAD: &str = "name = \"auth-x\"\nversion = \"1.0.0\"\nworld = \"omnivisor:auth/auth-strategy@0.1.0\"\n";

    #[test]
    fn a_manifest_is_of_its_plugin_and_of_its_world() {
        assert_eq!(read(HEAD), Ok(Wishes::default()));
        assert!(read(&HEAD.replace("auth-x", "auth-y")).is_err_and(|why| why.contains("auth-y.wasm")));
        assert!(read(&HEAD.replace("@0.1.0", "@0.2.0")).is_err_and(|why| why.contains("exports")));
        assert!(read("name = \"auth-x\"").is_err_and(|why| why.contains("`version = \"...\"` is missing")));
    }

    #[test]
    fn what_is_imported_has_to_be_asked_for() {
        let imports = ["omnivisor:host/http-client@0.1.0".to_owned()];
        assert!(read(HEAD).and_then(|wishes| wishes.cover(&imports)).is_err_and(|why| why.contains("[wants]")));
        let asked = format!("{HEAD}[optional]\nhttp = [\"configured\"]\n");
        assert_eq!(read(&asked).and_then(|wishes| wishes.cover(&imports)), Ok(()));
    }
}
