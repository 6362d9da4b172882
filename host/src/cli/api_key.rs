//! `api-key`: keys for programs.

use super::api::Api;
use super::args::{ApiKeyCommand, ApiKeyCreateArgs};
use super::console::Console;
use super::error::CliError;
use super::escape;
use crate::api::wire::{ApiKeyRequest, ApiKeyView};
use comfy_table::{Table, presets};
use serde_json::json;

const DAY_S: u64 = 86_400;

pub(crate) async fn run(api: &Api, console: &mut Console, command: &ApiKeyCommand) -> Result<(), CliError> {
    match command {
        ApiKeyCommand::Create(args) => create(api, console, args).await,
        ApiKeyCommand::List => list(api, console).await,
        ApiKeyCommand::Revoke { id } => revoke(api, console, id).await,
    }
}

async fn create(api: &Api, console: &mut Console, args: &ApiKeyCreateArgs) -> Result<(), CliError> {
    let request = ApiKeyRequest {
        label: args.label.clone(),
        scopes: args.scopes.clone(),
        expires_in_s: args.days.map(|days| days * DAY_S),
    };
    let created = api.create_key(&request).await?;
    if console.is_json {
        return console.json(&created);
    }
    let id = escape::line(&created.key.id);
    console.remark(&format!("API key {id}; it is shown this once. To end it: omnivisor api-key revoke {id}"));
    console.line(&escape::line(&created.text))
}

async fn list(api: &Api, console: &mut Console) -> Result<(), CliError> {
    let keys = api.keys().await?;
    if console.is_json {
        return console.json(&keys);
    }
    if keys.items.is_empty() {
        return console.line("no API keys; create one with omnivisor api-key create --label TEXT");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["ID", "ACCOUNT", "LABEL", "SCOPES", "LAST USED", "ENDS"]);
    table.force_no_tty();
    for key in &keys.items {
        table.add_row(cells(key));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    console.line(&table.trim_fmt())
}

fn cells(key: &ApiKeyView) -> [String; 6] {
    let or = |time: &Option<String>, otherwise: &str| time.clone().unwrap_or_else(|| otherwise.to_owned());
    let scopes = if key.scopes.is_empty() { "all".to_owned() } else { key.scopes.join(" ") };
    let ends = key.revoked_at.as_ref().map_or_else(|| or(&key.expires_at, "never"), |at| format!("revoked {at}"));
    [key.id.clone(), key.account.clone(), key.label.clone(), scopes, or(&key.last_used_at, "never"), ends]
        .map(|text| escape::line(&text).into_owned())
}

async fn revoke(api: &Api, console: &mut Console, id: &str) -> Result<(), CliError> {
    api.revoke_key(id).await?;
    if console.is_json {
        return console.json(&json!({ "id": id, "revoked": true }));
    }
    console.line(&format!("API key {} is revoked", escape::line(id)))
}
