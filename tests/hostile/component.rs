//! Components from a few lines of WebAssembly text, so that the fixtures need no guest toolchain.
//!
//! A fixture holds fields of a core module: the functions that matter, by their names below. What it leaves out gets
//! a well-behaved default, and the whole is lifted to a component of one of the worlds below.

use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The world that a fixture is lifted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// `auth-strategy`
    Auth,
    /// `input-validator` of version 0.1.0
    Validate,
    /// `input-validator` of version 0.2.0
    ValidateV02,
    /// `node-adapter` of version 0.1.0
    Adapter,
    /// `node-adapter` of version 0.2.0
    AdapterV02,
}

/// An export: its name in the interface, its name in the text, its type, and what it does by default.
type Export = (&'static str, &'static str, &'static str, &'static str);

const ADAPTER: [Export; 7] = [
    ("describe", "$describe", "(result i32)", "(i32.const 1024)"),
    ("observe", "$observe", "(result i32)", "(i32.const 1104)"),
    ("observe-some", "$observe_some", "(param i32 i32) (result i32)", "(i32.const 0)"),
    ("run", "$run", "(param i32 i32 i32 i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
    ("read-log", "$read_log", "(param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32) (result i32)", "(i32.const 0)"),
    ("hint-request", "$hint_request", "(result i32)", "(i32.const 0)"),
    ("read-hints", "$read_hints", "(param i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
];
const ADAPTER_V02: [Export; 12] = [
    ("describe", "$describe", "(result i32)", "(i32.const 1456)"),
    ("observe", "$observe", "(result i32)", "(i32.const 1104)"),
    ("observe-some", "$observe_some", "(param i32 i32) (result i32)", "(i32.const 0)"),
    ("run", "$run", "(param i32 i32 i32 i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
    ("run-group", "$run_group", "(param i32 i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
    ("run-node", "$run_node", "(param i32 i32 i32) (result i32)", "(i32.const 0)"),
    ("reread", "$reread", "(result i32)", "(i32.const 0)"),
    ("read-log", "$read_log", "(param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32) (result i32)", "(i32.const 0)"),
    ("follow-request", "$follow_request", "(param i32 i32 i32 i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
    ("read-node-log", "$read_node_log", "(param i32) (result i32)", "(i32.const 0)"),
    ("hint-request", "$hint_request", "(result i32)", "(i32.const 0)"),
    ("read-hints", "$read_hints", "(param i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
];
const AUTH: [Export; 2] = [
    ("describe", "$describe", "(result i32)", "(i32.const 1200)"),
    (
        "authenticate",
        "$authenticate",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)",
        "(i32.const 1304)",
    ),
];
const VALIDATE: [Export; 2] = [
    ("describe", "$describe", "(result i32)", "(i32.const 1400)"),
    ("validate", "$validate", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)", "(i32.const 0)"),
];
const VALIDATE_V02: [Export; 2] = [
    ("describe", "$describe", "(result i32)", "(i32.const 1424)"),
    // The operation lies in memory: name 0, is-mutating 8, principal 12, targets 56, fields 64, at-ms 72, extra 80.
    ("validate", "$validate", "(param i32) (result i32)", "(i32.const 0)"),
];

/// Answers in memory. Below 1,024 all is zero, which reads as "fine, and nothing in it" for every result.
const ANSWERS: [(u32, &[u32]); 11] = [
    // describe of an adapter: kind, operations start and stop, channels stdout and stderr, no hints.
    (1024, &[2048, 4, 2064, 2, 2064, 2, 0, 0, 0]),
    (2064, &[0, 0, 0, 1, 0, 0]),
    // The same for 0.2.0, whose abilities begin with start and stop.
    (1456, &[2048, 4, 2064, 2, 2064, 2, 0, 0]),
    // observe: fine, version, identification, one process `g:p` that is running.
    (1104, &[0, 2100, 1, 2101, 1, 2200, 1, 0, 0]),
    (2200, &[2100, 1, 2101, 1, 2]),
    // describe of a strategy: `password`; of a validator: `*`.
    (1200, &[0, 2304, 1, 0, 0, 0, 0]),
    (2304, &[2320, 8]),
    (1400, &[2312, 1, 0, 0]),
    // The same for 0.2.0: fine, `*`.
    (1424, &[0, 2312, 1, 0, 0]),
    (2312, &[2328, 1]),
    // authenticate: fine, granted to `ann`.
    (1304, &[0, 0, 0, 0, 2340, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
];
const TEXTS: [(u32, &str); 5] = [(2048, "test"), (2100, "gp"), (2320, "password"), (2328, "*"), (2340, "ann")];

const REALLOC: &str = r#"
  (func $cabi_realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536)) (i32.const 1))))))
    (local.get $at))
"#;

impl World {
    fn name(self) -> &'static str {
        match self {
            Self::Auth => "omnivisor:auth/auth-strategy",
            Self::Validate | Self::ValidateV02 => "omnivisor:validate/input-validator",
            Self::Adapter | Self::AdapterV02 => "omnivisor:adapter/node-adapter",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Auth => "auth/0.1.0",
            Self::Validate => "validate/0.1.0",
            Self::ValidateV02 => "validate/0.2.0",
            Self::Adapter => "adapter/0.1.0",
            Self::AdapterV02 => "adapter/0.2.0",
        }
    }

    fn interface(self) -> &'static str {
        match self {
            Self::Auth => "omnivisor:auth/strategy@0.1.0",
            Self::Validate => "omnivisor:validate/validator@0.1.0",
            Self::ValidateV02 => "omnivisor:validate/validator@0.2.0",
            Self::Adapter => "omnivisor:adapter/node@0.1.0",
            Self::AdapterV02 => "omnivisor:adapter/node@0.2.0",
        }
    }

    fn exports(self) -> &'static [Export] {
        match self {
            Self::Auth => &AUTH,
            Self::Validate => &VALIDATE,
            Self::ValidateV02 => &VALIDATE_V02,
            Self::Adapter => &ADAPTER,
            Self::AdapterV02 => &ADAPTER_V02,
        }
    }

    fn imports(self) -> &'static str {
        match self {
            Self::Auth => {
                r#"(import "omnivisor:host/accounts@0.1.0" "check-password" (func $check (param i32 i32 i32 i32 i32)))"#
            }
            Self::Validate | Self::ValidateV02 => "",
            Self::Adapter | Self::AdapterV02 => {
                r#"(import "omnivisor:host/exchange@0.1.0" "send"
                    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#
            }
        }
    }
}

/// What an `auth-strategy` may import besides, by the name that a fixture calls it by.
const HOST: [(&str, &str); 6] = [
    ("$settings", r#""omnivisor:host/settings@0.1.0" "get" (func $settings (param i32))"#),
    ("$now", r#""omnivisor:host/clock@0.1.0" "now-ms" (func $now (result i64))"#),
    ("$random", r#""omnivisor:host/random@0.1.0" "bytes" (func $random (param i32 i32))"#),
    ("$secret", r#""omnivisor:host/secrets@0.1.0" "get" (func $secret (param i32 i32 i32))"#),
    ("$key", r#""omnivisor:host/api-keys@0.1.0" "find" (func $key (param i32 i32 i32))"#),
    (
        "$http",
        r#""omnivisor:host/http-client@0.1.0" "send"
            (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))"#,
    ),
];

/// A folder of the project.
fn project(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
}

/// A component that was built when this version of its contract was current, and kept.
pub(crate) fn released(version: &str) -> anyhow::Result<Vec<u8>> {
    let path = project("tests/fixtures/released").join(format!("{version}.wat"));
    Ok(wat::parse_file(path)?)
}

/// The text of a fixture.
pub(crate) fn text(fixture: &str) -> anyhow::Result<String> {
    let path = project("tests/fixtures/components").join(format!("{fixture}.wat"));
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// A component of `world` with the fields of a fixture.
pub(crate) fn from_fixture(world: World, fixture: &str) -> anyhow::Result<Vec<u8>> {
    build(world, &text(fixture)?).with_context(|| format!("building {fixture}"))
}

/// A component of `world` that behaves well.
pub(crate) fn good(world: World) -> anyhow::Result<Vec<u8>> {
    build(world, "")
}

/// An adapter with the fields of a fixture, as a toolchain makes it that knows WASI.
pub(crate) fn guest(fixture: &str) -> anyhow::Result<Vec<u8>> {
    const WASI: [&str; 6] = ["io", "cli", "clocks", "random", "filesystem", "sockets"];
    let folders = WASI.iter().map(|package| format!("tests/fixtures/wit/{package}"));
    let folders = folders.chain(["wit/adapter/0.1.0".to_owned()]);
    let module = wat::parse_str(module(World::Adapter, &text(fixture)?)?)?;
    lift(module, folders, "tests/fixtures/wit/guest", "omnivisor:guest/node-adapter")
        .with_context(|| format!("building {fixture}"))
}

/// A component of `world` with these fields of a core module.
pub(crate) fn build(world: World, fields: &str) -> anyhow::Result<Vec<u8>> {
    from_module(world, wat::parse_str(module(world, fields)?)?)
}

/// A component of `world` from a whole core module.
pub(crate) fn from_module(world: World, module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    lift(module, std::iter::empty(), &format!("wit/{}", world.folder()), world.name())
}

fn lift(
    mut module: Vec<u8>,
    folders: impl Iterator<Item = String>,
    package: &str,
    world: &str,
) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    for folder in ["wit/types/0.1.0", "wit/host/0.1.0"].map(str::to_owned).into_iter().chain(folders) {
        resolve.push_path(project(&folder))?;
    }
    let (package, _) = resolve.push_path(project(package))?;
    let world = resolve.select_world(&[package], Some(world))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// The component with this manifest.
pub(crate) fn with_manifest(component: Vec<u8>, manifest: &str) -> Vec<u8> {
    with_section(component, "omnivisor.manifest", manifest)
}

/// The component with one more section that nobody runs: it does the same and is another one.
pub(crate) fn with_section(mut component: Vec<u8>, name: &str, text: &str) -> Vec<u8> {
    component.push(0);
    leb128(&mut component, 1 + name.len() + text.len());
    leb128(&mut component, name.len());
    component.extend(name.bytes().chain(text.bytes()));
    component
}

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

/// An auth strategy that exports the interface `redirect` besides; `fields` have its two functions.
pub(crate) fn redirecting(fields: &str) -> anyhow::Result<Vec<u8>> {
    let mut module = wat::parse_str(module(World::Auth, fields)?)?;
    let mut resolve = Resolve::default();
    for folder in ["wit/types/0.1.0", "wit/host/0.1.0", "wit/auth/0.1.0"] {
        resolve.push_path(project(folder))?;
    }
    let both = "package test:both; world both {
        include omnivisor:auth/auth-strategy@0.1.0; include omnivisor:auth/redirect-login@0.1.0; }";
    let package = resolve.push_str("both.wit", both)?;
    let world = resolve.select_world(&[package], Some("both"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// A good component of `world` with further fields of a component appended.
pub(crate) fn extended(world: World, fields: &str) -> anyhow::Result<Vec<u8>> {
    let printed = wasmprinter::print_bytes(good(world)?)?;
    let open = printed.trim_end().strip_suffix(')').context("a component ends with a parenthesis")?;
    Ok(wat::parse_str(format!("{open}{fields})"))?)
}

/// The text of a core module of `world` with these fields. Lines with imports go first, as the format wants it.
pub(crate) fn module(world: World, fields: &str) -> anyhow::Result<String> {
    let (imports, fields): (Vec<&str>, Vec<&str>) = fields.lines().partition(|line| line.starts_with("(import "));
    let fields = &fields.join("\n");
    let mut text = String::from("(module\n");
    writeln!(text, "{}\n{}", world.imports(), imports.join("\n"))?;
    writeln!(text, r#"(import "omnivisor:host/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32 i32 i32)))"#)?;
    for (symbol, import) in HOST {
        // What a fixture does not call it does not import: each interface is a wish of its own.
        if fields.contains(&format!("(call {symbol} ")) || fields.contains(&format!("(call {symbol})")) {
            writeln!(text, "(import {import})")?;
        }
    }
    if !fields.contains("(memory (") {
        writeln!(text, r#"(memory (export "memory") 2)"#)?;
    }
    writeln!(text, "(global $heap (mut i32) (i32.const 65536))")?;
    if !fields.contains("(func $cabi_realloc ") {
        text.push_str(REALLOC);
    }
    for (at, words) in ANSWERS {
        let bytes: String =
            words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(text, r#"(data (i32.const {at}) "{bytes}")"#)?;
    }
    for (at, bytes) in TEXTS {
        writeln!(text, r#"(data (i32.const {at}) "{bytes}")"#)?;
    }
    // After the answers, so that a fixture's data replaces them.
    text.push_str(fields);
    for (name, symbol, signature, answer) in world.exports() {
        if !fields.contains(&format!("(func {symbol} ")) {
            writeln!(text, "(func {symbol} {signature} {answer})")?;
        }
        writeln!(text, r#"(export "{}#{name}" (func {symbol}))"#, world.interface())?;
    }
    text.push(')');
    Ok(text)
}
