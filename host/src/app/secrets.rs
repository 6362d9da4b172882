//! `secrets`: a new key for what lies sealed in the database, and the change to it.

use crate::app::command::init_storage;
use crate::app::exit::RunError;
use crate::cli::args::SecretsCommand;
use crate::config::{MachineSecrets, STORAGE_KEY_BYTES, read_storage_key};
use crate::store::{self, AuditOutcome, AuditRecord};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Carries out one of the commands and answers what there is to say.
///
/// # Errors
/// [`RunError`]; nothing was changed then.
pub fn secrets(command: SecretsCommand) -> Result<String, RunError> {
    match command {
        SecretsCommand::NewKey { file } => new_key(&file),
        SecretsCommand::Rotate { new_key_file, config } => {
            let storage = init_storage(config, None)?;
            let unusable = |problem| RunError::Machine(format!("{}: {problem}", new_key_file.display()));
            let new = read_storage_key(&new_key_file, &MachineSecrets).map_err(unusable)?;
            let rotated = store::rotate(&storage, &new, record)?;
            let store::Rotated { secrets, key, is_changed } = rotated;
            Ok(if is_changed {
                format!(
                    "{secrets} secrets in {} are sealed with the key {key} now. Name {} in `[storage]`, or put it in the \
                     place of the old one, before the server starts.\n",
                    storage.path.display(),
                    new_key_file.display()
                )
            } else if secrets == 0 {
                format!("No secret is in {}: name the new key in `[storage]`, and restart.\n", storage.path.display())
            } else {
                format!("Nothing to do: {secrets} secrets are sealed with the key {key} already.\n")
            })
        }
    }
}

fn new_key(path: &Path) -> Result<String, RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Machine(format!("{}: {error}", path.display()));
    let mut key = [0_u8; STORAGE_KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| failed(&error))?;
    // Never over another: what is sealed with that one would be lost.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{}\n", BASE64_STANDARD.encode(key)).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| failed(&error))?;
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))?;
    }
    Ok(format!(
        "{} holds a new key. Name it as `key_file` in `[storage]`, and keep a copy away from the backups of the database.\n",
        path.display()
    ))
}

fn record(key: &str) -> AuditRecord {
    AuditRecord {
        at: SystemTime::now(),
        who: String::new(),
        what: "secrets.rotate".into(),
        target: format!("key {key}"),
        outcome: AuditOutcome::Done,
        reason: String::new(),
        request_id: String::new(),
        address: None,
    }
}
