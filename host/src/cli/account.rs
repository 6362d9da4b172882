//! `login`, `logout`, `whoami`, `setup`: who the user is to a server.

use super::api::Api;
use super::args::{LoginArgs, SetupArgs};
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::password;
use super::session::{Saved, SessionFile};
use crate::api::wire::{LoginRequest, LoginResult, SetupRequest};
use serde_json::json;

pub(crate) async fn login(
    api: &Api,
    console: &mut Console,
    file: &SessionFile,
    args: &LoginArgs,
) -> Result<(), CliError> {
    // A file that cannot be used is found out before anybody types a password.
    let known = file.load()?.servers.get(&api.server().to_string()).map(|saved| saved.username.clone());
    let username = match &args.username {
        Some(username) => username.clone(),
        None => ask_username(console, known)?,
    };
    warn_of_plain_text(api, console);
    let password = args.password.read()?;
    let request = LoginRequest { username, password: password.reveal().to_owned(), cookie: false };
    let result = api.login(&request).await?;
    keep(api, console, file, &result)
}

pub(crate) async fn setup(
    api: &Api,
    console: &mut Console,
    file: &SessionFile,
    args: &SetupArgs,
) -> Result<(), CliError> {
    file.load()?;
    warn_of_plain_text(api, console);
    let token = match &args.token {
        Some(token) => token.clone(),
        None => password::ask("Setup token (the server printed it when it started): ")?,
    };
    let password = args.password.read_new()?;
    let request = SetupRequest {
        token: token.trim().to_owned(),
        username: args.username.clone(),
        password: password.reveal().to_owned(),
        cookie: false,
    };
    let result = api.setup(&request).await?;
    keep(api, console, file, &result)
}

pub(crate) async fn logout(api: &Api, console: &mut Console, file: Option<&SessionFile>) -> Result<(), CliError> {
    match api.logout().await {
        Ok(()) => {}
        // The session is over already, which is what was asked for.
        Err(CliError::Refused { problem, .. }) if problem.status == 401 => {}
        Err(error) => return Err(error),
    }
    let server = api.server().to_string();
    if let Some(file) = file {
        let mut sessions = file.load()?;
        if sessions.servers.remove(&server).is_some() {
            file.save(&sessions)?;
        }
    }
    if console.is_json {
        return console.json(&json!({ "server": server, "logged_in": false }));
    }
    console.line(&format!("logged out of {server}"))
}

pub(crate) async fn whoami(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let me = api.me().await?;
    if console.is_json {
        return console.json(&me);
    }
    let mut text = format!("{} ({}) on {}, vouched for by {}", me.name, me.role, api.server(), me.strategy);
    if !me.scopes.is_empty() {
        text.push_str(&format!(", limited to {}", me.scopes.join(", ")));
    }
    if let Some(expires_at) = &me.expires_at {
        text.push_str(&format!(", until {expires_at}"));
    }
    console.line(&escape::line(&text))?;
    if me.rights.is_empty() {
        return console.line("you may do nothing here; an administrator grants rights");
    }
    for right in &me.rights {
        console.line(&escape::line(&format!("{}: {}", right.scope, right.actions.join(" "))))?;
    }
    Ok(())
}

fn keep(api: &Api, console: &mut Console, file: &SessionFile, result: &LoginResult) -> Result<(), CliError> {
    let server = api.server().to_string();
    let odd = || CliError::NotOmnivisor { server: server.clone(), what: "a login without a token".to_owned() };
    let saved = Saved {
        token: result.token.clone().ok_or_else(odd)?,
        username: result.principal.name.clone(),
        expires_at: result.expires_at.clone(),
    };
    let mut sessions = file.load()?;
    sessions.servers.insert(server.clone(), saved);
    sessions.default = Some(server.clone());
    file.save(&sessions)?;
    if console.is_json {
        let answer = json!({
            "server": server, "logged_in": true, "principal": result.principal, "expires_at": result.expires_at,
        });
        return console.json(&answer);
    }
    let text = format!("logged in to {server} as {} ({})", result.principal.name, result.principal.role);
    console.line(&escape::line(&text))
}

fn ask_username(console: &mut Console, known: Option<String>) -> Result<String, CliError> {
    if !console.can_ask {
        return Err(CliError::usage("there is no terminal to ask for a user name on", "use --username NAME"));
    }
    let question =
        known.as_ref().map_or("Username: ".to_owned(), |known| format!("Username [{}]: ", escape::line(known)));
    let answer = console.ask(&question)?;
    match (answer.is_empty(), known) {
        (false, _) => Ok(answer),
        (true, Some(known)) => Ok(known),
        (true, None) => Err(CliError::Data { message: "a user name is needed".to_owned() }),
    }
}

fn warn_of_plain_text(api: &Api, console: &mut Console) {
    if !api.server().is_private() {
        console.remark(&format!("warning: the password goes to {} unencrypted", api.server()));
    }
}
