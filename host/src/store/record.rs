use crate::model::{Role, RoleGrant, Secret};
use crate::store::StoreError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Someone who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name, which is the key.
    pub name: String,
    /// The password's hash as a PHC string.
    pub password_hash: Secret,
    /// What it was granted; nothing without any.
    pub grants: Vec<RoleGrant>,
    /// True while it may not log in, and its sessions are refused.
    pub is_disabled: bool,
    /// When it was created.
    pub created: SystemTime,
    /// Rises with each change. One that was removed and made again does not begin below where it was.
    pub revision: u64,
    /// Sessions of another epoch are over: a changed password, disabling and removal begin a new one.
    pub epoch: u64,
}

impl Account {
    /// One that is new, with its first revision.
    #[must_use]
    pub fn new(name: String, password_hash: Secret, grants: Vec<RoleGrant>, created: SystemTime) -> Self {
        let first = to_ms(created).max(1);
        Self { name, password_hash, grants, is_disabled: false, created, revision: first, epoch: first }
    }
}

/// A role that is not built in: a name for actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRole {
    /// The name, which is the key.
    pub name: String,
    /// The words of what it may do. One that this version does not know grants nothing.
    pub actions: Vec<String>,
    /// Rises with each change.
    pub revision: u64,
}

/// The key of a session: the SHA-256 of its token. Shows its first eight bytes, which no token can be made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 32]);

/// One login. What its account may do is looked up there each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The account's name, or `STRATEGY/NAME` of somebody known elsewhere.
    pub account: String,
    /// The strategy that vouched for it.
    pub strategy: String,
    /// The role of somebody known elsewhere; none where an account has it.
    pub external: Option<Role>,
    /// The epoch of its account when it began.
    pub epoch: u64,
    /// The actions that it is limited to; empty for all that the role may.
    pub scopes: Vec<String>,
    /// When it began.
    pub created: SystemTime,
    /// When it was last used, as far as was noted.
    pub last_used: SystemTime,
    /// When it ends in any case.
    pub expires: SystemTime,
}

impl Session {
    /// True when it is past its end or was not used for `idle_timeout`.
    #[must_use]
    pub fn is_over(&self, now: SystemTime, idle_timeout: Duration) -> bool {
        now >= self.expires || now.duration_since(self.last_used).is_ok_and(|idle| idle >= idle_timeout)
    }
}

/// An API key as it is kept. The key itself is shown once and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKey {
    /// Its public id, which is the key of the record.
    pub id: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// The account that it acts for.
    pub account: String,
    /// What its owner calls it.
    pub label: String,
    /// The actions that it is limited to; empty for all that the account may.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends; none if it does not by itself.
    pub expires: Option<SystemTime>,
    /// When it was last used, as far as was noted.
    pub last_used: Option<SystemTime>,
    /// When it was revoked.
    pub revoked: Option<SystemTime>,
}

impl IssuedKey {
    /// True while it is neither revoked nor past its end.
    #[must_use]
    pub fn is_good(&self, now: SystemTime) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The form on the disk: one byte that names the encoding, then JSON of the structure below.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct AccountRecord {
    password_hash: String,
    grants: Vec<GrantRecord>,
    is_disabled: bool,
    created_ms: u64,
    revision: u64,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct GrantRecord {
    role: String,
    scope: String,
}

/// As schemas 1 to 3 have it: one role, over everything.
#[derive(Deserialize)]
struct RoledAccountRecord {
    password_hash: String,
    role: String,
    is_disabled: bool,
    created_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct RoleRecord {
    actions: Vec<String>,
    revision: u64,
}

/// What a record of an older schema lacks reads as none.
#[derive(Serialize, Deserialize)]
struct SessionRecord {
    account: String,
    strategy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_role: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(default)]
    epoch: u64,
    created_ms: u64,
    last_used_ms: u64,
    expires_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyRecord {
    hash: String,
    account: String,
    label: String,
    scopes: Vec<String>,
    created_ms: u64,
    expires_ms: Option<u64>,
    last_used_ms: Option<u64>,
    revoked_ms: Option<u64>,
}

pub(super) fn encode_account(account: &Account) -> Result<Vec<u8>, redb::Error> {
    let grant = |grant: &RoleGrant| GrantRecord { role: grant.role.clone(), scope: grant.scope.to_string() };
    encode(&AccountRecord {
        password_hash: account.password_hash.reveal().to_owned(),
        grants: account.grants.iter().map(grant).collect(),
        is_disabled: account.is_disabled,
        created_ms: to_ms(account.created),
        revision: account.revision,
        epoch: account.epoch,
    })
}

pub(super) fn decode_account(name: &str, bytes: &[u8]) -> Result<Account, StoreError> {
    let broken = || StoreError::Record { table: "accounts" };
    let record: AccountRecord = decode(bytes).ok_or_else(broken)?;
    let grant = |GrantRecord { role, scope }| Some(RoleGrant { role, scope: scope.parse().ok()? });
    Ok(Account {
        name: name.to_owned(),
        password_hash: Secret::new(record.password_hash),
        grants: record.grants.into_iter().map(grant).collect::<Option<_>>().ok_or_else(broken)?,
        is_disabled: record.is_disabled,
        created: from_ms(record.created_ms),
        revision: record.revision,
        epoch: record.epoch,
    })
}

/// An account of schemas 1 to 3. Its sessions have no epoch, which is the first.
pub(super) fn decode_roled_account(name: &str, bytes: &[u8]) -> Option<Account> {
    let record: RoledAccountRecord = decode(bytes)?;
    Some(Account {
        name: name.to_owned(),
        password_hash: Secret::new(record.password_hash),
        grants: vec![RoleGrant::everywhere(Role::parse(&record.role)?)],
        is_disabled: record.is_disabled,
        created: from_ms(record.created_ms),
        revision: 1,
        epoch: 0,
    })
}

pub(super) fn encode_role(role: &CustomRole) -> Result<Vec<u8>, redb::Error> {
    encode(&RoleRecord { actions: role.actions.clone(), revision: role.revision })
}

pub(super) fn decode_role(name: &str, bytes: &[u8]) -> Result<CustomRole, StoreError> {
    let record: RoleRecord = decode(bytes).ok_or(StoreError::Record { table: "roles" })?;
    Ok(CustomRole { name: name.to_owned(), actions: record.actions, revision: record.revision })
}

pub(super) fn encode_session(session: &Session) -> Result<Vec<u8>, redb::Error> {
    encode(&SessionRecord {
        account: session.account.clone(),
        strategy: session.strategy.clone(),
        external_role: session.external.map(|role| role.as_str().to_owned()),
        scopes: session.scopes.clone(),
        epoch: session.epoch,
        created_ms: to_ms(session.created),
        last_used_ms: to_ms(session.last_used),
        expires_ms: to_ms(session.expires),
    })
}

pub(super) fn decode_session(bytes: &[u8]) -> Result<Session, StoreError> {
    let broken = || StoreError::Record { table: "sessions" };
    let record: SessionRecord = decode(bytes).ok_or_else(broken)?;
    let external = record.external_role.map(|word| Role::parse(&word).ok_or_else(broken)).transpose()?;
    Ok(Session {
        account: record.account,
        strategy: record.strategy,
        external,
        scopes: record.scopes,
        epoch: record.epoch,
        created: from_ms(record.created_ms),
        last_used: from_ms(record.last_used_ms),
        expires: from_ms(record.expires_ms),
    })
}

pub(super) fn encode_key(key: &IssuedKey) -> Result<Vec<u8>, redb::Error> {
    encode(&KeyRecord {
        hash: URL_SAFE_NO_PAD.encode(key.hash),
        account: key.account.clone(),
        label: key.label.clone(),
        scopes: key.scopes.clone(),
        created_ms: to_ms(key.created),
        expires_ms: key.expires.map(to_ms),
        last_used_ms: key.last_used.map(to_ms),
        revoked_ms: key.revoked.map(to_ms),
    })
}

pub(super) fn decode_key(id: &str, bytes: &[u8]) -> Result<IssuedKey, StoreError> {
    let broken = || StoreError::Record { table: "api_keys" };
    let record: KeyRecord = decode(bytes).ok_or_else(broken)?;
    let hash = URL_SAFE_NO_PAD.decode(record.hash).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?;
    Ok(IssuedKey {
        id: id.to_owned(),
        hash,
        account: record.account,
        label: record.label,
        scopes: record.scopes,
        created: from_ms(record.created_ms),
        expires: record.expires_ms.map(from_ms),
        last_used: record.last_used_ms.map(from_ms),
        revoked: record.revoked_ms.map(from_ms),
    })
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|error| redb::Error::Io(error.into()))?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let json = bytes.strip_prefix(&[VERSION])?;
    serde_json::from_slice(json).ok()
}

/// Milliseconds since 1970; a moment before that counts as 1970.
pub(super) fn to_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The moment so many milliseconds after 1970; one that the clock cannot hold counts as 1970.
pub(super) fn from_ms(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times() -> impl Strategy<Value = SystemTime> {
        (0..4_000_000_000_000_u64).prop_map(from_ms)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            name in ".{0,40}", hash in ".{0,100}", role in 0..3_usize, is_disabled: bool, created in times(),
            last_used in times(), expires in times(), scopes in proptest::collection::vec("[a-z.]{0,9}", 0..3),
            external: bool, hash_bytes: [u8; 32], revision: u64,
            scope in prop_oneof![Just("everything"), Just("environment:p"), Just("node:a"), Just("group:a/b:c")],
        ) {
            let role = [Role::Viewer, Role::Operator, Role::Admin][role];
            let grants = vec![RoleGrant { role: name.clone(), scope: scope.parse().unwrap() }, RoleGrant::everywhere(role)];
            let account = Account {
                is_disabled, revision, epoch: revision / 2, ..Account::new(name.clone(), Secret::new(hash), grants, created)
            };
            prop_assert_eq!(decode_account(&name, &encode_account(&account).unwrap()).unwrap(), account);
            let external = external.then_some(role);
            let session = Session {
                account: name.clone(), strategy: name.clone(), external, scopes: scopes.clone(), epoch: revision, created,
                last_used, expires,
            };
            let role = CustomRole { name: name.clone(), actions: scopes.clone(), revision };
            prop_assert_eq!(decode_role(&name, &encode_role(&role).unwrap()).unwrap(), role);
            prop_assert_eq!(decode_session(&encode_session(&session).unwrap()).unwrap(), session);
            let key = IssuedKey {
                id: name.clone(), hash: hash_bytes, account: name.clone(), label: name.clone(), scopes, created,
                expires: is_disabled.then_some(expires), last_used: Some(last_used), revoked: None,
            };
            prop_assert_eq!(decode_key(&name, &encode_key(&key).unwrap()).unwrap(), key);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_account("a", &bytes);
            let _ = decode_roled_account("a", &bytes);
            let _ = decode_role("a", &bytes);
            let _ = decode_session(&bytes);
            let _ = decode_key("k", &bytes);
        }
    }

    #[test]
    fn a_session_of_schema_1_is_read_as_one_of_an_account_without_scopes() {
        let old = br#"{"account":"ann","strategy":"auth-local","created_ms":1,"last_used_ms":2,"expires_ms":3}"#;
        let session = decode_session(&[&[VERSION][..], old].concat()).unwrap();
        assert_eq!((session.account.as_str(), session.external, session.scopes.len()), ("ann", None, 0));
        let odd = [&[VERSION][..], br#"{"external_role":"root","#, &old[1..]].concat();
        assert!(matches!(decode_session(&odd), Err(StoreError::Record { table: "sessions" })));
    }

    #[test]
    fn another_encoding_is_refused_not_guessed() {
        assert!(matches!(decode_session(b"\x02{}"), Err(StoreError::Record { table: "sessions" })));
        let odd =
            b"\x01{\"password_hash\":\"\",\"grants\":[{\"role\":\"admin\",\"scope\":\"all\"}],\"is_disabled\":false,\
            \"created_ms\":0,\"revision\":1,\"epoch\":0}";
        assert!(matches!(decode_account("a", odd), Err(StoreError::Record { table: "accounts" })), "an unknown scope");
        let odd = b"\x01{\"password_hash\":\"\",\"role\":\"root\",\"is_disabled\":false,\"created_ms\":0}";
        assert_eq!(decode_roled_account("a", odd), None);
    }

    #[test]
    fn neither_the_hash_nor_the_whole_key_shows() {
        let account =
            Account::new("ann".into(), Secret::new("$argon2id$canary".into()), Vec::new(), SystemTime::UNIX_EPOCH);
        assert!(!format!("{account:?}").contains("canary"));
        assert_eq!(format!("{:?}", SessionId([0xab; 32])), "abababababababab");
    }
}
