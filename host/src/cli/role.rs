//! `role`: names for actions.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::user::table;
use crate::api::wire::account::{RoleEdit, RoleList, RoleRequest, RoleView};
use clap::Subcommand;
use http::Method;
use serde_json::json;

/// `omnivisor role`
#[derive(Debug, Clone, Subcommand)]
pub enum RoleCommand {
    /// Show all roles with what they allow
    List,
    /// Show one role
    Show {
        /// The role's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Create a role, or let one allow exactly this from now on
    #[command(after_help = "Example:\n  omnivisor role set deploy process.read process.control log.read")]
    Set {
        /// The role's name
        #[arg(value_name = "NAME")]
        name: String,
        /// What it allows, e.g. process.read
        #[arg(value_name = "ACTION", required = true)]
        actions: Vec<String>,
    },
    /// Remove a role that no account has
    Remove {
        /// The role's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &RoleCommand) -> Result<(), CliError> {
    match command {
        RoleCommand::List => list(api, console).await,
        RoleCommand::Show { name } => {
            let (role, _) = api.find(&["roles", name]).await?;
            tell(console, &role)
        }
        RoleCommand::Set { name, actions } => set(api, console, name, actions).await,
        RoleCommand::Remove { name } => remove(api, console, name).await,
    }
}

async fn list(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let all: RoleList = api.read(&["roles"], &[]).await?;
    if console.is_json {
        return console.json(&all);
    }
    let mut table = table(["NAME", "KIND", "ALLOWS"]);
    for role in &all.items {
        let kind = if role.built_in { "built-in" } else { "custom" };
        let cells = [role.name.clone(), kind.to_owned(), role.actions.join(" ")];
        table.add_row(cells.map(|text| escape::line(&text).into_owned()));
    }
    console.line(&table.trim_fmt())
}

fn tell(console: &mut Console, role: &RoleView) -> Result<(), CliError> {
    if console.is_json {
        return console.json(role);
    }
    console.line(&escape::line(&format!("{}: {}", role.name, role.actions.join(" "))))
}

async fn set(api: &Api, console: &mut Console, name: &str, actions: &[String]) -> Result<(), CliError> {
    let found: Result<(RoleView, _), CliError> = api.find(&["roles", name]).await;
    let role = match found {
        Ok((_, tag)) => {
            let edit = RoleEdit { actions: actions.to_vec() };
            api.change(Method::PUT, &["roles", name], Some(&edit), tag).await?
        }
        Err(CliError::Refused { problem, .. }) if problem.code == "auth.role_not_found" => {
            let new = RoleRequest { name: name.to_owned(), actions: actions.to_vec() };
            api.change(Method::POST, &["roles"], Some(&new), None).await?
        }
        Err(error) => return Err(error),
    };
    tell(console, &role)
}

async fn remove(api: &Api, console: &mut Console, name: &str) -> Result<(), CliError> {
    let (_, tag): (RoleView, _) = api.find(&["roles", name]).await?;
    api.remove(&["roles", name], tag).await?;
    if console.is_json {
        return console.json(&json!({ "name": name, "removed": true }));
    }
    console.line(&format!("role {} is removed", escape::line(name)))
}
