//! `backup`: a copy of a running server's database.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(crate) async fn run(api: &Api, console: &mut Console, file: &Path) -> Result<(), CliError> {
    // Before the server makes a copy for nothing. The name is taken at the end, and again not from anybody.
    if file.exists() {
        return Err(cannot(file, io::ErrorKind::AlreadyExists.into()));
    }
    let partial = partial(file);
    let taken = take(api, &partial).await;
    let (bytes, head) = taken.inspect_err(|_| drop(fs::remove_file(&partial)))?;
    let named =
        fs::hard_link(&partial, file).and_then(|()| fs::remove_file(&partial)).and_then(|()| sync_directory(file));
    named.map_err(|error| cannot(file, error))?;
    if console.is_json {
        return console.json(&json!({ "file": file.display().to_string(), "bytes": bytes, "audit_head": head }));
    }
    console.line(&format!("{}: {bytes} bytes; the last record of its audit is {head}", file.display()))
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

async fn take(api: &Api, partial: &Path) -> Result<(u64, String), CliError> {
    let mut download = api.download(&["backup"], &[]).await?;
    let text =
        |name: &str| download.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (expected, head) = (text("content-digest"), text("x-backup-audit"));
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial);
    let mut file = made.map_err(|error| cannot(partial, error))?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = download.next().await? {
        bytes += piece.len() as u64;
        hash.update(&piece);
        file.write_all(&piece).map_err(|error| cannot(partial, error))?;
    }
    file.sync_all().map_err(|error| cannot(partial, error))?;
    if expected != format!("sha-256=:{}:", STANDARD.encode(hash.finalize())) {
        return Err(CliError::Data {
            message: "what arrived is not what the server sent; take the copy again".to_owned(),
        });
    }
    Ok((bytes, head))
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn cannot(file: &Path, source: io::Error) -> CliError {
    CliError::File { action: "create", path: file.display().to_string(), source }
}
