use crate::author::AuthorError;
use crate::author::text::{counted, grouped, plain, row};
use crate::plugin::{PluginClass, Survey, survey};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What a component's file says of itself. Nothing of it runs for that.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The plugin's name: the file's, without `.wasm`.
    pub plugin: String,
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The world that it is for; none when it exports no contract that this version knows.
    pub world: Option<&'static str>,
    /// The version of that contract.
    pub contract: Option<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The interfaces that it imports.
    pub imports: Vec<Import>,
    /// Core modules in it.
    pub core_modules: u64,
    /// Functions in them.
    pub functions: u64,
    /// Linear memory at the start of a call.
    pub memory_bytes: u64,
    /// The text of its manifest.
    pub manifest: Option<String>,
    #[serde(skip)]
    pub(super) class: Option<PluginClass>,
}

/// An interface that a component imports.
#[derive(Debug, Clone, Serialize)]
pub struct Import {
    /// Its name with its version.
    pub name: String,
    /// Whether a server offers it to plugins of this world.
    pub is_offered: bool,
}

impl Facts {
    pub(super) fn read(file: &Path) -> Result<Self, AuthorError> {
        let plugin = name_of(file)?;
        fs::metadata(file).map_err(AuthorError::read(file))?;
        let Survey { size_bytes, digest, class, contract, imports, exports, core, manifest } = survey(&plugin, file)?;
        Ok(Self {
            plugin,
            file: file.to_owned(),
            size_bytes,
            sha256: digest,
            world: class.map(PluginClass::world),
            contract,
            exports,
            imports: imports.into_iter().map(|it| Import { name: it.name, is_offered: it.is_offered }).collect(),
            core_modules: core.modules,
            functions: core.functions,
            memory_bytes: core.memory_bytes,
            manifest,
            class,
        })
    }

    /// The class, without which nothing can be loaded.
    pub(super) fn known_class(&self) -> Result<PluginClass, AuthorError> {
        self.class.ok_or_else(|| AuthorError::NoWorld { plugin: self.plugin.clone(), exports: self.exports.clone() })
    }

    /// The folder that a server would have to look into.
    pub(super) fn folder(&self) -> PathBuf {
        self.file.parent().map(Path::to_owned).unwrap_or_default()
    }
}

fn name_of(file: &Path) -> Result<String, AuthorError> {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".wasm"));
    name.map(str::to_owned).ok_or_else(|| AuthorError::FileName { path: file.to_owned() })
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = match (self.world, &self.contract) {
            (Some(world), Some(contract)) => format!("{world}, contract {contract}"),
            (_, _) => "none that this version knows".to_owned(),
        };
        let imports = self.imports.iter().map(|import| {
            let remark = if import.is_offered { "" } else { "   (not offered to this world)" };
            format!("{}{remark}", import.name)
        });
        let modules = counted(self.core_modules, "module");
        let functions = counted(self.functions, "function");
        let code = format!("{modules}, {functions}, {} bytes of memory at the start", grouped(self.memory_bytes));
        let manifest = self.manifest.as_deref().unwrap_or("none");
        writeln!(f, "{}: {} bytes", self.file.display(), grouped(self.size_bytes))?;
        f.write_str(&row("plugin", std::slice::from_ref(&self.plugin)))?;
        f.write_str(&row("world", &[world]))?;
        f.write_str(&row("exports", &self.exports))?;
        f.write_str(&row("imports", &imports.collect::<Vec<_>>()))?;
        f.write_str(&row("code", &[code]))?;
        f.write_str(&row("sha256", std::slice::from_ref(&self.sha256)))?;
        let lines = manifest.lines().map(plain);
        f.write_str(&row("manifest", &lines.collect::<Vec<String>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_components_file_is_called_as_a_server_looks_for_it() {
        assert_eq!(name_of(Path::new("target/node-toy.wasm")).expect("a name"), "node-toy");
        for file in ["node-toy", "node-toy.wat", "/"] {
            assert!(matches!(name_of(Path::new(file)), Err(AuthorError::FileName { .. })), "{file}");
        }
    }

    #[test]
    fn a_page_names_what_is_not_offered() {
        let text = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance))
            (@custom "omnivisor.manifest" "name = \"x\"\n# \1b[2J"))"#;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.wasm");
        fs::write(&file, wat::parse_str(text).expect("proper text")).expect("written");
        let page = Facts::read(&file).expect("in order").to_string();
        assert!(page.contains("  world       none that this version knows\n"), "{page}");
        assert!(page.contains("wasi:sockets/tcp@0.2.0   (not offered"), "{page}");
        assert!(page.contains("manifest    name = \"x\"\n              # \\u{1b}[2J\n"), "{page}");
    }
}
