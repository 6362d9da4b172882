//! The feed's log over a restart: written once when the host has ended in order, read and removed when the next one begins.

use crate::hub::{Hub, HubLimits, Inherited, Unfit};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A longer file is none of ours: twice the ring's bytes, and room for the state.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Where the log of a database's feed is kept while no host runs.
pub(super) fn path_of(database: &Path) -> PathBuf {
    database.with_extension("feed")
}

/// Who may take what was left: this version, with this database.
pub(super) fn stamp(instance: &str) -> String {
    format!("{} {instance}", env!("CARGO_PKG_VERSION"))
}

/// What became of what an earlier host left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Succession {
    /// The feed goes on: same epoch, nothing between was lost.
    Resumed,
    /// There was nothing: a first start, or the end before was none in order.
    Missing,
    /// It could not be used.
    Unfit(Unfit),
    /// It could not be read, or not be taken away, so that it might be taken twice.
    Unreadable,
}

impl Succession {
    /// The word used in metrics and the log, one of [`crate::api::FEED_SUCCESSIONS`].
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Missing => "missing",
            Self::Unfit(Unfit::Broken) => "broken",
            Self::Unfit(Unfit::Foreign) => "foreign",
            Self::Unfit(Unfit::Stale) => "stale",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A hub that goes on where the one before it ended, if it ended in order; a new one otherwise. Blocks.
///
/// The file is gone before the hub publishes anything: whatever becomes of this process, no other one goes on from there.
pub(super) fn succeed(
    limits: HubLimits,
    path: &Path,
    stamp: &str,
    now: SystemTime,
) -> (Hub, Vec<Inherited>, Succession) {
    let afresh = |succession| (Hub::new(limits.clone()), Vec::new(), succession);
    let bytes = match take(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return afresh(Succession::Missing),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what the feed held before cannot be taken; it begins anew");
            return afresh(Succession::Unreadable);
        }
    };
    match Hub::inherit(limits.clone(), &bytes, stamp, now) {
        Ok((hub, items)) => (hub, items, Succession::Resumed),
        Err(unfit) => {
            tracing::warn!(path = %path.display(), %unfit, "what the feed held before is of no use; it begins anew");
            afresh(Succession::Unfit(unfit))
        }
    }
}

fn take(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    fs::remove_file(path)?;
    sync_directory(path)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too long"));
    }
    Ok(Some(bytes))
}

/// Removes what was left, if anything was. Blocks.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    match fs::remove_file(path_of(database)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes what the next host goes on from, readable to this user alone. Blocks.
///
/// # Errors
/// The file cannot be written; none is there then, and the next host begins anew.
pub(super) fn leave(hub: &Hub, path: &Path, stamp: &str, now: SystemTime) -> io::Result<()> {
    let part = path.with_extension("feed-part");
    let bytes = hub.leave(stamp, now);
    let written = write_whole(&part, &bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is in the way is told by the first error.
        drop(fs::remove_file(&part));
        return written;
    }
    sync_directory(path)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory).and_then(|directory| directory.sync_all()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FEED_SUCCESSIONS;
    use crate::hub::{Change, Publication};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn published(hub: &Hub) {
        let change = Change::Put { key: "a/".to_owned(), item: r#"{"topic":"node/a/state"}"#.to_owned() };
        let (topic, at, members) = ("node/a/state".to_owned(), String::new(), String::new());
        hub.publish(Publication { topic, kind: "changed", at, members, change });
    }

    fn succession(path: &Path, stamp: &str, now: SystemTime) -> &'static str {
        let word = succeed(HubLimits::default(), path, stamp, now).2.as_str();
        assert!(FEED_SUCCESSIONS.contains(&word), "{word} is counted");
        word
    }

    #[tokio::test]
    async fn what_was_left_is_taken_once_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (path_of(&folder.path().join("x.redb")), SystemTime::now());
        let hub = Hub::new(HubLimits::default());
        published(&hub);
        assert_eq!(succession(&path, "1", now), "missing");
        leave(&hub, &path, "1", now).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (next, items, succession_) = succeed(HubLimits::default(), &path, "1", now);
        assert_eq!((succession_, next.epoch(), next.figures().events), (Succession::Resumed, hub.epoch(), 1));
        assert_eq!(items.len(), 1);
        assert_eq!(succession(&path, "1", now), "missing", "a second one would give its offsets again");
        leave(&hub, &path, "1", now).unwrap();
        assert_eq!(succession(&path, "2", now), "foreign");
        leave(&hub, &path, "1", now).unwrap();
        assert_eq!(succession(&path, "1", now + Duration::from_mins(16)), "stale");
        leave(&hub, &path, "1", now).unwrap();
        assert_eq!(succession(&path, "1", now - Duration::from_secs(1)), "stale", "the clock was set back");
        fs::create_dir(&path).unwrap();
        assert_eq!(succession(&path, "1", now), "unreadable");
        assert!(leave(&hub, &path, "1", now).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half written stays");
    }
}
