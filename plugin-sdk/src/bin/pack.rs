//! `omnivisor-pack CORE.wasm -o OUT.wasm`: turns a core module with the plugin SDK's metadata into a component.
//!
//! The component is validated, and one that asks for anything but the host's own interfaces is refused here, so that an
//! author hears it before an operator does. Exit codes are those of sysexits.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wit_component::{ComponentEncoder, DecodedWasm};

const USAGE: &str = "usage: omnivisor-pack CORE.wasm -o OUT.wasm";

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
    Write(PathBuf, std::io::Error),
}

impl Failure {
    /// The code of sysexits that tells a script what kind of thing is wrong.
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::NotCore(_) | Self::Encode(..) | Self::Imports(..) | Self::NoExport(_) => 65,
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
            Self::Write(path, why) => write!(f, "cannot write `{}`: {why}", path.display()),
        }
    }
}

fn pack(arguments: impl Iterator<Item = String>) -> Result<Packed, Failure> {
    let (input, path) = read_arguments(arguments)?;
    let core = fs::read(&input).map_err(|why| Failure::Read(input.clone(), why))?;
    if !core.starts_with(b"\0asm\x01\0\0\0") {
        return Err(Failure::NotCore(input));
    }
    let component = encode(&core).map_err(|why| Failure::Encode(input.clone(), why))?;
    let world = read_world(&component).map_err(|why| Failure::Encode(input.clone(), why))?;
    check_world(input, &world)?;
    write_whole(&path, &component)?;
    Ok(Packed { path, core_bytes: core.len(), component_bytes: component.len(), world })
}

fn read_arguments(mut arguments: impl Iterator<Item = String>) -> Result<(PathBuf, PathBuf), Failure> {
    let (mut input, mut output) = (None, None);
    while let Some(argument) = arguments.next() {
        let (place, value) = match argument.as_str() {
            "-o" => (&mut output, arguments.next().ok_or_else(|| Failure::Usage("`-o` needs a path".to_owned()))?),
            option if option.starts_with('-') => return Err(Failure::Usage(format!("unknown option `{option}`"))),
            _ => (&mut input, argument),
        };
        if let Some(first) = place.replace(PathBuf::from(&value)) {
            return Err(Failure::Usage(format!("`{}` and `{value}` stand for the same thing", first.display())));
        }
    }
    let input = input.ok_or_else(|| Failure::Usage("the core module is missing".to_owned()))?;
    let output = output.ok_or_else(|| Failure::Usage("`-o OUT.wasm` is missing".to_owned()))?;
    Ok((input, output))
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
