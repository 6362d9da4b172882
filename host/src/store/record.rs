use crate::model::{Role, Secret};
use crate::store::StoreError;
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
    /// What it may do.
    pub role: Role,
    /// True while it may not log in, and its sessions are refused.
    pub is_disabled: bool,
    /// When it was created.
    pub created: SystemTime,
}

/// The key of a session: the SHA-256 of its token. Shows its first eight bytes, which no token can be made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 32]);

/// One login. What its account may do is looked up there each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The account's name.
    pub account: String,
    /// The strategy that vouched for it.
    pub strategy: String,
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
    role: String,
    is_disabled: bool,
    created_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SessionRecord {
    account: String,
    strategy: String,
    created_ms: u64,
    last_used_ms: u64,
    expires_ms: u64,
}

pub(super) fn encode_account(account: &Account) -> Result<Vec<u8>, redb::Error> {
    encode(&AccountRecord {
        password_hash: account.password_hash.reveal().to_owned(),
        role: account.role.as_str().to_owned(),
        is_disabled: account.is_disabled,
        created_ms: to_ms(account.created),
    })
}

pub(super) fn decode_account(name: &str, bytes: &[u8]) -> Result<Account, StoreError> {
    let broken = || StoreError::Record { table: "accounts" };
    let record: AccountRecord = decode(bytes).ok_or_else(broken)?;
    Ok(Account {
        name: name.to_owned(),
        password_hash: Secret::new(record.password_hash),
        role: Role::parse(&record.role).ok_or_else(broken)?,
        is_disabled: record.is_disabled,
        created: from_ms(record.created_ms),
    })
}

pub(super) fn encode_session(session: &Session) -> Result<Vec<u8>, redb::Error> {
    encode(&SessionRecord {
        account: session.account.clone(),
        strategy: session.strategy.clone(),
        created_ms: to_ms(session.created),
        last_used_ms: to_ms(session.last_used),
        expires_ms: to_ms(session.expires),
    })
}

pub(super) fn decode_session(bytes: &[u8]) -> Result<Session, StoreError> {
    let record: SessionRecord = decode(bytes).ok_or(StoreError::Record { table: "sessions" })?;
    Ok(Session {
        account: record.account,
        strategy: record.strategy,
        created: from_ms(record.created_ms),
        last_used: from_ms(record.last_used_ms),
        expires: from_ms(record.expires_ms),
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
            last_used in times(), expires in times(),
        ) {
            let role = [Role::Viewer, Role::Operator, Role::Admin][role];
            let account = Account { name: name.clone(), password_hash: Secret::new(hash), role, is_disabled, created };
            prop_assert_eq!(decode_account(&name, &encode_account(&account).unwrap()).unwrap(), account);
            let session = Session { account: name.clone(), strategy: name, created, last_used, expires };
            prop_assert_eq!(decode_session(&encode_session(&session).unwrap()).unwrap(), session);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_account("a", &bytes);
            let _ = decode_session(&bytes);
        }
    }

    #[test]
    fn another_encoding_is_refused_not_guessed() {
        assert!(matches!(decode_session(b"\x02{}"), Err(StoreError::Record { table: "sessions" })));
        let odd = b"\x01{\"password_hash\":\"\",\"role\":\"root\",\"is_disabled\":false,\"created_ms\":0}";
        assert!(matches!(decode_account("a", odd), Err(StoreError::Record { table: "accounts" })));
    }

    #[test]
    fn neither_the_hash_nor_the_whole_key_shows() {
        let account = Account {
            name: "ann".into(),
            password_hash: Secret::new("$argon2id$canary".into()),
            role: Role::Viewer,
            is_disabled: false,
            created: SystemTime::UNIX_EPOCH,
        };
        assert!(!format!("{account:?}").contains("canary"));
        assert_eq!(format!("{:?}", SessionId([0xab; 32])), "abababababababab");
    }
}
