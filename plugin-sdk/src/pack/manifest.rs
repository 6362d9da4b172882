//! What an author should hear of `plugin.toml` before an operator does. The host checks everything again.

use crate::pack::component::list;
use toml::{Table, Value};

/// Checks a manifest against the component that it is to be packed with, which the host will look for as `NAME.wasm`.
pub(super) fn check(text: &str, name: &str, imports: &[String], exports: &[String]) -> Result<(), String> {
    let manifest: Table = toml::from_str(text).map_err(|why| why.to_string())?;
    let word =
        |key: &str| manifest.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key} = \"...\"` is missing"));
    let (said, _version, world) = (word("name")?, word("version")?, word("world")?);
    if said != name {
        return Err(format!("its `name` is `{said}`, and the host loads a plugin of that name from `{said}.wasm`"));
    }
    let fits = |export: &String| {
        let (package, version) = parts(export);
        !package.is_empty() && parts(world) == (package, version)
    };
    if !exports.iter().any(fits) {
        return Err(format!("its `world` is `{world}`, and the component exports {}", list(exports)));
    }
    let asks = |key: &str| {
        let tables = ["wants", "optional"].into_iter().filter_map(|table| manifest.get(table)?.get(key)?.as_array());
        tables.into_iter().any(|wishes| !wishes.is_empty())
    };
    check_wishes(imports, asks)
}

/// What needs a grant has to be asked for; `asks` says whether it is.
pub(super) fn check_wishes(imports: &[String], asks: impl Fn(&str) -> bool) -> Result<(), String> {
    for (interface, key, example) in [
        ("omnivisor:host/http-client@", "http", "http = [\"https://HOST\"]"),
        ("omnivisor:host/secrets@", "secrets", "secrets = [\"NAME\"]"),
    ] {
        if let Some(import) = imports.iter().find(|import| import.starts_with(interface))
            && !asks(key)
        {
            return Err(format!("the component imports `{import}`; ask for it with `{example}` under `[wants]`"));
        }
    }
    Ok(())
}

/// The package and version of an interface or world: of `omnivisor:auth/strategy@0.1.0` `omnivisor:auth` and `0.1.0`.
fn parts(name: &str) -> (&str, &str) {
    let (package, rest) = name.split_once('/').unwrap_or_default();
    (package, rest.split_once('@').unwrap_or_default().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"auth-x\"\nversion = \"1.0.0\"\nworld = \"omnivisor:auth/auth-strategy@0.1.0\"\n";

    fn checked(manifest: &str, imports: &[&str]) -> Result<(), String> {
        let imports: Vec<String> = imports.iter().map(|&import| import.to_owned()).collect();
        check(manifest, "auth-x", &imports, &["omnivisor:auth/strategy@0.1.0".to_owned()])
    }

    #[test]
    fn a_manifest_belongs_to_the_component_that_it_is_packed_with() {
        assert_eq!(checked(MANIFEST, &[]), Ok(()));
        let refused = |from: &str, to: &str| checked(&MANIFEST.replace(from, to), &[]).expect_err(to);
        assert!(refused("auth-x", "auth-y").contains("from `auth-y.wasm`"));
        assert!(refused("auth/auth-strategy", "validate/input-validator").contains("the component exports"));
        assert!(refused("strategy@0.1.0", "strategy@0.2.0").contains("the component exports"));
        assert!(refused("version = \"1.0.0\"", "").contains("`version = \"...\"` is missing"));
        assert!(!refused("name =", "name").is_empty());
    }

    #[test]
    fn an_import_that_needs_a_grant_is_asked_for() {
        for (import, wish) in [
            ("omnivisor:host/http-client@0.1.0", "[wants]\nhttp = [\"configured\"]"),
            ("omnivisor:host/secrets@0.1.0", "[optional]\nsecrets = [\"key\"]"),
        ] {
            assert!(checked(MANIFEST, &[import]).expect_err(import).contains("under `[wants]`"));
            assert_eq!(checked(&format!("{MANIFEST}{wish}"), &[import]), Ok(()));
            assert!(check_wishes(&[import.to_owned()], |_| false).is_err(), "without a manifest nothing is asked for");
        }
    }
}
