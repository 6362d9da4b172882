//! The files of a new plugin. They lie below `host/templates` and are part of the binary.

use crate::plugin::PluginClass;

/// One file of a template: its path in the crate, and its text with places for `{{name}}` and `{{sdk}}`.
type File = (&'static str, &'static str);

macro_rules! file {
    ($folder:literal, $path:literal) => {
        ($path, include_str!(concat!("../../templates/", $folder, "/", $path)))
    };
    ($folder:literal, $path:literal from $stored:literal) => {
        ($path, include_str!(concat!("../../templates/", $folder, "/", $stored)))
    };
}

const GITIGNORE: File = (".gitignore", "/target\n");

/// Stored as `Cargo.toml.in`, because with their places for names they are no manifests.
const NODE_ADAPTER: &[File] = &[
    file!("node-adapter", "Cargo.toml" from "Cargo.toml.in"),
    file!("node-adapter", "plugin.toml"),
    file!("node-adapter", "src/lib.rs"),
    file!("node-adapter", "src/tests.rs"),
    file!("node-adapter", "vectors.json"),
    file!("node-adapter", "server.py"),
    file!("node-adapter", "README.md"),
    GITIGNORE,
];

const AUTH_STRATEGY: &[File] = &[
    file!("auth-strategy", "Cargo.toml" from "Cargo.toml.in"),
    file!("auth-strategy", "plugin.toml"),
    file!("auth-strategy", "src/lib.rs"),
    file!("auth-strategy", "src/tests.rs"),
    file!("auth-strategy", "vectors.json"),
    file!("auth-strategy", "README.md"),
    GITIGNORE,
];

const INPUT_VALIDATOR: &[File] = &[
    file!("input-validator", "Cargo.toml" from "Cargo.toml.in"),
    file!("input-validator", "plugin.toml"),
    file!("input-validator", "src/lib.rs"),
    file!("input-validator", "src/tests.rs"),
    file!("input-validator", "vectors.json"),
    file!("input-validator", "README.md"),
    GITIGNORE,
];

/// The files of a new plugin: path in the crate, text. `sdk` is written as it stands in a TOML string.
pub(super) fn files(class: PluginClass, name: &str, sdk: &str) -> impl Iterator<Item = (&'static str, String)> {
    let files = match class {
        PluginClass::Adapter => NODE_ADAPTER,
        PluginClass::Auth => AUTH_STRATEGY,
        PluginClass::Validate => INPUT_VALIDATOR,
    };
    files.iter().map(move |(path, text)| (*path, text.replace("{{name}}", name).replace("{{sdk}}", sdk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_left_empty() {
        for class in PluginClass::ALL {
            for (path, text) in files(class, "my-plugin", "\"/sdk\"") {
                assert!(!text.contains("{{") && !text.contains("}}"), "{class}: {path}");
                assert!(!text.is_empty(), "{class}: {path}");
            }
            let manifest =
                files(class, "my-plugin", "\"/sdk\"").find(|(path, _)| *path == "Cargo.toml").expect("there");
            let manifest: toml::Table = manifest.1.parse().expect("TOML");
            assert_eq!(manifest.get("package").and_then(|it| it.get("name")?.as_str()), Some("my-plugin"));
        }
    }
}
