//! The author's commands: from what was typed to the room `author`, and from its reports to text, JSON and exit codes.

use crate::app::logging;
use crate::author::{self, AuthorError, BuildOptions, Built, CreateOptions, Created, LimitOptions, TestOptions};
use crate::cli::authoring::{AuthorCommand, LimitArgs, NewArgs, PluginKind, TestArgs};
use crate::cli::exit;
use crate::config::{LogConfig, LogFormat};
use crate::plugin::{LoadError, PluginClass};
use serde::Serialize;
use std::io::Write as _;

/// What a command printed, and how it ends.
struct Said {
    text: String,
    code: u8,
}

/// Carries out one command of a plugin's author and answers the exit code. Whatever there is to say has been said on the
/// standard streams.
#[must_use]
pub fn author(command: AuthorCommand, is_json: bool) -> u8 {
    match carry_out(command, is_json) {
        Ok(Said { text, code }) => std::io::stdout().write_all(text.as_bytes()).map_or(exit::IO, |()| code),
        Err(error) => {
            let code = exit_code(&error);
            // There is nowhere to tell that standard error is closed.
            drop(std::io::stderr().write_all(render(&error, code, is_json).as_bytes()));
            code
        }
    }
}

fn carry_out(command: AuthorCommand, is_json: bool) -> Result<Said, AuthorError> {
    match command {
        AuthorCommand::New(args) => {
            author::create(&new_options(args)).map(|created| say(&created, is_json, next_steps))
        }
        AuthorCommand::Build(args) => {
            let options = BuildOptions { path: args.path, output: args.output, target_dir: args.target_dir };
            author::build(&options).map(|built| say(&built, is_json, component))
        }
        AuthorCommand::Inspect(args) => {
            author::inspect(&args.file).map(|facts| say(&facts, is_json, ToString::to_string))
        }
        AuthorCommand::Check(args) => {
            let checked = block_on(author::check(&args.file, limits(args.limits)))?;
            checked.map(|checked| say(&checked, is_json, ToString::to_string))
        }
        AuthorCommand::Test(args) => {
            let options = test_options(args)?;
            let report = block_on(author::test(&options))??;
            let code = if report.failed == 0 { exit::OK } else { exit::FAILED };
            Ok(Said { code, ..say(&report, is_json, ToString::to_string) })
        }
    }
}

fn say<T: Serialize>(report: &T, is_json: bool, text: impl FnOnce(&T) -> String) -> Said {
    let text = if is_json { json_line(report) } else { text(report) };
    Said { text, code: exit::OK }
}

fn json_line(report: &impl Serialize) -> String {
    // Reports are plain structs with names for keys, which always have a form in JSON.
    serde_json::to_string(report).map(|text| format!("{text}\n")).unwrap_or_default()
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, AuthorError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AuthorError::Runtime)?;
    Ok(runtime.block_on(work))
}

fn new_options(NewArgs { kind, name, path, sdk }: NewArgs) -> CreateOptions {
    let class = match kind {
        PluginKind::NodeAdapter => PluginClass::Adapter,
        PluginKind::AuthStrategy => PluginClass::Auth,
        PluginKind::InputValidator => PluginClass::Validate,
    };
    CreateOptions { class, name, path, sdk }
}

fn limits(LimitArgs { fuel, time_ms, memory_bytes, hostcall_bytes }: LimitArgs) -> LimitOptions {
    LimitOptions { fuel, time_ms, memory_bytes, hostcall_bytes }
}

fn test_options(args: TestArgs) -> Result<TestOptions, AuthorError> {
    let level = format!("off,omnivisor::plugin={}", args.log_level);
    let log = LogConfig { level, format: LogFormat::Text };
    logging::start(&log).map_err(AuthorError::Log)?;
    Ok(TestOptions {
        file: args.file,
        vectors: args.vectors,
        limits: limits(args.limits),
        is_fuel_updated: args.update_fuel,
        fuel_rise_percent: args.fuel_rise,
    })
}

fn next_steps(created: &Created) -> String {
    let Created { name, world, path, files, sdk } = created;
    let path = path.display();
    format!(
        "{path}: a plugin for the world {world}, {} files\n\
         The plugin SDK is on no registry yet: Cargo.toml points to {}.\n\
         Next:\n  cd {path}\n  cargo test                      its own tests\n  \
         omnivisor plugin build          makes target/{name}.wasm\n  \
         omnivisor plugin test target/{name}.wasm\n",
        files.len(),
        sdk.display()
    )
}

fn component(built: &Built) -> String {
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(" ") };
    let manifest = if built.has_manifest { "" } else { ", without a manifest" };
    format!(
        "{}: {} bytes (core module {}), exports {}, imports {}{manifest}\n",
        built.path.display(),
        built.size_bytes,
        built.core_bytes,
        list(&built.exports),
        list(&built.imports)
    )
}

fn exit_code(error: &AuthorError) -> u8 {
    match error {
        AuthorError::Name { .. } | AuthorError::Limits(_) | AuthorError::FileName { .. } => exit::USAGE,
        AuthorError::Manifest { .. }
        | AuthorError::Pack(_)
        | AuthorError::NoWorld { .. }
        | AuthorError::Vectors { .. } => exit::DATA,
        AuthorError::Load(LoadError::Engine { .. }) | AuthorError::Runtime(_) | AuthorError::Log(_) => exit::SOFTWARE,
        AuthorError::Load(_) => exit::DATA,
        AuthorError::NoSdk { .. } | AuthorError::Read { .. } => exit::NO_INPUT,
        AuthorError::NotEmpty { .. } | AuthorError::Write { .. } => exit::CANNOT_CREATE,
        AuthorError::Toolchain(_) | AuthorError::NoCargo(_) => exit::UNAVAILABLE,
        AuthorError::Cargo => exit::FAILED,
    }
}

/// What standard error shows: the error and everything that caused it.
fn render(error: &AuthorError, code: u8, is_json: bool) -> String {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    if is_json {
        let text = std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
        return json_line(&serde_json::json!({ "error": text, "exit_code": code }));
    }
    let because: String = causes.iter().map(|cause| format!("\n  because: {cause}")).collect();
    format!("error: {error}{because}\n")
}
