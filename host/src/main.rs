//! The binary: reads the arguments and hands over to whoever does the work.

use omnivisor::cli::args::{Cli, Command, ConfigCommand, InitArgs, ServeArgs};
use omnivisor::cli::{self, exit};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(Cli::read().map_or_else(|code| code, dispatch))
}

fn dispatch(cli: Cli) -> u8 {
    match cli.command {
        Command::Serve(args) => serve(&args),
        Command::Init(args) => init(&args),
        Command::Config(ConfigCommand::Check { file }) => check_config(file),
        Command::Completions { shell } => print(&Cli::completions(shell)),
        Command::Client(command) => cli::run(&cli.client, &command),
    }
}

fn serve(_args: &ServeArgs) -> u8 {
    not_built("serve")
}

fn init(args: &InitArgs) -> u8 {
    match args.password.read_new() {
        Ok(_password) => not_built("init"),
        Err(error) => fail(&error.render(), error.exit_code()),
    }
}

fn check_config(_file: Option<PathBuf>) -> u8 {
    not_built("config check")
}

fn not_built(what: &str) -> u8 {
    fail(&format!("error: `{what}` is not built yet\n"), exit::SOFTWARE)
}

fn fail(text: &str, code: u8) -> u8 {
    // There is nowhere to tell that standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    code
}

fn print(bytes: &[u8]) -> u8 {
    std::io::stdout().write_all(bytes).map_or(exit::IO, |()| exit::OK)
}
