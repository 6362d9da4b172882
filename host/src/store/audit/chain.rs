use crate::store::audit::AuditKey;
use crate::store::tables::{AUDIT, META};
use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The encoding of a record that stood alone, before schema 3.
const ALONE: u8 = 1;
/// The encoding of a record in the chain: this byte, the link, the text.
const CHAINED: u8 = 2;

/// Records that are chained at a time when a database of an older schema is taken over.
const CHAINED_AT_ONCE: usize = 10_000;

const HEAD: &str = "audit-head";
const BASE: &str = "audit-base";

/// What ties a record of the audit to all before it: SHA-256 over the link of the record before, the place of this one
/// and its text. Shown as 64 hexadecimal digits.
///
/// Who can write the file can also make a new chain. That shows to whoever has noted a link elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditLink([u8; Self::BYTES]);

impl AuditLink {
    const BYTES: usize = 32;

    /// The link before the first record.
    pub const ORIGIN: Self = Self([0; Self::BYTES]);

    pub(super) fn next(self, key: AuditKey, text: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(key.to_bytes()).chain_update(text).finalize().into())
    }

    /// A record's value: how it is encoded, its link, its text.
    pub(super) fn before(self, text: &[u8]) -> Vec<u8> {
        [&[CHAINED][..], &self.0, text].concat()
    }

    /// Takes a value of [`AuditLink::before`] apart.
    pub(super) fn split(value: &[u8]) -> Option<(Self, &[u8])> {
        let (link, text) = value.strip_prefix(&[CHAINED])?.split_at_checked(Self::BYTES)?;
        Some((Self(link.try_into().ok()?), text))
    }
}

impl fmt::Display for AuditLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The place of a record in the chain, to be noted elsewhere: `NUMBER:LINK`. Number 0 is the place before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark {
    /// The record's number.
    pub number: u64,
    /// Its link.
    pub link: AuditLink,
}

impl fmt::Display for AuditMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.link)
    }
}

impl FromStr for AuditMark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, link) = text.split_once(':').ok_or(())?;
        if link.len() != 2 * AuditLink::BYTES || !link.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(());
        }
        let mut bytes = [0; AuditLink::BYTES];
        for (byte, digits) in bytes.iter_mut().zip(link.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(drop)?;
            *byte = u8::from_str_radix(digits, 16).map_err(drop)?;
        }
        Ok(Self { number: number.parse().map_err(drop)?, link: AuditLink(bytes) })
    }
}

/// One end of the chain: a record's key and link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) key: AuditKey,
    pub(super) link: AuditLink,
}

impl End {
    const ORIGIN: Self = Self { key: AuditKey::ORIGIN, link: AuditLink::ORIGIN };

    fn encode(self) -> Vec<u8> {
        [&self.key.to_bytes()[..], &self.link.0].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, link) = bytes.split_at_checked(AuditKey::BYTES)?;
        let link = AuditLink(link.try_into().ok()?);
        Some(Self { key: AuditKey::from_bytes(key.try_into().ok()?), link })
    }

    pub(super) fn mark(self) -> AuditMark {
        AuditMark { number: self.key.number, link: self.link }
    }
}

/// Both ends: the last record that was written, and the last one that was removed. They are kept beside the records, so
/// that numbers and links go on when none is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Ends {
    pub(super) head: End,
    pub(super) base: End,
}

type Meta<'txn> = Table<'txn, &'static str, &'static [u8]>;
type Records<'txn> = Table<'txn, [u8; AuditKey::BYTES], &'static [u8]>;

impl Ends {
    pub(in crate::store) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self, redb::Error> {
        let end = |name| -> Result<End, redb::Error> {
            Ok(meta.get(name)?.and_then(|value| End::decode(value.value())).unwrap_or(End::ORIGIN))
        };
        Ok(Self { head: end(HEAD)?, base: end(BASE)? })
    }

    pub(super) fn of(txn: &ReadTransaction) -> Result<Self, redb::Error> {
        Self::read(&txn.open_table(META)?)
    }

    pub(in crate::store) fn write(self, meta: &mut Meta<'_>) -> Result<(), redb::Error> {
        meta.insert(HEAD, self.head.encode().as_slice())?;
        meta.insert(BASE, self.base.encode().as_slice())?;
        Ok(())
    }

    /// Puts a record behind the last one.
    pub(in crate::store) fn append(
        &mut self,
        records: &mut Records<'_>,
        at: std::time::SystemTime,
        text: &[u8],
    ) -> Result<(), redb::Error> {
        let key = self.head.key.after(at);
        self.put(records, key, text)
    }

    fn put(&mut self, records: &mut Records<'_>, key: AuditKey, text: &[u8]) -> Result<(), redb::Error> {
        let link = self.head.link.next(key, text);
        records.insert(key.to_bytes(), link.before(text).as_slice())?;
        self.head = End { key, link };
        Ok(())
    }
}

/// Ties the records of a database of schema 1 or 2 together, in their order, under their keys.
pub(in crate::store) fn chain_unchained(txn: &WriteTransaction, meta: &mut Meta<'_>) -> Result<u64, redb::Error> {
    let mut records = txn.open_table(AUDIT)?;
    let mut ends = Ends { head: End::ORIGIN, base: End::ORIGIN };
    let mut count = 0;
    loop {
        let from = ends.head.key.next().to_bytes();
        let mut some = Vec::new();
        for pair in records.range(from..)?.take(CHAINED_AT_ONCE) {
            let (key, value) = pair?;
            some.push((AuditKey::from_bytes(key.value()), value.value().to_vec()));
        }
        if some.is_empty() {
            break;
        }
        for (key, value) in some {
            let text = value.strip_prefix(&[ALONE]).unwrap_or(&value);
            ends.put(&mut records, key, text)?;
            count += 1;
        }
    }
    ends.write(meta)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_shown_and_nothing_else_is() {
        let mark = AuditMark { number: 7, link: AuditLink::ORIGIN.next(AuditKey::ORIGIN, b"x") };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        let text = mark.to_string();
        for odd in ["", "7", "7:", "x:00", &text[1..], &format!("{text}0"), &text.to_uppercase(), "7:é"] {
            assert_eq!(odd.parse::<AuditMark>(), Err(()), "{odd}");
        }
    }

    #[test]
    fn a_link_depends_on_all_that_it_ties() {
        let (link, key) = (AuditLink::ORIGIN, AuditKey::ORIGIN);
        let one = link.next(key, b"a");
        assert_ne!(one, link.next(key, b"b"));
        assert_ne!(one, link.next(key.next(), b"a"));
        assert_ne!(one.next(key, b"a"), one);
        assert_eq!(AuditLink::split(&one.before(b"text")), Some((one, &b"text"[..])));
        assert_eq!(AuditLink::split(b"\x01{}"), None, "a record that stands alone is not of this schema");
    }
}
