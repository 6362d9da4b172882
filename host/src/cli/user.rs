//! `user`: accounts, their grants and sessions.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::password::PasswordArgs;
use crate::api::wire::account::{
    GrantView, GrantsRequest, SessionList, SessionsEnded, UserEdit, UserList, UserRequest, UserView,
};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use http::Method;
use serde_json::json;

/// `omnivisor user`
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Show all accounts with their grants
    List,
    /// Show one account
    Show(UserArgs),
    /// Create an account
    #[command(
        after_help = "A scope is everything, environment:NAME, node:NAME or group:NODE/GROUP. Without a grant the account may do nothing.\n\n\
        Examples:\n  omnivisor user add ann --grant operator@environment:lab --grant viewer@everything\n  \
        omnivisor user add ci --grant deploy@group:web-1/shop --password-file secret"
    )]
    Add(UserAddArgs),
    /// Remove an account, with its sessions and API keys
    Remove(UserArgs),
    /// Disable an account: its sessions end, and nobody may use it
    Disable(UserArgs),
    /// Enable an account again
    Enable(UserArgs),
    /// Set an account's password; its sessions end
    Password(UserPasswordArgs),
    /// Give an account a role over something, beside what it has
    #[command(after_help = "Example:\n  omnivisor user grant ann operator@environment:lab")]
    Grant(UserGrantArgs),
    /// Take a role over something from an account
    #[command(after_help = "Example:\n  omnivisor user ungrant ann operator@environment:lab")]
    Ungrant(UserGrantArgs),
    /// Show an account's sessions, or end them
    #[command(
        after_help = "Examples:\n  omnivisor user sessions ann\n  omnivisor user sessions ann --end 0123456789abcdef\n  \
        omnivisor user sessions ann --end-all"
    )]
    Sessions(UserSessionsArgs),
}

/// An account.
#[derive(Debug, Clone, Args)]
pub struct UserArgs {
    /// The account's name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `omnivisor user add`
#[derive(Debug, Clone, Args)]
pub struct UserAddArgs {
    /// The account's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A role over something; may be given again
    #[arg(long = "grant", value_name = "ROLE@SCOPE", value_parser = grant)]
    pub grants: Vec<Grant>,
    /// Nobody may use it yet
    #[arg(long)]
    pub disabled: bool,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `omnivisor user password`
#[derive(Debug, Clone, Args)]
pub struct UserPasswordArgs {
    /// The account's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `omnivisor user grant|ungrant`
#[derive(Debug, Clone, Args)]
pub struct UserGrantArgs {
    /// The account's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A role over something
    #[arg(value_name = "ROLE@SCOPE", value_parser = grant, required = true)]
    pub grants: Vec<Grant>,
}

/// `omnivisor user sessions`
#[derive(Debug, Clone, Args)]
pub struct UserSessionsArgs {
    /// The account's name, or STRATEGY/NAME of somebody known elsewhere
    #[arg(value_name = "NAME")]
    pub name: String,
    /// End this one
    #[arg(long, value_name = "ID", conflicts_with = "end_all")]
    pub end: Option<String>,
    /// End all of them
    #[arg(long)]
    pub end_all: bool,
}

/// A role over a scope, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant(GrantView);

fn grant(text: &str) -> Result<Grant, String> {
    let (role, scope) = text.split_once('@').ok_or("ROLE@SCOPE was expected, e.g. operator@environment:lab")?;
    Ok(Grant(GrantView { role: role.to_owned(), scope: scope.to_owned() }))
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &UserCommand) -> Result<(), CliError> {
    let edit = |disabled| UserEdit { disabled: Some(disabled), password: None };
    match command {
        UserCommand::List => list(api, console).await,
        UserCommand::Show(args) => {
            let (user, _) = find(api, &args.name).await?;
            tell(console, &user)
        }
        UserCommand::Add(args) => add(api, console, args).await,
        UserCommand::Remove(args) => remove(api, console, &args.name).await,
        UserCommand::Disable(args) => change(api, console, &args.name, &edit(true)).await,
        UserCommand::Enable(args) => change(api, console, &args.name, &edit(false)).await,
        UserCommand::Password(args) => {
            let password = args.password.read_new()?;
            let edit = UserEdit { password: Some(password.reveal().to_owned()), disabled: None };
            change(api, console, &args.name, &edit).await
        }
        UserCommand::Grant(args) => {
            regrant(api, console, args, |grants, new| {
                if !grants.contains(&new) {
                    grants.push(new);
                }
            })
            .await
        }
        UserCommand::Ungrant(args) => {
            regrant(api, console, args, |grants, old| grants.retain(|grant| *grant != old)).await
        }
        UserCommand::Sessions(args) => sessions(api, console, args).await,
    }
}

/// An account, and the tag of its revision.
async fn find(api: &Api, name: &str) -> Result<(UserView, Option<String>), CliError> {
    api.find(&["users", name]).await
}

async fn list(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let mut all = UserList { items: Vec::new(), next: None };
    let mut cursor = None;
    loop {
        let limit = ("limit", "1000".to_owned());
        let query: Vec<_> = std::iter::once(limit).chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        let page: UserList = api.read(&["users"], &query).await?;
        all.items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if console.is_json {
        return console.json(&all);
    }
    let mut table = table(["NAME", "STATE", "GRANTS"]);
    for user in &all.items {
        table.add_row(
            [user.name.clone(), state(user).to_owned(), grants(user)].map(|text| escape::line(&text).into_owned()),
        );
    }
    console.line(&table.trim_fmt())
}

pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.force_no_tty();
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    table
}

const fn state(user: &UserView) -> &'static str {
    if user.disabled { "disabled" } else { "enabled" }
}

fn grants(user: &UserView) -> String {
    let said: Vec<String> = user.grants.iter().map(|grant| format!("{}@{}", grant.role, grant.scope)).collect();
    if said.is_empty() { "none".to_owned() } else { said.join(" ") }
}

fn tell(console: &mut Console, user: &UserView) -> Result<(), CliError> {
    if console.is_json {
        return console.json(user);
    }
    console.line(&escape::line(&format!("{}: {}; {}", user.name, state(user), grants(user))))
}

async fn add(api: &Api, console: &mut Console, args: &UserAddArgs) -> Result<(), CliError> {
    let request = UserRequest {
        name: args.name.clone(),
        password: args.password.read_new()?.reveal().to_owned(),
        grants: args.grants.iter().map(|grant| grant.0.clone()).collect(),
        disabled: args.disabled,
    };
    let user: UserView = api.change(Method::POST, &["users"], Some(&request), None).await?;
    tell(console, &user)
}

async fn change(api: &Api, console: &mut Console, name: &str, edit: &UserEdit) -> Result<(), CliError> {
    let (_, tag) = find(api, name).await?;
    let user: UserView = api.change(Method::PATCH, &["users", name], Some(edit), tag).await?;
    tell(console, &user)
}

async fn remove(api: &Api, console: &mut Console, name: &str) -> Result<(), CliError> {
    let (_, tag) = find(api, name).await?;
    api.remove(&["users", name], tag).await?;
    if console.is_json {
        return console.json(&json!({ "name": name, "removed": true }));
    }
    console.line(&format!("account {} is removed", escape::line(name)))
}

async fn regrant(
    api: &Api,
    console: &mut Console,
    args: &UserGrantArgs,
    apply: impl Fn(&mut Vec<GrantView>, GrantView),
) -> Result<(), CliError> {
    let (user, tag) = find(api, &args.name).await?;
    let mut request = GrantsRequest { grants: user.grants };
    for grant in &args.grants {
        apply(&mut request.grants, grant.0.clone());
    }
    let user: UserView = api.change(Method::PUT, &["users", &args.name, "grants"], Some(&request), tag).await?;
    tell(console, &user)
}

async fn sessions(api: &Api, console: &mut Console, args: &UserSessionsArgs) -> Result<(), CliError> {
    let name = args.name.as_str();
    let path = ["users", name, "sessions"];
    if let Some(id) = &args.end {
        api.remove(&["users", name, "sessions", id], None).await?;
        return ended(console, 1);
    }
    if args.end_all {
        let done: SessionsEnded = api.change(Method::DELETE, &path, None::<&()>, None).await?;
        return ended(console, done.ended);
    }
    let list: SessionList = api.read(&path, &[]).await?;
    tell_sessions(console, &list)
}

/// Shows sessions, and which of them this command goes by, if it does.
pub(super) fn tell_sessions(console: &mut Console, list: &SessionList) -> Result<(), CliError> {
    if console.is_json {
        return console.json(list);
    }
    if list.items.is_empty() {
        return console.line("no sessions");
    }
    let mut table = table(["ID", "BY", "BEGAN", "LAST USED", "ENDS", ""]);
    for session in &list.items {
        let this = if session.current { "this one" } else { "" };
        let cells = [&session.id, &session.strategy, &session.created_at, &session.last_used_at, &session.expires_at];
        let cells = cells.into_iter().map(String::as_str).chain([this]);
        table.add_row(cells.map(|text| escape::line(text).into_owned()));
    }
    console.line(&table.trim_fmt())
}

pub(super) fn ended(console: &mut Console, count: u64) -> Result<(), CliError> {
    if console.is_json {
        return console.json(&SessionsEnded { ended: count });
    }
    console.line(&format!("{count} sessions ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_typed_as_a_role_over_a_scope() {
        let Grant(typed) = grant("deploy@group:web-1/a@b").unwrap();
        assert_eq!((typed.role.as_str(), typed.scope.as_str()), ("deploy", "group:web-1/a@b"));
        assert!(grant("operator").is_err());
    }
}
