use crate::author::AuthorError;
use plugin_sdk::pack::{GUEST_PROFILE, GUEST_TARGET, Toolchain, pack, write_whole};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use toml::Table;

/// What to build, and where to.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The crate's folder.
    pub path: PathBuf,
    /// The component; `target/NAME.wasm` in the crate's folder if not given.
    pub output: Option<PathBuf>,
    /// Where cargo puts what it makes; `CARGO_TARGET_DIR`, else `target` in the crate's folder.
    pub target_dir: Option<PathBuf>,
}

/// A component that was built.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// The plugin's name.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// Its bytes.
    pub size_bytes: u64,
    /// Bytes of the core module in it.
    pub core_bytes: u64,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// Whether it carries the text of a `plugin.toml`.
    pub has_manifest: bool,
}

/// What is said of a crate in its `Cargo.toml`.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: Option<String>,
    library: String,
}

/// Compiles a plugin's crate and packs what comes out. What cargo says goes to standard error.
///
/// # Errors
/// [`AuthorError`].
pub fn build(options: &BuildOptions) -> Result<Built, AuthorError> {
    let manifest = options.path.join("Cargo.toml");
    let package = read_package(&manifest)?;
    let plugin_toml = read_manifest(&options.path.join("plugin.toml"), &package)?;
    let toolchain = Toolchain::find()?;
    // Shown as it is typed: `target/NAME.wasm`, not `./target/NAME.wasm`.
    let own = if options.path == Path::new(".") { PathBuf::from("target") } else { options.path.join("target") };
    let configured = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    // A folder below, as for the repository's own: another compiler may be at work here than outside of it.
    let folder = options.target_dir.clone().or(configured).unwrap_or_else(|| own.clone()).join("guest");
    let mut cargo = toolchain.cargo_build();
    cargo.args(["--lib", "--profile", GUEST_PROFILE]).arg("--manifest-path").arg(&manifest);
    cargo.arg("--target-dir").arg(&folder).stdin(Stdio::null()).stdout(Stdio::null());
    if !cargo.status().map_err(AuthorError::NoCargo)?.success() {
        return Err(AuthorError::Cargo);
    }
    let core = folder.join(GUEST_TARGET).join(GUEST_PROFILE).join(format!("{}.wasm", package.library));
    let core = fs::read(&core).map_err(AuthorError::read(&core))?;
    let packed = pack(&core, &package.name, plugin_toml.as_deref())?;
    let path = options.output.clone().unwrap_or_else(|| own.join(format!("{}.wasm", package.name)));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(AuthorError::write(folder))?;
    }
    write_whole(&path, &packed.bytes).map_err(AuthorError::write(&path))?;
    Ok(Built {
        name: package.name.clone(),
        path,
        size_bytes: packed.bytes.len() as u64,
        core_bytes: packed.core_bytes as u64,
        imports: packed.imports,
        exports: packed.exports,
        has_manifest: plugin_toml.is_some(),
    })
}

fn read_package(path: &Path) -> Result<Package, AuthorError> {
    let text = fs::read_to_string(path).map_err(AuthorError::read(path))?;
    parse_package(&text).map_err(|reason| AuthorError::Manifest { path: path.to_owned(), reason })
}

fn parse_package(text: &str) -> Result<Package, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let package = table.get("package").ok_or("it has no [package]; name the folder of the plugin's crate")?;
    let name = package.get("name").and_then(toml::Value::as_str).ok_or("its [package] has no name")?;
    let named = table.get("lib").and_then(|lib| lib.get("name")?.as_str());
    // Where the version is inherited from a workspace it is not known here.
    let version = package.get("version").and_then(toml::Value::as_str).map(str::to_owned);
    Ok(Package { name: name.to_owned(), version, library: named.unwrap_or(name).replace('-', "_") })
}

/// The text of the plugin's manifest, if there is one; it has to agree with the crate's.
fn read_manifest(path: &Path, package: &Package) -> Result<Option<String>, AuthorError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AuthorError::Read { path: path.to_owned(), source }),
    };
    let checked = check_manifest(&text, package);
    checked.map_err(|reason| AuthorError::Manifest { path: path.to_owned(), reason }).map(|()| Some(text))
}

fn check_manifest(text: &str, package: &Package) -> Result<(), String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    for (key, expected) in [("name", Some(&package.name)), ("version", package.version.as_ref())] {
        let said = table.get(key).and_then(toml::Value::as_str);
        if let Some(expected) = expected
            && said != Some(expected)
        {
            let said = said.map_or_else(|| "no text".to_owned(), |said| format!("{said:?}"));
            return Err(format!("`{key}` is {said}, and Cargo.toml says {expected:?}; they have to be equal"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crates_library_is_called_as_cargo_calls_it() {
        let package = parse_package("[package]\nname = \"node-toy\"\nversion = \"1.2.3\"").expect("a package");
        assert_eq!((package.library.as_str(), package.version.as_deref()), ("node_toy", Some("1.2.3")));
        let named = "[package]\nname = \"a-b\"\nversion.workspace = true\n[lib]\nname = \"other\"";
        let named = parse_package(named).expect("a package");
        assert_eq!((named.library.as_str(), named.version), ("other", None));
        assert!(parse_package("[workspace]").expect_err("none").contains("no [package]"));
        assert!(parse_package("[package").is_err());
    }

    #[test]
    fn the_two_manifests_have_to_agree() {
        let package = parse_package("[package]\nname = \"node-toy\"\nversion = \"1.2.3\"").expect("a package");
        assert_eq!(check_manifest("name = \"node-toy\"\nversion = \"1.2.3\"", &package), Ok(()));
        let older = check_manifest("name = \"node-toy\"\nversion = \"1.2.2\"", &package).expect_err("differs");
        assert!(older.contains("`version` is \"1.2.2\", and Cargo.toml says \"1.2.3\""), "{older}");
        assert!(check_manifest("version = \"1.2.3\"", &package).expect_err("no name").contains("`name` is no text"));
        assert!(check_manifest("name = ", &package).is_err());
    }

    #[test]
    fn a_folder_without_a_crate_is_told_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = BuildOptions { path: folder.path().to_owned(), output: None, target_dir: None };
        assert!(matches!(build(&options), Err(AuthorError::Read { .. })));
    }
}
