//! Files of components: those kept below the state directory for the way back, and those of the plugins' directory.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The host's own copies, `DIGEST.wasm`, readable by its user alone. Every function blocks.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    directory: PathBuf,
}

impl Kept {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Keeps a component. One that is there already, and whole, is left alone.
    pub(super) fn keep(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        if self.find(digest, bytes.len()).is_ok() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        replace(&self.path(digest), bytes, 0o600)
    }

    /// A kept component, unless it is longer than `bytes_max` or not any more what its name says.
    pub(super) fn find(&self, digest: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(digest))?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if digest_of(&bytes) == digest {
            return Ok(bytes);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the kept file is damaged"))
    }

    /// Removes every copy that is not among these. What has another name than a copy's is somebody else's and stays: the
    /// folder may be one that the operator uses too.
    pub(super) fn prune(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_digest(stem)) else {
                continue;
            };
            let is_ours = path.extension().is_some_and(|extension| extension == "wasm" || extension == "part");
            if is_ours && !keep.contains(stem) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self, digest: &str) -> PathBuf {
        self.directory.join(format!("{digest}.wasm"))
    }
}

/// Whether a name is that of a copy: 64 hexadecimal digits in lower case.
fn is_digest(stem: &str) -> bool {
    stem.len() == 64 && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Puts a file in the place of another in one step: a reader sees the old one or the new one, never a part.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    let written = write_whole(&part, bytes, mode).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is in the way is told by the first error; a part that stays is overwritten next time.
        drop(fs::remove_file(&part));
        return written;
    }
    // The name itself has to survive a power cut too.
    path.parent().map_or(Ok(()), |directory| File::open(directory).and_then(|directory| directory.sync_all()))
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// SHA-256 in hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_copy_is_for_its_owner_alone_and_is_found_only_while_it_is_whole() {
        let place = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(place.path().join("plugins"));
        let digest = digest_of(b"component");
        kept.prune(&BTreeSet::new()).expect("nothing is there yet");
        kept.keep(&digest, b"component").expect("room");
        let path = place.path().join("plugins").join(format!("{digest}.wasm"));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(kept.find(&digest, 100).expect("whole"), b"component");
        assert!(kept.find(&digest, 3).is_err(), "longer than allowed");
        fs::write(&path, b"damaged").expect("room");
        assert_eq!(kept.find(&digest, 100).expect_err("damaged").kind(), io::ErrorKind::InvalidData);
        kept.keep(&digest, b"component").expect("a damaged copy is written again");
        assert_eq!(kept.find(&digest, 100).expect("whole"), b"component");
        kept.keep(&digest_of(b"other"), b"other").expect("room");
        let operators = place.path().join("plugins/validate-strict.wasm");
        fs::write(&operators, b"component").expect("room");
        kept.prune(&BTreeSet::from([digest.clone()])).expect("our folder");
        assert!(operators.exists(), "a file that is not ours stays, wherever it lies");
        assert_eq!(fs::read_dir(place.path().join("plugins")).expect("our folder").count(), 2);
        assert!(kept.find(&digest, 100).is_ok());
    }
}
