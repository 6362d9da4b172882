//! The compiler for guests: the default toolchain's, or the distribution's with Rust's library built from its source.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What plugins are compiled for.
pub const GUEST_TARGET: &str = "wasm32-unknown-unknown";
/// The cargo profile that plugins are compiled with.
pub const GUEST_PROFILE: &str = "guest";

const DISTRIBUTION_CARGO: &str = "/usr/bin/cargo";
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";
const DISTRIBUTION_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std";
const DISTRIBUTION_PACKAGES: &str = "rustc-web cargo-web rust-web-src";

/// A compiler that can make guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The default toolchain; the target is installed.
    Target,
    /// Debian's compiler. Rust's library is built once from its source, about four minutes on two cores.
    Distribution {
        /// The folder of `rust-lld`.
        linker: PathBuf,
    },
}

/// Why no guest can be compiled here. The text says what to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolchainError {
    /// Rust's library for the target is not here, nor its source with a compiler of the same version.
    Missing,
    /// The distribution's compiler is here, and a linker is not.
    NoLinker,
}

impl std::error::Error for ToolchainError {}

impl fmt::Display for ToolchainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "plugins are compiled for {GUEST_TARGET}, and Rust's library for it is not here; install one of:\n  \
                 rustup target add {GUEST_TARGET}\n  apt-get install {DISTRIBUTION_PACKAGES}      (Debian)"
            ),
            Self::NoLinker => {
                f.write_str("`rust-lld` is missing; install Rust with rustup, or the distribution's package lld")
            }
        }
    }
}

impl Toolchain {
    /// Looks for a compiler: the default toolchain's target first.
    ///
    /// # Errors
    /// [`ToolchainError`]: there is none.
    pub fn find() -> Result<Self, ToolchainError> {
        if has_target() {
            return Ok(Self::Target);
        }
        if !has_distribution() {
            return Err(ToolchainError::Missing);
        }
        linker().map(|linker| Self::Distribution { linker }).ok_or(ToolchainError::NoLinker)
    }

    /// `cargo build` for guests, to which packages, profile and folders are to be added.
    #[must_use]
    pub fn cargo_build(&self) -> Command {
        match self {
            Self::Target => {
                let mut cargo = Command::new("cargo");
                cargo.args(["build", "--target", GUEST_TARGET]);
                cargo
            }
            Self::Distribution { linker } => {
                let mut cargo = Command::new(DISTRIBUTION_CARGO);
                // Unstable flags are needed to build the library; this compiler and its source are of one version.
                cargo
                    .args(["build", "--target", GUEST_TARGET, "-Zbuild-std=std,panic_abort"])
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", DISTRIBUTION_RUSTC)
                    .env("RUSTC_WRAPPER", "")
                    .env("CARGO_ENCODED_RUSTFLAGS", "-Clinker=rust-lld")
                    .env("PATH", before_path(linker));
                cargo
            }
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => write!(f, "cargo, with the target {GUEST_TARGET}"),
            Self::Distribution { .. } => write!(f, "{DISTRIBUTION_CARGO}, with Rust's library built from its source"),
        }
    }
}

fn has_target() -> bool {
    let Some(folder) = ask("rustc", &["--print", "target-libdir", "--target", GUEST_TARGET]) else { return false };
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| is_library(&entry.file_name()))
}

fn is_library(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

fn has_distribution() -> bool {
    [DISTRIBUTION_CARGO, DISTRIBUTION_RUSTC, DISTRIBUTION_LIBRARY].iter().all(|path| Path::new(path).exists())
        && ask("dpkg", &["-s", "rust-web-src"]).is_some()
}

/// The folder of `rust-lld`: the default toolchain's own, or one of the search path.
fn linker() -> Option<PathBuf> {
    let has_linker = |folder: &PathBuf| folder.join("rust-lld").is_file();
    let own = || {
        let sysroot = ask("rustc", &["--print", "sysroot"])?;
        let version = ask("rustc", &["-vV"])?;
        let machine = version.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
        Some(Path::new(&sysroot).join("lib/rustlib").join(machine).join("bin"))
    };
    own().filter(has_linker).or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).find(has_linker)
    })
}

fn before_path(folder: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// What a program prints, without the line's end; none when it is not there or fails.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_cargo_builds_the_library_and_finds_its_linker() {
        let cargo = Toolchain::Distribution { linker: PathBuf::from("/lld") }.cargo_build();
        assert_eq!(cargo.get_program(), DISTRIBUTION_CARGO);
        let arguments: Vec<_> = cargo.get_args().collect();
        assert_eq!(arguments, ["build", "--target", GUEST_TARGET, "-Zbuild-std=std,panic_abort"]);
        let path = cargo.get_envs().find(|(key, _)| *key == "PATH").and_then(|(_, value)| value).expect("a path");
        assert!(path.to_string_lossy().starts_with("/lld:"), "{path:?}");
    }

    #[test]
    fn who_has_no_compiler_is_told_what_to_install() {
        let text = ToolchainError::Missing.to_string();
        assert!(text.contains("rustup target add wasm32-unknown-unknown") && text.contains("rust-web-src"), "{text}");
    }

    #[test]
    fn only_the_standard_library_counts_as_the_target() {
        assert!(is_library(OsStr::new("libstd-0123.rlib")));
        assert!(!is_library(OsStr::new("libcore-0123.rlib")) && !is_library(OsStr::new("libstd-0123.so")));
    }
}
