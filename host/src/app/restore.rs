//! `restore`: a copy of the database in the place of the database.

use crate::app::command::init_storage;
use crate::app::exit::RunError;
use crate::app::heritage;
use crate::cli::args::RestoreArgs;
use crate::store::{self, AuditOutcome, AuditRecord, BackupFacts};
use std::path::Path;
use std::time::SystemTime;

/// Puts a copy in the place of the configured database, or only looks into it, and answers what there is to say.
///
/// # Errors
/// [`RunError`], among them that a server is running, and that the copy is not whole; nothing was changed then.
pub fn restore(args: RestoreArgs) -> Result<String, RunError> {
    let RestoreArgs { file, check, config, data } = args;
    if check {
        return Ok(told(&file, &store::inspect(&file)?));
    }
    let storage = init_storage(config, data)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let record = AuditRecord {
        at: SystemTime::now(),
        who: String::new(),
        what: "backup.restore".into(),
        target: name,
        outcome: AuditOutcome::Done,
        reason: String::new(),
        request_id: String::new(),
        address: None,
    };
    // What the feed held is another database's past; without the file its clients begin anew.
    heritage::forget(&storage.path).map_err(|error| RunError::Machine(format!("what the feed held stays: {error}")))?;
    let restored = store::restore(&file, &storage, record)?;
    let mut text = told(&file, &restored.facts);
    text += &format!(
        "It is in the place of {} now; {} sessions of it have ended.\n",
        storage.path.display(),
        restored.sessions_ended
    );
    if let Some(aside) = restored.aside {
        text += &format!("What was there before is {}.\n", aside.display());
    }
    text += "API keys and accounts that were revoked or disabled after the copy was made are good again: look at `omnivisor api-key list`.\n";
    Ok(text)
}

fn told(file: &Path, facts: &BackupFacts) -> String {
    let verdict = facts.audit.fault.map_or_else(|| "whole".to_owned(), |fault| format!("NOT whole: {fault}"));
    format!(
        "{}: instance {}, {} accounts, {} records of the audit, which is {verdict}; the last is {}\n",
        file.display(),
        facts.instance,
        facts.accounts,
        facts.audit.records,
        facts.audit.head
    )
}
