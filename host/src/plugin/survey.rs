//! What a component's file says of itself, for people: nothing is compiled and nothing runs.

use crate::plugin::class::{Match, compare};
use crate::plugin::inspect::{COMPONENT_BYTES_MAX, read_surface};
use crate::plugin::kept::digest_of;
use crate::plugin::load::read;
use crate::plugin::structure::Surface;
use crate::plugin::text::clean;
use crate::plugin::{LoadError, PluginClass, wasi};
use plugin_sdk::pack::MANIFEST_SECTION;
use std::path::Path;
use wasmparser::{Parser, Payload};

const NAME_BYTES_MAX: usize = 200;

/// What is known of a component before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// The class whose interface it exports in a version that this host takes.
    pub class: Option<PluginClass>,
    /// The version of that interface, e.g. `0.1.0`.
    pub contract: Option<String>,
    /// Every interface it imports.
    pub imports: Vec<ImportFact>,
    /// Every interface it exports.
    pub exports: Vec<String>,
    /// The code in it.
    pub core: CoreFacts,
    /// The text of its manifest.
    pub manifest: Option<String>,
}

/// An interface that a component imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportFact {
    /// Its name with its version.
    pub name: String,
    /// Whether the host offers it to plugins of the component's class; false when it has none.
    pub is_offered: bool,
}

/// The code in a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoreFacts {
    /// Core modules.
    pub modules: u64,
    /// Functions with a body.
    pub functions: u64,
    /// Linear memory at the start of a call, in bytes.
    pub memory_bytes: u64,
}

/// Reads what a component's file says of itself, once its form, size and structure are found to be in order.
///
/// # Errors
/// [`LoadError`]: there is no such file, or it breaks a rule that holds for components of every class.
pub fn survey(plugin: &str, path: &Path) -> Result<Survey, LoadError> {
    let bytes = read(plugin, path, COMPONENT_BYTES_MAX)?;
    let surface = read_surface(plugin, &bytes)?;
    let class = class_of(&surface);
    let malformed = |error: wasmparser::BinaryReaderError| LoadError::Malformed {
        plugin: plugin.to_owned(),
        reason: clean(&error.to_string(), 512),
    };
    let (core, manifest) = walk(&bytes).map_err(malformed)?;
    Ok(Survey {
        size_bytes: bytes.len() as u64,
        digest: digest_of(&bytes),
        class: class.map(|(class, _)| class),
        contract: class.and_then(|(_, export)| export.split_once('@')).map(|(_, version)| version.to_owned()),
        imports: surface.imports.iter().map(|name| import(name, class.map(|(class, _)| class))).collect(),
        exports: surface.exports.iter().map(|name| clean(name, NAME_BYTES_MAX)).collect(),
        core,
        manifest,
    })
}

fn class_of(surface: &Surface) -> Option<(PluginClass, &str)> {
    PluginClass::ALL.into_iter().find_map(|class| {
        let is_its = |export: &&String| class.exports().iter().any(|own| compare(export, own) == Match::Compatible);
        let export = surface.exports.iter().find(is_its)?;
        Some((class, export.as_str()))
    })
}

fn import(name: &str, class: Option<PluginClass>) -> ImportFact {
    let is_offered = wasi::is_offered(name)
        || class.is_some_and(|class| class.imports().iter().any(|offered| compare(name, offered) == Match::Compatible));
    ImportFact { name: clean(name, NAME_BYTES_MAX), is_offered }
}

/// Counts the code and finds the manifest. The structure has been found to be within bounds before.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's list of sections is open; those not named are of no interest here"
)]
fn walk(bytes: &[u8]) -> Result<(CoreFacts, Option<String>), wasmparser::BinaryReaderError> {
    let (mut core, mut manifest, mut depth) = (CoreFacts::default(), None, 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } => {
                core.modules += 1;
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => core.functions += u64::from(count),
            Payload::MemorySection(section) => {
                for memory in section {
                    core.memory_bytes = core.memory_bytes.saturating_add(memory?.initial.saturating_mul(64 << 10));
                }
            }
            Payload::CustomSection(section) if depth == 0 && section.name() == MANIFEST_SECTION => {
                manifest = Some(String::from_utf8_lossy(section.data()).into_owned());
            }
            _ => {}
        }
    }
    Ok((core, manifest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Survey {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.wasm");
        std::fs::write(&path, wat::parse_str(text).expect("proper text")).expect("written");
        survey("x", &path).expect("in order")
    }

    #[test]
    fn a_component_is_told_by_what_it_exports() {
        let found = read_text(
            r#"(component
                (import "omnivisor:host/log@0.1.3" (instance)) (import "wasi:sockets/tcp@0.2.0" (instance))
                (core module (memory 2) (func) (func))
                (instance $i) (export "omnivisor:adapter/node@0.1.2" (instance $i))
                (@custom "omnivisor.manifest" "name = \"x\""))"#,
        );
        assert_eq!((found.class, found.contract.as_deref()), (Some(PluginClass::Adapter), Some("0.1.2")));
        let imports: Vec<_> = found.imports.iter().map(|import| (import.name.as_str(), import.is_offered)).collect();
        assert_eq!(imports, [("omnivisor:host/log@0.1.3", true), ("wasi:sockets/tcp@0.2.0", false)]);
        assert_eq!(found.core, CoreFacts { modules: 1, functions: 2, memory_bytes: 128 << 10 });
        assert_eq!(found.manifest.as_deref(), Some("name = \"x\""));
        assert_eq!(found.digest.len(), 64);
    }

    #[test]
    fn a_component_of_no_known_world_is_described_all_the_same() {
        let found = read_text(r#"(component (import "omnivisor:host/log@0.1.0" (instance)))"#);
        assert_eq!((found.class, found.contract, found.manifest), (None, None, None));
        assert!(found.imports.iter().all(|import| !import.is_offered), "nothing is offered to no world");
    }
}
