//! `node add|remove`: nodes that the API owns, beside those of the configuration's file.

use super::api::Api;
use super::config::tell;
use super::console::Console;
use super::error::CliError;
use crate::api::wire::config::ManagedNodeRequest;
use clap::{Args, Subcommand};

/// `omnivisor node`
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Add a node to a running server; it outlives a restart
    #[command(
        after_help = "The password is never sent: the server reads it from a file of this name in `node-passwords` beside its configuration, \
        or from its own environment.\n\nExamples:\n  omnivisor node add web-2 http://10.0.0.8:9001\n  \
        omnivisor node add web-2 http://10.0.0.8:9001 --username fleet --password-file web-2 --environment production"
    )]
    Add(NodeAddArgs),
    /// Remove a node that was added so; those of the configuration's file are removed there
    #[command(after_help = "Example:\n  omnivisor node remove web-2")]
    Remove {
        /// The node's name
        #[arg(value_name = "NAME")]
        name: String,
    },
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
    /// The server's variable that holds the password; begins with OMNIVISOR_NODE_
    #[arg(long, value_name = "VARIABLE", requires = "username", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// The name of a file in the server's `node-passwords`
    #[arg(long, value_name = "NAME", requires = "username")]
    pub password_file: Option<String>,
    /// Show the node and send nothing to it
    #[arg(long)]
    pub disabled: bool,
    /// Replace a node that was added before
    #[arg(long)]
    pub replace: bool,
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
                password_env: args.password_env.clone(),
                password_file: args.password_file.clone(),
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
    }
}
