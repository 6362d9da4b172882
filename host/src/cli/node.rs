//! `node add|remove`: nodes that the API owns, beside those of the configuration's file. And what supervisors are told.

use super::api::Api;
use super::config::tell;
use super::console::Console;
use super::error::CliError;
use super::password::PasswordArgs;
use super::supervisor::{self, NodeLogArgs, SupervisorArgs, UpdateArgs};
use crate::api::wire::config::ManagedNodeRequest;
use crate::api::wire::secret::SecretField;
use clap::{Args, Subcommand};

/// `omnivisor node`
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Add a node to a running server; it outlives a restart
    #[command(
        after_help = "With --username the password is asked for, unless it is said where it comes from. The server keeps it sealed, if it has a \
        key (`omnivisor secrets new-key`), for this address alone; or it reads it itself, from a file in `node-passwords` beside its configuration or \
        from its environment. --replace without a password keeps the one that is kept.\n\nExamples:\n  \
        omnivisor node add web-2 http://10.0.0.8:9001\n  \
        omnivisor node add web-2 http://10.0.0.8:9001 --username fleet --password-file ./web-2.password\n  \
        omnivisor node add web-2 http://10.0.0.8:9001 --username fleet --server-password-file web-2 --environment production"
    )]
    Add(NodeAddArgs),
    /// Remove a node that was added so; those of the configuration's file are removed there
    #[command(after_help = "Example:\n  omnivisor node remove web-2")]
    Remove {
        /// The node's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have a node's supervisor read its configuration files, and say what differs from what runs
    #[command(
        after_help = "Changes nothing. What is wrong with the files is told in the supervisor's own words.\n\nExample:\n  omnivisor node reread web-1"
    )]
    Reread {
        /// The node's name
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Make a node run what its files say: stop and remove, change and add groups
    #[command(
        after_help = "Shows what differs and asks first. Groups that are removed or changed are stopped, seen stopped, and taken out of \
        service; changed ones are put back then.\n\nExamples:\n  omnivisor node update web-1\n  omnivisor node update --yes web-1"
    )]
    Update(UpdateArgs),
    /// Restart a node's supervisor: all its processes end, and those that start by themselves start again
    #[command(
        after_help = "Asks first. The node is shutting-down until it is seen again.\n\nExample:\n  omnivisor node restart --yes web-1"
    )]
    Restart(SupervisorArgs),
    /// End a node's supervisor and all its processes
    #[command(
        after_help = "Asks first. Whoever watches the supervisor may start it again.\n\nExample:\n  omnivisor node shutdown --yes web-1"
    )]
    Shutdown(SupervisorArgs),
    /// Print the end of a supervisor's own log
    #[command(after_help = "Example:\n  omnivisor node log -n 20000 web-1")]
    Log(NodeLogArgs),
}

/// `omnivisor node add`
#[derive(Debug, Clone, Args)]
pub struct NodeAddArgs {
    /// The node's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where it listens: http://HOST:PORT or unix:///PATH
    #[arg(value_name = "URL")]
    pub url: String,
    /// A word to group nodes by
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// The plugin that speaks to it [default: node-supervisord]
    #[arg(long, value_name = "PLUGIN")]
    pub adapter: Option<String>,
    /// The user
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// The server's variable that holds the password; begins with OMNIVISOR_NODE_
    #[arg(long, value_name = "VARIABLE", requires = "username", conflicts_with_all = ["password_file", "password_stdin"])]
    pub server_password_env: Option<String>,
    /// The name of a file in the server's `node-passwords`
    #[arg(long, value_name = "NAME", requires = "username",
        conflicts_with_all = ["password_file", "password_stdin", "server_password_env"])]
    pub server_password_file: Option<String>,
    /// Have the server forget the password that it keeps
    #[arg(long, requires = "replace", conflicts_with_all = ["password_file", "password_stdin"])]
    pub no_password: bool,
    /// Show the node and send nothing to it
    #[arg(long)]
    pub disabled: bool,
    /// Replace a node that was added before
    #[arg(long)]
    pub replace: bool,
}

impl NodeAddArgs {
    /// What is sent of the password: from where it is said to be, asked for, or nothing.
    fn password(&self) -> Result<SecretField, CliError> {
        if self.no_password {
            return Ok(SecretField::Null);
        }
        let is_elsewhere = self.server_password_env.is_some() || self.server_password_file.is_some();
        let is_asked_for = self.username.is_some() && !self.replace && !is_elsewhere;
        if self.password.is_given() || is_asked_for {
            return Ok(SecretField::Given(self.password.read()?));
        }
        Ok(SecretField::Left)
    }
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::Add(args) => {
            let request = ManagedNodeRequest {
                name: Some(args.name.clone()),
                url: args.url.clone(),
                environment: args.environment.clone(),
                adapter: args.adapter.clone(),
                username: args.username.clone(),
                password: args.password()?,
                password_env: args.server_password_env.clone(),
                password_file: args.server_password_file.clone(),
                enabled: args.disabled.then_some(false),
            };
            let applied = if args.replace {
                api.replace_node(&args.name, &request).await?
            } else {
                api.add_node(&request).await?
            };
            tell(console, &applied)
        }
        NodeCommand::Remove { name } => tell(console, &api.remove_node(name).await?),
        NodeCommand::Reread { name } => supervisor::reread(api, console, name).await,
        NodeCommand::Update(args) => supervisor::update(api, console, args).await,
        NodeCommand::Restart(args) => supervisor::supervisor(api, console, "restart", args).await,
        NodeCommand::Shutdown(args) => supervisor::supervisor(api, console, "shutdown", args).await,
        NodeCommand::Log(args) => supervisor::log(api, console, args).await,
    }
}
