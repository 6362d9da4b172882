//! The binary: reads the arguments and hands over to whoever does the work.

use omnivisor::app::{self, RunError};
use omnivisor::cli::args::{Cli, ClientCommand, Command, ConfigCommand, InitArgs, PluginCommand};
use omnivisor::cli::{self, exit};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(Cli::read().map_or_else(|code| code, dispatch))
}

fn dispatch(cli: Cli) -> u8 {
    match cli.command {
        Command::Serve(args) => ended(app::serve(args.into()).map(|()| String::new())),
        Command::Init(args) => init(args),
        Command::Restore(args) => ended(app::restore(args)),
        Command::Secrets(command) => ended(app::secrets(command)),
        Command::Config(ConfigCommand::Check { file, config }) => ended(
            app::check_config(file.or(config))
                .map(|(path, config)| format!("{}: no faults, {} nodes\n", path.display(), config.nodes.len())),
        ),
        Command::Config(ConfigCommand::Server(command)) => cli::run(&cli.client, &ClientCommand::Config(command)),
        Command::Plugin(PluginCommand::Author(command)) => app::author(command, cli.client.json),
        Command::Plugin(PluginCommand::Server(command)) => cli::run(&cli.client, &ClientCommand::Plugin(command)),
        Command::Completions { shell } => print(&Cli::completions(shell)),
        Command::PluginCompiler(args) => app::compile_plugin(&args),
        Command::Client(command) => cli::run(&cli.client, &command),
    }
}

fn init(args: InitArgs) -> u8 {
    let storage = match app::init_storage(args.config, args.data) {
        Ok(storage) => storage,
        Err(error) => return ended(Err(error)),
    };
    let password = match args.password.read_new() {
        Ok(password) => password,
        Err(error) => return fail(&error.render(), error.exit_code()),
    };
    let created = app::init(&storage, &args.username, password);
    ended(created.map(|()| format!("Administrator `{}` created in {}\n", args.username, storage.path.display())))
}

fn ended(result: Result<String, RunError>) -> u8 {
    result.map_or_else(|error| fail(&error.render(), error.exit_code()), |text| print(text.as_bytes()))
}

fn fail(text: &str, code: u8) -> u8 {
    // There is nowhere to tell that standard error is closed.
    drop(std::io::stderr().write_all(text.as_bytes()));
    code
}

fn print(bytes: &[u8]) -> u8 {
    std::io::stdout().write_all(bytes).map_or(exit::IO, |()| exit::OK)
}
