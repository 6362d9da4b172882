//! A core module with the SDK's metadata becomes a component.

use crate::pack::manifest::{check, check_wishes};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use wasm_encoder::{ComponentSection as _, CustomSection};
use wit_component::{ComponentEncoder, DecodedWasm};

/// The component's custom section that holds the text of its `plugin.toml`.
pub const MANIFEST_SECTION: &str = "omnivisor.manifest";
/// Bytes that a manifest may have.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Everything outside these packages is refused by the host.
const ALLOWED: [&str; 3] = ["omnivisor:host/", "omnivisor:types/", "omnivisor:auth/types@"];

/// A component and what it takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The component in the binary format.
    pub bytes: Vec<u8>,
    /// Bytes of the core module.
    pub core_bytes: usize,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes (core module {})", self.bytes.len(), self.core_bytes)?;
        write!(f, ", exports {}, imports {}", list(&self.exports), list(&self.imports))
    }
}

pub(super) fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
}

/// Why there is no component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackError {
    /// Something other than a core module.
    NotCore,
    /// It cannot become a component; the encoder's words name what it lacks.
    Encode(String),
    /// It asks for more than the host's own interfaces: these.
    Imports(Vec<String>),
    /// It exports no contract.
    NoExport,
    /// The manifest has more bytes than [`MANIFEST_BYTES_MAX`].
    ManifestTooLarge(usize),
    /// The manifest is wrong, or another plugin's, or does not ask for what the component imports.
    Manifest(String),
}

impl std::error::Error for PackError {}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCore => f.write_str(
                "it is not a WebAssembly core module; build the plugin with `crate-type = [\"cdylib\"]` for \
                 wasm32-unknown-unknown and give the .wasm that cargo made",
            ),
            Self::Encode(why) => write!(f, "it cannot become a component: {why}"),
            Self::Imports(names) => write!(
                f,
                "it asks for {}, and a plugin may use only the host's own interfaces, `omnivisor:host/...`",
                names.join(", ")
            ),
            Self::NoExport => f.write_str(
                "it exports no contract; name the plugin's type once with `plugin_sdk::export_node_adapter!`, \
                 `export_auth_strategy!` or `export_input_validator!`",
            ),
            Self::ManifestTooLarge(bytes) => {
                write!(f, "its manifest has {bytes} bytes, at most {MANIFEST_BYTES_MAX} are allowed")
            }
            Self::Manifest(why) => write!(f, "its manifest, `plugin.toml`, does not fit: {why}"),
        }
    }
}

/// Makes a component of a core module, with the text of its manifest in a section of its own. `name` is the plugin's, for
/// which the host looks as `NAME.wasm`.
///
/// The component is validated, and one that asks for anything but the host's own interfaces is refused here, so that an
/// author hears it before an operator does.
///
/// # Errors
/// [`PackError`].
pub fn pack(core: &[u8], name: &str, manifest: Option<&str>) -> Result<Packed, PackError> {
    if !core.starts_with(b"\0asm\x01\0\0\0") {
        return Err(PackError::NotCore);
    }
    if let Some(bytes) = manifest.map(str::len).filter(|bytes| *bytes > MANIFEST_BYTES_MAX) {
        return Err(PackError::ManifestTooLarge(bytes));
    }
    let mut bytes = encode(core).map_err(PackError::Encode)?;
    let (imports, exports) = read_world(&bytes).map_err(PackError::Encode)?;
    let is_ours = |name: &str| ALLOWED.iter().any(|prefix| name.starts_with(prefix));
    let foreign: Vec<String> = imports.iter().filter(|name| !is_ours(name)).cloned().collect();
    if !foreign.is_empty() {
        return Err(PackError::Imports(foreign));
    }
    if exports.is_empty() {
        return Err(PackError::NoExport);
    }
    let checked = match manifest {
        Some(text) => check(text, name, &imports, &exports),
        None => check_wishes(&imports, |_| false),
    };
    checked.map_err(PackError::Manifest)?;
    if let Some(text) = manifest {
        let section = CustomSection { name: MANIFEST_SECTION.into(), data: text.as_bytes().into() };
        section.append_to_component(&mut bytes);
    }
    Ok(Packed { bytes, core_bytes: core.len(), imports, exports })
}

fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(core).and_then(ComponentEncoder::encode).map_err(|why| format!("{why:#}"))
}

fn read_world(component: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let (resolve, world) = match wit_component::decode(component).map_err(|why| format!("{why:#}"))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err("it holds interfaces and no code".to_owned()),
    };
    let world = resolve.worlds.get(world).ok_or_else(|| "it has no world".to_owned())?;
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    Ok((imports, exports))
}

/// Writes beside the place and renames, so that a host which watches the folder never reads half a component.
///
/// # Errors
/// What the system said.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_core_module_is_told_so() {
        for bytes in [&b""[..], b"(module)", b"\0asm\x0d\0\x01\0"] {
            assert_eq!(pack(bytes, "x", None), Err(PackError::NotCore));
        }
    }

    #[test]
    fn a_module_without_a_contract_makes_no_plugin() {
        assert_eq!(pack(b"\0asm\x01\0\0\0", "x", None), Err(PackError::NoExport));
        let long = "#".repeat(MANIFEST_BYTES_MAX + 1);
        assert_eq!(pack(b"\0asm\x01\0\0\0", "x", Some(&long)), Err(PackError::ManifestTooLarge(long.len())));
    }
}
