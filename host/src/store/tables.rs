use crate::store::StoreError;
use crate::store::audit::{AuditKey, chain_unchained};
use crate::store::record::{decode_roled_account, encode_account};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::path::Path;

/// Facts about the database itself: `schema` (4 bytes, big-endian), `instance` (text), [`ARTEFACT_KEY`] (text),
/// [`SECRETS_KEY`], both ends of the audit.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The key under which compiled plugins are sealed. Made when it is first asked for.
pub(super) const ARTEFACT_KEY: &str = "artefact-key";
/// Written to see whether writing goes. Empty.
pub(super) const PROBE: &str = "probe";
/// Name to account.
pub(super) const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("accounts");
/// SHA-256 of the token to session.
pub(super) const SESSIONS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("sessions");
/// Public id to API key. Since schema 2.
pub(super) const API_KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("api_keys");
/// Name to role that is not built in. Since schema 4.
pub(super) const ROLES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("roles");
/// Plugin to what is known of its generations. Made when it is first written to, so it may be missing.
pub(super) const GENERATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("generations");
/// Number to generation of the configuration. Made when it is first written to, so it may be missing.
pub(super) const CONFIGURATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("configurations");
/// Kind and name to sealed secret, as `node/web-1`. Since schema 5.
pub(super) const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
/// What says which key the secrets are sealed with. There while there are any.
pub(super) const SECRETS_KEY: &str = "secrets-key";
/// Time and number to record.
pub(super) const AUDIT: TableDefinition<'_, [u8; AuditKey::BYTES], &[u8]> = TableDefinition::new("audit");

/// The schema that this version writes. A change of tables or of an encoding is a new number and a migration.
///
/// 2: the table `api_keys`; sessions may name a role and scopes. Older records are read as they are, so that taking a
/// file of schema 1 over is making its missing tables and writing the number, in one transaction.
///
/// 3: the records of the audit are chained, and both ends of the chain are in `meta`. Older ones are chained as they are.
///
/// 4: accounts have grants, a revision and an epoch instead of a role; the table `roles`. The role of each becomes a grant
/// of that role over everything.
///
/// 5: the table `secrets`, and what says which key they are sealed with. An older version would lose them with the next
/// generation of the configuration, so it has to refuse the file.
pub(super) const SCHEMA: u32 = 5;

/// The last schema whose audit is not chained.
const UNCHAINED: u32 = 2;
/// The last schema whose accounts have a role and no grants.
const ROLED: u32 = 3;

/// What a file turned out to be.
pub(super) enum Contents {
    /// No table yet.
    Empty,
    /// Ours, of the current schema, with this instance id.
    Ours(String),
    /// Ours, of an older schema that this version takes over.
    Older {
        /// Its instance id.
        instance: String,
        /// Its schema.
        schema: u32,
    },
}

/// Looks what is in a database, without writing.
///
/// # Errors
/// As [`crate::store::Store::open`] says.
pub(super) fn examine(path: &Path, txn: &ReadTransaction) -> Result<Contents, StoreError> {
    let damaged = |source: redb::Error| StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(source)) };
    if txn.list_tables().map_err(|error| damaged(error.into()))?.next().is_none() {
        return Ok(Contents::Empty);
    }
    let foreign = |reason| StoreError::NotADatabase { path: path.to_owned(), reason };
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::Storage(error)) => return Err(damaged(error.into())),
        Err(_) => return Err(foreign("it has tables of something else")),
    };
    let text = |key: &str| meta.get(key).map(|value| value.map(|value| value.value().to_vec()));
    let schema = text("schema").map_err(|error| damaged(error.into()))?;
    let schema = schema.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_be_bytes);
    match schema {
        None | Some(0) => return Err(foreign("it does not say of which schema it is")),
        Some(1..=SCHEMA) => {}
        Some(found) => return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported: SCHEMA }),
    }
    let instance = text("instance").map_err(|error| damaged(error.into()))?;
    let instance = instance.and_then(|bytes| String::from_utf8(bytes).ok());
    let instance = instance.ok_or_else(|| foreign("it has no instance id"))?;
    Ok(match schema {
        Some(schema @ ..SCHEMA) => Contents::Older { instance, schema },
        _ => Contents::Ours(instance),
    })
}

/// Creates every table of an empty database in one transaction and answers its new instance id.
pub(super) fn create(db: &Database) -> Result<String, redb::Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| redb::Error::Io(error.into()))?;
    let instance: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write(db, &instance, None)?;
    Ok(instance)
}

/// Makes the tables that are missing, takes over the records of an older schema and writes the current one's number, in
/// one transaction: after a kill the file is of the one schema or the other.
fn write(db: &Database, instance: &str, older: Option<u32>) -> Result<(), redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    fill(&txn, instance, older)?;
    Ok(txn.commit()?)
}

fn fill(txn: &WriteTransaction, instance: &str, older: Option<u32>) -> Result<(), redb::Error> {
    let mut meta = txn.open_table(META)?;
    meta.insert("schema", SCHEMA.to_be_bytes().as_slice())?;
    meta.insert("instance", instance.as_bytes())?;
    txn.open_table(ACCOUNTS)?;
    txn.open_table(SESSIONS)?;
    txn.open_table(API_KEYS)?;
    txn.open_table(AUDIT)?;
    txn.open_table(ROLES)?;
    txn.open_table(SECRETS)?;
    if older.is_some_and(|schema| schema <= ROLED) {
        let accounts = grant_roles(txn)?;
        tracing::info!(accounts, "the accounts' roles became grants over everything");
    }
    if older.is_some_and(|schema| schema <= UNCHAINED) {
        let records = chain_unchained(txn, &mut meta)?;
        tracing::info!(records, "the audit's records were chained");
    }
    Ok(())
}

/// Makes each account's role a grant. One that cannot be understood is left as it is: nobody can use it, before or after.
fn grant_roles(txn: &WriteTransaction) -> Result<usize, redb::Error> {
    let mut accounts = txn.open_table(ACCOUNTS)?;
    let mut granted = Vec::new();
    for entry in accounts.iter()? {
        let (name, value) = entry?;
        if let Some(account) = decode_roled_account(name.value(), value.value()) {
            granted.push(account);
        }
    }
    for account in &granted {
        accounts.insert(account.name.as_str(), encode_account(account)?.as_slice())?;
    }
    Ok(granted.len())
}

/// Looks into a database, and makes an empty one ours.
///
/// # Errors
/// As [`crate::store::Store::open`] says.
pub(super) fn adopt(path: &Path, db: &Database) -> Result<String, StoreError> {
    let damaged = |source| StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(source)) };
    let contents = {
        let txn = db.begin_read().map_err(|error| damaged(error.into()))?;
        examine(path, &txn)?
    };
    let written = match contents {
        Contents::Ours(instance) => return Ok(instance),
        Contents::Empty => create(db),
        Contents::Older { instance, schema: older } => write(db, &instance, Some(older)).map(|()| {
            tracing::info!(older, schema = SCHEMA, "the database was taken over from an older version");
            instance
        }),
    };
    written.map_err(|error| {
        let redb::Error::Io(source) = error else { return damaged(error) };
        StoreError::Open { path: path.to_owned(), source }
    })
}
