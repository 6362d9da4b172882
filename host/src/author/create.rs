use crate::author::{AuthorError, template};
use crate::plugin::PluginClass;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a new plugin is to be.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Its world.
    pub class: PluginClass,
    /// Its name.
    pub name: String,
    /// Where; a folder of its name if not given.
    pub path: Option<PathBuf>,
    /// The plugin SDK's folder; that of the checkout this program was built from if not given.
    pub sdk: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The plugin's name.
    pub name: String,
    /// The world that it is for.
    pub world: &'static str,
    /// The crate's folder.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<&'static str>,
    /// The SDK that it depends on, by path.
    pub sdk: PathBuf,
}

/// The SDK of the checkout that this program was built from, if that is still there.
const OWN_SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk");

/// Names that cargo refuses for a package, or that a plugin's own dependencies have.
const TAKEN: [&str; 12] = [
    "alloc",
    "core",
    "plugin-sdk",
    "proc-macro",
    "self",
    "serde",
    "serde-json",
    "std",
    "super",
    "test",
    "crate",
    "wit-bindgen",
];
/// Words of the language that are names otherwise; a crate's name cannot be one.
const KEYWORDS: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Writes a new plugin's crate, which builds and passes its tests as it is.
///
/// The SDK is on no registry yet, so the crate depends on it by path. When the SDK lies in a checkout, the checkout's
/// versions of other crates are written down for the new one too: what built there builds here, offline as well.
///
/// # Errors
/// [`AuthorError`]; with `Name`, `NotEmpty` and `NoSdk` nothing was written.
pub fn create(options: &CreateOptions) -> Result<Created, AuthorError> {
    let name = options.name.as_str();
    check_name(name).map_err(|rule| AuthorError::Name { name: name.to_owned(), rule })?;
    let path = options.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if !is_free(&path).map_err(AuthorError::read(&path))? {
        return Err(AuthorError::NotEmpty { path });
    }
    let sdk = find_sdk(options.sdk.as_deref().unwrap_or(Path::new(OWN_SDK)))?;
    // Every escape of a JSON string is one of TOML's basic strings too.
    let written = serde_json::Value::String(sdk.display().to_string()).to_string();
    let mut files = Vec::new();
    for (file, text) in template::files(options.class, name, &written) {
        write(&path.join(file), &text)?;
        files.push(file);
    }
    let versions = sdk.join("../Cargo.lock");
    if versions.is_file() {
        let text = fs::read_to_string(&versions).map_err(AuthorError::read(&versions))?;
        write(&path.join("Cargo.lock"), &text)?;
        files.push("Cargo.lock");
    }
    Ok(Created { name: name.to_owned(), world: options.class.world(), path, files, sdk })
}

fn write(path: &Path, text: &str) -> Result<(), AuthorError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(AuthorError::write(folder))?;
    }
    fs::write(path, text).map_err(AuthorError::write(path))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_word = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
        return Err("1 to 64 characters of a-z 0-9 - were expected");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') || name.contains("--") {
        return Err("it has to start with a letter, and single hyphens may stand between words only");
    }
    if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        return Err("a crate cannot be called so, because the language or a dependency is");
    }
    Ok(())
}

/// Whether nothing is there, or an empty folder.
fn is_free(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

fn find_sdk(path: &Path) -> Result<PathBuf, AuthorError> {
    let missing = || AuthorError::NoSdk { path: path.to_owned() };
    let path = path.canonicalize().map_err(|_| missing())?;
    let manifest = fs::read_to_string(path.join("Cargo.toml")).map_err(|_| missing())?;
    let manifest: toml::Table = manifest.parse().map_err(|_| missing())?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    if name == Some("plugin-sdk") { Ok(path) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, path: PathBuf) -> CreateOptions {
        CreateOptions { class: PluginClass::Adapter, name: name.to_owned(), path: Some(path), sdk: None }
    }

    #[test]
    fn a_crate_is_written_with_the_versions_of_the_checkout() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/node-toy");
        let created = create(&options("node-toy", path.clone())).expect("written");
        assert!(created.files.contains(&"src/lib.rs") && created.files.contains(&"Cargo.lock"), "{created:?}");
        for file in &created.files {
            assert!(path.join(file).is_file(), "{file}");
        }
        let manifest = fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("name = \"node-toy\""), "{manifest}");
        assert!(manifest.contains(&format!("path = \"{}\"", created.sdk.display())), "{manifest}");
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("notes"), "mine").expect("written");
        let error = create(&options("node-toy", folder.path().to_owned())).expect_err("not empty");
        assert!(error.to_string().contains("nothing was written"), "{error}");
        let file = folder.path().join("notes");
        assert!(matches!(create(&options("node-toy", file)), Err(AuthorError::NotEmpty { .. })));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn names_are_those_of_crates_and_of_plugins_at_once() {
        for name in ["a", "node-toy", "auth2", &"x".repeat(64)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "Node", "2auth", "-a", "a-", "a--b", "a_b", "a/b", "..", "serde", "fn", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_not_the_sdk_is_told_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let sdk = Some(folder.path().to_owned());
        let error = create(&CreateOptions { sdk, ..options("node-toy", folder.path().join("x")) }).expect_err("no SDK");
        assert!(error.to_string().contains("--sdk"), "{error}");
        assert!(!folder.path().join("x").exists());
    }
}
