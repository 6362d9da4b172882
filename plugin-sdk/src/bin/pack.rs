//! `omnivisor-pack CORE.wasm [--manifest plugin.toml] -o OUT.wasm`: turns a core module with the plugin SDK's metadata
//! into a component, and puts the plugin's manifest into it.
//!
//! The component is validated, and one that asks for anything but the host's own interfaces is refused here, so that an
//! author hears it before an operator does. Exit codes are those of sysexits.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toml::{Table, Value};
use wasm_encoder::{ComponentSection as _, CustomSection};
use wit_component::{ComponentEncoder, DecodedWasm};

const USAGE: &str = "usage: omnivisor-pack CORE.wasm [--manifest plugin.toml] -o OUT.wasm";

/// Where the host looks for the manifest, and the most that it reads.
const SECTION: &str = "omnivisor.manifest";
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Everything outside these packages is refused by the host.
const ALLOWED: [&str; 3] = ["omnivisor:host/", "omnivisor:types/", "omnivisor:auth/types@"];

fn main() -> ExitCode {
    match pack(std::env::args().skip(1)) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("omnivisor-pack: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What was made.
struct Packed {
    path: PathBuf,
    core_bytes: usize,
    component_bytes: usize,
    world: World,
}

/// What a component takes and gives.
struct World {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, core_bytes, component_bytes, world } = self;
        write!(f, "{}: {component_bytes} bytes (core module {core_bytes})", path.display())?;
        write!(f, ", exports {}, imports {}", list(&world.exports), list(&world.imports))
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
}

/// Why nothing was made.
enum Failure {
    Usage(String),
    Read(PathBuf, std::io::Error),
    NotCore(PathBuf),
    Encode(PathBuf, String),
    Imports(PathBuf, Vec<String>),
    NoExport(PathBuf),
    Manifest(PathBuf, String),
    Write(PathBuf, std::io::Error),
}

impl Failure {
    /// The code of sysexits that tells a script what kind of thing is wrong.
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::NotCore(_) | Self::Encode(..) | Self::Imports(..) | Self::NoExport(_) | Self::Manifest(..) => 65,
            Self::Read(..) => 66,
            Self::Write(..) => 73,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => write!(f, "{why}\n{USAGE}"),
            Self::Read(path, why) => write!(f, "cannot read `{}`: {why}", path.display()),
            Self::NotCore(path) => write!(
                f,
                "`{}` is not a WebAssembly core module; build the plugin with `crate-type = [\"cdylib\"]` for \
                 wasm32-unknown-unknown and give the .wasm that cargo made",
                path.display()
            ),
            Self::Encode(path, why) => write!(f, "`{}` cannot become a component: {why}", path.display()),
            Self::Imports(path, names) => write!(
                f,
                "`{}` asks for {}, and a plugin may use only the host's own interfaces, `omnivisor:host/...`",
                path.display(),
                names.join(", ")
            ),
            Self::NoExport(path) => write!(
                f,
                "`{}` exports no contract; name the plugin's type once with `plugin_sdk::export_node_adapter!`, \
                 `export_auth_strategy!` or `export_input_validator!`",
                path.display()
            ),
            Self::Manifest(path, why) => {
                write!(f, "the manifest `{}` does not fit the component: {why}", path.display())
            }
            Self::Write(path, why) => write!(f, "cannot write `{}`: {why}", path.display()),
        }
    }
}

fn pack(arguments: impl Iterator<Item = String>) -> Result<Packed, Failure> {
    let Arguments { input, manifest, output: path } = Arguments::read(arguments)?;
    let core = fs::read(&input).map_err(|why| Failure::Read(input.clone(), why))?;
    if !core.starts_with(b"\0asm\x01\0\0\0") {
        return Err(Failure::NotCore(input));
    }
    let mut component = encode(&core).map_err(|why| Failure::Encode(input.clone(), why))?;
    let world = read_world(&component).map_err(|why| Failure::Encode(input.clone(), why))?;
    check_world(input, &world)?;
    let wishes = match &manifest {
        Some(manifest) => {
            let bytes = fs::read(manifest).map_err(|why| Failure::Read(manifest.clone(), why))?;
            let wishes =
                check_manifest(&bytes, &path, &world).map_err(|why| Failure::Manifest(manifest.clone(), why))?;
            CustomSection { name: SECTION.into(), data: bytes.into() }.append_to_component(&mut component);
            wishes
        }
        None => Wishes::default(),
    };
    wishes.check(&world).map_err(|why| Failure::Manifest(manifest.unwrap_or_else(|| "plugin.toml".into()), why))?;
    write_whole(&path, &component)?;
    Ok(Packed { path, core_bytes: core.len(), component_bytes: component.len(), world })
}

/// What was typed.
struct Arguments {
    input: PathBuf,
    manifest: Option<PathBuf>,
    output: PathBuf,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (mut input, mut manifest, mut output) = (None, None, None);
        while let Some(argument) = arguments.next() {
            let place = match argument.as_str() {
                "-o" => &mut output,
                "--manifest" => &mut manifest,
                option if option.starts_with('-') => return Err(Failure::Usage(format!("unknown option `{option}`"))),
                _ => &mut input,
            };
            let value = if argument.starts_with('-') {
                arguments.next().ok_or_else(|| Failure::Usage(format!("`{argument}` needs a path")))?
            } else {
                argument
            };
            if let Some(first) = place.replace(PathBuf::from(&value)) {
                return Err(Failure::Usage(format!("`{}` and `{value}` stand for the same thing", first.display())));
            }
        }
        let input = input.ok_or_else(|| Failure::Usage("the core module is missing".to_owned()))?;
        let output = output.ok_or_else(|| Failure::Usage("`-o OUT.wasm` is missing".to_owned()))?;
        Ok(Self { input, manifest, output })
    }
}

/// What a manifest asks for, as far as imports need it.
#[derive(Default)]
struct Wishes {
    has_http: bool,
    has_secrets: bool,
}

impl Wishes {
    fn check(&self, world: &World) -> Result<(), String> {
        for (interface, key, is_asked) in [
            ("omnivisor:host/http-client@", "http = [\"https://HOST\"]", self.has_http),
            ("omnivisor:host/secrets@", "secrets = [\"NAME\"]", self.has_secrets),
        ] {
            if !is_asked && let Some(import) = world.imports.iter().find(|import| import.starts_with(interface)) {
                return Err(format!("the component imports `{import}`; ask for it with `{key}` under `[wants]`"));
            }
        }
        Ok(())
    }
}

/// What the author should hear before an operator does. The host checks everything again.
fn check_manifest(bytes: &[u8], output: &Path, world: &World) -> Result<Wishes, String> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {MANIFEST_BYTES_MAX} are allowed", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())?;
    let manifest: Table = toml::from_str(text).map_err(|why| why.to_string())?;
    let word =
        |key: &str| manifest.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key} = \"...\"` is missing"));
    let (name, _version, of) = (word("name")?, word("version")?, word("world")?);
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    if name != stem {
        return Err(format!("its `name` is `{name}`, and the host loads a plugin of that name from `{name}.wasm`"));
    }
    let fits = |export: &String| {
        let (package, version) = parts(export);
        !package.is_empty() && parts(of) == (package, version)
    };
    if !world.exports.iter().any(fits) {
        return Err(format!("its `world` is `{of}`, and the component exports {}", list(&world.exports)));
    }
    let asks = |key: &str| {
        let tables = ["wants", "optional"].into_iter().filter_map(|table| manifest.get(table)?.get(key)?.as_array());
        tables.into_iter().any(|wishes| !wishes.is_empty())
    };
    Ok(Wishes { has_http: asks("http"), has_secrets: asks("secrets") })
}

/// The package and version of an interface or world: of `omnivisor:auth/strategy@0.1.0` `omnivisor:auth` and `0.1.0`.
fn parts(name: &str) -> (&str, &str) {
    let (package, rest) = name.split_once('/').unwrap_or_default();
    (package, rest.split_once('@').unwrap_or_default().1)
}

/// The component as bytes, or why not, in the encoder's words: it names what the module lacks.
fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(core).and_then(ComponentEncoder::encode).map_err(|why| format!("{why:#}"))
}

fn read_world(component: &[u8]) -> Result<World, String> {
    let (resolve, world) = match wit_component::decode(component).map_err(|why| format!("{why:#}"))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err("it holds interfaces and no code".to_owned()),
    };
    let world = resolve.worlds.get(world).ok_or_else(|| "it has no world".to_owned())?;
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    Ok(World { imports, exports })
}

fn check_world(input: PathBuf, world: &World) -> Result<(), Failure> {
    let is_ours = |name: &str| ALLOWED.iter().any(|prefix| name.starts_with(prefix));
    let foreign: Vec<String> = world.imports.iter().filter(|name| !is_ours(name)).cloned().collect();
    if !foreign.is_empty() {
        return Err(Failure::Imports(input, foreign));
    }
    if world.exports.is_empty() {
        return Err(Failure::NoExport(input));
    }
    Ok(())
}

/// Writes beside the place and renames, so that a host which watches the folder never reads half a component.
fn write_whole(path: &Path, component: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    fs::write(&beside, component)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|why| Failure::Write(path.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"auth-x\"\nversion = \"1.0.0\"\nworld = \"omnivisor:auth/auth-strategy@0.1.0\"\n";

    fn world(imports: &[&str]) -> World {
        let imports = imports.iter().map(|&import| import.to_owned()).collect();
        World { imports, exports: vec!["omnivisor:auth/strategy@0.1.0".to_owned()] }
    }

    fn checked(manifest: &str, imports: &[&str]) -> Result<(), String> {
        let world = world(imports);
        check_manifest(manifest.as_bytes(), Path::new("out/auth-x.wasm"), &world)?.check(&world)
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
        assert!(checked(&"#".repeat(MANIFEST_BYTES_MAX + 1), &[]).expect_err("long").contains("at most 65536"));
    }

    #[test]
    fn an_import_that_needs_a_grant_is_asked_for() {
        for (import, wish) in [
            ("omnivisor:host/http-client@0.1.0", "[wants]\nhttp = [\"configured\"]"),
            ("omnivisor:host/secrets@0.1.0", "[optional]\nsecrets = [\"key\"]"),
        ] {
            assert!(checked(MANIFEST, &[import]).expect_err(import).contains("under `[wants]`"));
            assert_eq!(checked(&format!("{MANIFEST}{wish}"), &[import]), Ok(()));
        }
    }
}
