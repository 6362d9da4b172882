//! `password` and `session`: the user's own password and sessions.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::password::OwnPasswordArgs;
use super::user::{ended, tell_sessions};
use crate::api::wire::account::{PasswordRequest, SessionList};
use clap::Subcommand;
use serde_json::json;

/// `omnivisor session`
#[derive(Debug, Clone, Subcommand)]
pub enum SessionCommand {
    /// Show your sessions, newest first
    List,
    /// End one of your sessions
    #[command(after_help = "Example:\n  omnivisor session end 0123456789abcdef")]
    End {
        /// The session's id, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// End all your sessions but this one
    #[command(after_help = "With an API key there is no session of this command's own, and all of them end.")]
    EndOthers,
}

pub(crate) async fn password(api: &Api, console: &mut Console, args: &OwnPasswordArgs) -> Result<(), CliError> {
    let (old, new) = args.read()?;
    let request = PasswordRequest { old: old.reveal().to_owned(), new: new.reveal().to_owned() };
    api.change_own_password(&request).await?;
    if console.is_json {
        return console.json(&json!({ "changed": true }));
    }
    console.line("the password is changed; your other sessions have ended")
}

pub(crate) async fn sessions(api: &Api, console: &mut Console, command: &SessionCommand) -> Result<(), CliError> {
    match command {
        SessionCommand::List => {
            let list: SessionList = api.read(&["me", "sessions"], &[]).await?;
            tell_sessions(console, &list)
        }
        SessionCommand::End { id } => {
            api.remove(&["me", "sessions", id], None).await?;
            ended(console, 1)
        }
        SessionCommand::EndOthers => {
            let list: SessionList = api.read(&["me", "sessions"], &[]).await?;
            let mut count = 0;
            for session in list.items.iter().filter(|session| !session.current) {
                match api.remove(&["me", "sessions", &session.id], None).await {
                    Ok(()) => count += 1,
                    // It has ended meanwhile, which is what was asked for.
                    Err(CliError::Refused { problem, .. }) if problem.code == "auth.session_not_found" => {}
                    Err(error) => return Err(error),
                }
            }
            ended(console, count)
        }
    }
}
