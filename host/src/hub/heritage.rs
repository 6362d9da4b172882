//! What one process leaves to the next: the log with its epoch, as bytes that are taken as a whole or not at all.

use crate::hub::frame::Frame;
use crate::hub::log::{Entry, Item, Log, Removal, Topic, TopicId};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Says what the bytes are, and in which form. Another form has another number.
const MAGIC: &[u8; 8] = b"OMNVFD01";
const DIGEST_BYTES: usize = 32;

/// Why what an earlier process left is of no use. The log begins anew then, with an epoch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// It is not what was written: cut short, changed, or something else.
    #[error("it is not as it was written")]
    Broken,
    /// Another version of this program wrote it, or it belongs to another database.
    #[error("another version or another database left it")]
    Foreign,
    /// It is older than events are kept, or from the future.
    #[error("it is too old")]
    Stale,
}

/// What a log is, besides its events.
pub(super) struct Heritage {
    pub(super) epoch: String,
    /// Lines of logs so far, and their frames: numbers go on from there.
    pub(super) lines: u64,
    pub(super) log_offset: u64,
}

/// The latest state of one thing, as an earlier process left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// As in [`crate::hub::Change::Put`].
    pub key: String,
    /// Where its events were told.
    pub topic: String,
    /// The item of a snapshot.
    pub item: String,
}

/// Everything, in one piece. `stamp` names who may take it; `wall` is now.
pub(super) fn encode(log: &Log, heritage: &Heritage, stamp: &str, now: Instant, wall: SystemTime) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(log.ring_bytes + log.state.len() * 512 + 1024));
    out.text(stamp);
    out.number(millis_since_epoch(wall));
    out.text(&heritage.epoch);
    out.number(heritage.lines);
    out.number(heritage.log_offset);
    out.number(log.head);
    out.number(log.forgotten);
    out.number(log.topics_max as u64);
    out.number(log.names.len() as u64);
    for name in &log.names {
        out.text(name);
        out.number(log.topics.get(name).map_or(0, |topic| topic.count));
    }
    out.number(log.ring.len() as u64);
    for entry in &log.ring {
        out.number(u64::from(entry.id.0));
        out.number(u64::try_from(now.saturating_duration_since(entry.at).as_millis()).unwrap_or(u64::MAX));
        out.bytes(entry.frame.json());
    }
    out.number(log.state.len() as u64);
    for (key, item) in &log.state {
        out.text(key);
        out.number(item.offset);
        out.number(u64::from(item.id.0));
        out.text(&item.json);
    }
    out.number(log.removed.len() as u64);
    for (at, removal) in &log.removed {
        out.text(&removal.key);
        out.number(*at);
        out.number(u64::from(removal.id.0));
        out.text(&removal.json);
    }
    let mut all = Vec::with_capacity(out.0.len() + MAGIC.len() + DIGEST_BYTES);
    all.extend_from_slice(MAGIC);
    all.extend_from_slice(&Sha256::digest(&out.0));
    all.extend_from_slice(&out.0);
    all
}

/// Fills an empty log with what was left, and says what else there was. The log is of no use after an error.
pub(super) fn decode(
    log: &mut Log,
    bytes: &[u8],
    stamp: &str,
    now: Instant,
    wall: SystemTime,
) -> Result<Heritage, Unfit> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Unfit::Broken)?;
    let (digest, body) = rest.split_at_checked(DIGEST_BYTES).ok_or(Unfit::Broken)?;
    if Sha256::digest(body)[..] != *digest {
        return Err(Unfit::Broken);
    }
    let mut body = Reader(body);
    if body.text()? != stamp {
        return Err(Unfit::Foreign);
    }
    // Whoever set the clock back has made the ages of events a riddle.
    let away = millis_since_epoch(wall).checked_sub(body.number()?).ok_or(Unfit::Stale)?;
    if Duration::from_millis(away) > log.bounds.age_max {
        return Err(Unfit::Stale);
    }
    let heritage = Heritage { epoch: body.text()?.to_owned(), lines: body.number()?, log_offset: body.number()? };
    log.head = body.number()?;
    log.forgotten = body.number()?;
    log.topics_max = usize::try_from(body.number()?).map_err(|_| Unfit::Broken)?;
    topics(log, &mut body)?;
    events(log, &mut body, away, now)?;
    state(log, &mut body)?;
    removals(log, &mut body)?;
    let is_whole = body.0.is_empty() && log.ring.len() as u64 <= log.head && !heritage.epoch.is_empty();
    is_whole.then_some(heritage).ok_or(Unfit::Broken)
}

fn topics(log: &mut Log, body: &mut Reader<'_>) -> Result<(), Unfit> {
    for at in 0..body.number()? {
        let name: Arc<str> = body.text()?.into();
        let id = TopicId(u32::try_from(at).map_err(|_| Unfit::Broken)?);
        let topic = Topic { id, count: body.number()? };
        log.names.push(Arc::clone(&name));
        if log.topics.insert(name, topic).is_some() {
            return Err(Unfit::Broken);
        }
    }
    Ok(())
}

fn events(log: &mut Log, body: &mut Reader<'_>, away: u64, now: Instant) -> Result<(), Unfit> {
    for _ in 0..body.number()? {
        let (id, _) = body.topic(log)?;
        let age = Duration::from_millis(body.number()?.saturating_add(away));
        let frame = Frame::text(body.text()?.to_owned());
        // Older than this machine's clock reaches is as old as can be.
        let at = now.checked_sub(age).unwrap_or(now);
        log.keep(Entry { id, at, frame });
    }
    log.evict(now);
    Ok(())
}

fn state(log: &mut Log, body: &mut Reader<'_>) -> Result<(), Unfit> {
    for _ in 0..body.number()? {
        let key: Arc<str> = body.text()?.into();
        let offset = body.number()?;
        let (id, topic) = body.topic(log)?;
        let item = Item { offset, id, topic, json: body.text()?.into() };
        let is_twice = log.changed.insert(offset, Arc::clone(&key)).is_some() || log.state.insert(key, item).is_some();
        if is_twice || offset > log.head {
            return Err(Unfit::Broken);
        }
    }
    Ok(())
}

fn removals(log: &mut Log, body: &mut Reader<'_>) -> Result<(), Unfit> {
    for _ in 0..body.number()? {
        let key: Arc<str> = body.text()?.into();
        let offset = body.number()?;
        let (id, topic) = body.topic(log)?;
        let removal = Removal { key: Arc::clone(&key), id, topic, json: body.text()?.into() };
        let is_twice = log.removed_at.insert(key, offset).is_some() || log.removed.insert(offset, removal).is_some();
        if is_twice || offset > log.head {
            return Err(Unfit::Broken);
        }
    }
    Ok(())
}

fn millis_since_epoch(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Numbers of eight bytes, and texts behind their length.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, Unfit> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(Unfit::Broken)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Result<&'a str, Unfit> {
        let length = usize::try_from(self.number()?).map_err(|_| Unfit::Broken)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Unfit::Broken)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Unfit::Broken)
    }

    fn topic(&mut self, log: &Log) -> Result<(TopicId, Arc<str>), Unfit> {
        let id = u32::try_from(self.number()?).map_err(|_| Unfit::Broken)?;
        let name = usize::try_from(id).ok().and_then(|id| log.names.get(id)).ok_or(Unfit::Broken)?;
        Ok((TopicId(id), Arc::clone(name)))
    }
}
