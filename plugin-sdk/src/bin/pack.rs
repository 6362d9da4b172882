//! Makes components of core modules, and runs the cargo that makes core modules. `omnivisor plugin build` does both for
//! one crate; this is for the repository's own plugins and for build systems. Exit codes are those of sysexits.

use plugin_sdk::pack::{PackError, Toolchain, ToolchainError, pack, write_whole};
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: omnivisor-pack CORE.wasm -o OUT.wasm [--manifest plugin.toml]
       omnivisor-pack cargo ARGUMENT...    cargo build for guests, with these arguments
       omnivisor-pack toolchain            which compiler that is";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.split_first() {
        Some((first, rest)) if first == "cargo" => run_cargo(rest),
        Some((first, [])) if first == "toolchain" => Toolchain::find().map_err(Failure::Toolchain).map(say),
        Some(_) | None => pack_file(arguments.into_iter()).map(say),
    };
    ended.unwrap_or_else(|failure| {
        eprintln!("omnivisor-pack: {failure}");
        ExitCode::from(failure.exit_code())
    })
}

fn say(done: impl fmt::Display) -> ExitCode {
    println!("{done}");
    ExitCode::SUCCESS
}

/// Why nothing was made.
enum Failure {
    Usage(String),
    Read(PathBuf, io::Error),
    Pack(PathBuf, PackError),
    Write(PathBuf, io::Error),
    Toolchain(ToolchainError),
    Cargo(io::Error),
}

impl Failure {
    /// The code of sysexits that tells a script what kind of thing is wrong.
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Pack(..) => 65,
            Self::Read(..) => 66,
            Self::Toolchain(_) | Self::Cargo(_) => 69,
            Self::Write(..) => 73,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => write!(f, "{why}\n{USAGE}"),
            Self::Read(path, why) => write!(f, "cannot read `{}`: {why}", path.display()),
            Self::Pack(path, why) => write!(f, "`{}`: {why}", path.display()),
            Self::Write(path, why) => write!(f, "cannot write `{}`: {why}", path.display()),
            Self::Toolchain(why) => why.fmt(f),
            Self::Cargo(why) => write!(f, "cargo cannot be run: {why}"),
        }
    }
}

fn run_cargo(arguments: &[String]) -> Result<ExitCode, Failure> {
    let toolchain = Toolchain::find().map_err(Failure::Toolchain)?;
    let status = toolchain.cargo_build().args(arguments).status().map_err(Failure::Cargo)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn pack_file(arguments: impl Iterator<Item = String>) -> Result<String, Failure> {
    let Arguments { input, output, manifest } = read_arguments(arguments)?;
    let core = fs::read(&input).map_err(|why| Failure::Read(input.clone(), why))?;
    let manifest =
        manifest.map(|path| fs::read_to_string(&path).map_err(|why| Failure::Read(path, why))).transpose()?;
    let name = output.file_stem().unwrap_or_default().to_string_lossy();
    let packed = pack(&core, &name, manifest.as_deref()).map_err(|why| Failure::Pack(input, why))?;
    write_whole(&output, &packed.bytes).map_err(|why| Failure::Write(output.clone(), why))?;
    Ok(format!("{}: {packed}", output.display()))
}

struct Arguments {
    input: PathBuf,
    output: PathBuf,
    manifest: Option<PathBuf>,
}

fn read_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, Failure> {
    let (mut input, mut output, mut manifest) = (None, None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Failure::Usage(format!("`{argument}` needs a path")));
        let (place, value) = match argument.as_str() {
            "-o" => (&mut output, value()?),
            "--manifest" => (&mut manifest, value()?),
            option if option.starts_with('-') => return Err(Failure::Usage(format!("unknown option `{option}`"))),
            _ => (&mut input, argument),
        };
        if let Some(first) = place.replace(PathBuf::from(&value)) {
            return Err(Failure::Usage(format!("`{}` and `{value}` stand for the same thing", first.display())));
        }
    }
    let input = input.ok_or_else(|| Failure::Usage("the core module is missing".to_owned()))?;
    let output = output.ok_or_else(|| Failure::Usage("`-o OUT.wasm` is missing".to_owned()))?;
    Ok(Arguments { input, output, manifest })
}
