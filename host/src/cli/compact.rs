//! `compact`: a smaller file for a running server's database.

use super::api::Api;
use super::console::Console;
use super::error::CliError;

pub(crate) async fn run(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let done = api.compact().await?;
    if console.is_json {
        return console.json(&done);
    }
    let (before, after, took) = (done.before_bytes, done.after_bytes, done.took_ms);
    console.line(&format!("{before} bytes before, {after} bytes now; writes waited for {took} ms"))
}
