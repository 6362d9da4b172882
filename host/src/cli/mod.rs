//! The command line: what may be typed, and the client half of what it does.
//!
//! Knows the API's wire types and the model's words, and nothing of the server's inside. Entry points: [`args::Cli`]
//! and [`run`].

mod account;
mod act;
mod age;
mod api;
mod api_key;
pub mod args;
mod audit;
pub mod authoring;
mod backup;
mod batch;
mod compact;
mod config;
mod connect;
mod console;
mod download;
mod error;
mod escape;
pub mod exit;
mod feed;
mod follow;
mod http;
mod log_level;
mod node;
mod order;
mod own;
mod paint;
mod password;
mod plugin;
mod role;
mod rows;
mod selector;
mod server;
mod session;
mod status;
mod supervisor;
mod tail;
mod user;
mod watch;

#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;

pub use act::{ActArgs, SignalArgs, StdinArgs};
pub use audit::AuditCommand;
pub use config::ServerConfigCommand;
pub use error::CliError;
pub use log_level::LogLevelArgs;
pub use node::{NodeAddArgs, NodeCommand};
pub use own::SessionCommand;
pub use password::{OwnPasswordArgs, PasswordArgs};
pub use plugin::ServerPluginCommand;
pub use supervisor::{GroupArgs, GroupCommand, NodeLogArgs, SupervisorArgs, UpdateArgs};

use crate::model::Operation;
use api::Api;
use args::{ClientCommand, ClientOptions};
use console::Console;
use http::Http;
use server::{DEFAULT_SERVER, ServerUrl};
use session::{SessionFile, Sessions};

/// Carries out one command of the client and answers the exit code, from [`exit`]. Whatever there is to say has been
/// said on the standard streams.
#[must_use]
pub fn run(options: &ClientOptions, command: &ClientCommand) -> u8 {
    let mut console = Console::standard(options.json, options.no_color);
    match start(options, command, &mut console) {
        Ok(()) => exit::OK,
        Err(error) => {
            if !error.is_told() {
                console.report(&error);
            }
            error.exit_code()
        }
    }
}

fn start(options: &ClientOptions, command: &ClientCommand, console: &mut Console) -> Result<(), CliError> {
    let file = SessionFile::standard();
    // Without a home directory there are no saved logins; that only matters to who wants to save one.
    let sessions = file.as_ref().map_or_else(|_| Ok(Sessions::default()), SessionFile::load)?;
    let named = options.server.as_deref().filter(|server| !server.is_empty());
    let server = named.or(sessions.default.as_deref()).unwrap_or(DEFAULT_SERVER);
    let server = ServerUrl::parse(server)?.trusting(options.ca_file.clone());
    let token = std::env::var("OMNIVISOR_TOKEN").ok().filter(|token| !token.is_empty());
    let token = token.or_else(|| sessions.servers.get(&server.to_string()).map(|saved| saved.token.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Terminal)?;
    runtime.block_on(dispatch(command, console, server, token.as_deref(), file))
}

async fn dispatch(
    command: &ClientCommand,
    console: &mut Console,
    server: ServerUrl,
    token: Option<&str>,
    file: Result<SessionFile, CliError>,
) -> Result<(), CliError> {
    let api = Api::new(Http::new(server, token)?);
    let ended = match command {
        // Who logs in shows no old token.
        ClientCommand::Login(args) => {
            account::login(&Api::new(Http::new(api.server().clone(), None)?), console, &file?, args).await
        }
        ClientCommand::Setup(args) => {
            account::setup(&Api::new(Http::new(api.server().clone(), None)?), console, &file?, args).await
        }
        ClientCommand::Logout => account::logout(&api, console, file.ok().as_ref()).await,
        ClientCommand::ApiKey(command) => api_key::run(&api, console, command).await,
        ClientCommand::User(command) => user::run(&api, console, command).await,
        ClientCommand::Role(command) => role::run(&api, console, command).await,
        ClientCommand::Whoami => account::whoami(&api, console).await,
        ClientCommand::Password(args) => own::password(&api, console, args).await,
        ClientCommand::Session(command) => own::sessions(&api, console, command).await,
        ClientCommand::Status(args) => status::run(&api, console, args).await,
        ClientCommand::Start(args) => order::run(&api, console, Operation::Start, args).await,
        ClientCommand::Stop(args) => order::run(&api, console, Operation::Stop, args).await,
        ClientCommand::Restart(args) => order::run(&api, console, Operation::Restart, args).await,
        ClientCommand::Monitor(args) => order::run(&api, console, Operation::Monitor, args).await,
        ClientCommand::Unmonitor(args) => order::run(&api, console, Operation::Unmonitor, args).await,
        ClientCommand::Signal(args) => act::signal(&api, console, args).await,
        ClientCommand::Stdin(args) => act::stdin(&api, console, args).await,
        ClientCommand::ClearLogs(args) => act::clear_logs(&api, console, args).await,
        ClientCommand::Group(command) => supervisor::group(&api, console, command).await,
        ClientCommand::Plugin(command) => plugin::run(&api, console, command).await,
        ClientCommand::Config(command) => config::run(&api, console, command).await,
        ClientCommand::LogLevel(args) => log_level::run(&api, console, args).await,
        ClientCommand::Audit(command) => audit::run(&api, console, command).await,
        ClientCommand::Backup { file } => backup::run(&api, console, file).await,
        ClientCommand::Compact => compact::run(&api, console).await,
        ClientCommand::Node(command) => node::run(&api, console, command).await,
        ClientCommand::Tail(args) => tail::run(&api, token, console, args).await,
        ClientCommand::Watch(args) => watch::run(api.server(), token, console, args).await,
    };
    api.close().await;
    ended
}
