//! Compiled code on disk, so that a start does not compile again what was compiled before.
//!
//! A file is `SHA256-ENGINE.cwasm`, 0600, in a directory that is the host's alone. One that is not whole, not ours or
//! of another age is as good as none: it is said once, compiled anew and replaced.

use crate::plugin::LoadError;
use crate::plugin::artefact::{Artefact, Origin, SEAL_BYTES, Seal};
use crate::plugin::compile::ARTEFACT_BYTES_MAX;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wasmtime::Engine;

/// Files kept, and bytes of them together. Beyond either, those that were not used for longest go.
const FILES_MAX: usize = 256;
const BYTES_MAX: u64 = 1 << 30;
/// A half-written file of a process that died goes after so long.
const LEFTOVER_AGE: Duration = Duration::from_hours(1);
const MARK: &str = ".cwasm";
const LEFTOVER_MARK: &str = ".cwasm-new";

/// The directory, and the key to what lies there.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    seal: Seal,
}

/// What was found for an origin.
pub(super) enum Found {
    /// It was compiled before.
    Artefact(Artefact),
    /// It was not.
    Nothing,
    /// There is a file, which is not used; why.
    Unfit(&'static str),
}

impl Cache {
    /// Opens the directory, creating it (0700) where it is missing. None when it cannot be had: then everything is
    /// compiled at each start, which is slow and not wrong.
    ///
    /// # Errors
    /// [`LoadError::CacheDirectory`] when others could place code there.
    pub(super) fn open(directory: &Path, plugins: &Path, seal: Seal) -> Result<Option<Self>, LoadError> {
        let unusable = |source: io::Error| {
            tracing::warn!(
                target: "omnivisor::plugin",
                path = %directory.display(), error = %source,
                "compiled code cannot be kept and is compiled at each start: let this user write there, or set another \
                 `cache_directory` in [plugins]"
            );
        };
        if let Err(source) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
            unusable(source);
            return Ok(None);
        }
        let (real, metadata) = match directory.canonicalize().and_then(|real| Ok((real.metadata()?, real))) {
            Ok((metadata, real)) => (real, metadata),
            Err(source) => {
                unusable(source);
                return Ok(None);
            }
        };
        let refused = |reason| LoadError::CacheDirectory { path: directory.to_owned(), reason };
        if plugins.canonicalize().is_ok_and(|plugins| real.starts_with(plugins)) {
            return Err(refused("it lies inside the plugins' `directory`"));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(refused("others may write to it; `chmod go-w` it"));
        }
        Ok(Some(Self { directory: real, seal }))
    }

    /// Names what a component becomes here: servers with keys of their own do not get in each other's way.
    pub(super) fn origin(&self, digest: &str, engine: &Engine) -> Origin {
        Origin::new(digest, engine, &self.seal.id())
    }

    /// Looks for what was compiled before. Blocks while it reads.
    pub(super) fn find(&self, origin: &Origin) -> Found {
        let path = self.directory.join(origin.file_name());
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(_) => return Found::Unfit("it cannot be read"),
        };
        match self.seal.open(origin, bytes) {
            Some(artefact) => Found::Artefact(artefact),
            None => Found::Unfit("it does not carry this server's seal"),
        }
    }

    /// Keeps an artefact, and lets go of old ones. Blocks while it writes.
    ///
    /// # Errors
    /// What the system says. Whatever was there before is there still.
    pub(super) fn keep(&self, origin: &Origin, artefact: &Artefact) -> io::Result<()> {
        let path = self.directory.join(origin.file_name());
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)?;
        let fresh = self.directory.join(format!("{:016x}{LEFTOVER_MARK}", u64::from_le_bytes(random)));
        // Renamed only when it is whole. After a power cut it may be torn all the same, which its seal shows.
        let written = write(&fresh, &[&self.seal.of(origin, artefact), artefact.code()])
            .and_then(|()| std::fs::rename(&fresh, &path));
        if written.is_err() {
            drop(std::fs::remove_file(&fresh));
        }
        written?;
        self.sweep(&path, SystemTime::now(), FILES_MAX, BYTES_MAX)
    }

    fn sweep(&self, newest: &Path, now: SystemTime, files_max: usize, bytes_max: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Another host may share the directory, and may have taken the file away meanwhile.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.ends_with(LEFTOVER_MARK) && now.duration_since(used).is_ok_and(|age| age > LEFTOVER_AGE) {
                remove(&path)?;
            } else if name.ends_with(MARK) && path != newest {
                kept.push((used, metadata.len(), path));
            }
        }
        kept.sort_unstable();
        let mut bytes = kept.iter().map(|(_, bytes, _)| bytes).sum::<u64>() + newest.metadata()?.len();
        let mut files = kept.len() + 1;
        for (_, size, path) in kept {
            if files <= files_max && bytes <= bytes_max {
                break;
            }
            remove(&path)?;
            (files, bytes) = (files - 1, bytes - size);
        }
        Ok(())
    }
}

/// Reads a file whole, and notes that it was used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).open(path)?;
    let length = file.metadata()?.len();
    let max = (ARTEFACT_BYTES_MAX + SEAL_BYTES) as u64;
    if length > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    (&file).take(max).read_to_end(&mut bytes)?;
    // A hint for the sweep; one that is lost costs a compilation.
    drop(file.set_modified(SystemTime::now()));
    Ok(bytes)
}

fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    const PLUGINS: &str = "/nowhere";

    fn seal(key: &str) -> Seal {
        Seal::new(&Secret::new(key.to_owned())).expect("a key")
    }

    fn cache(place: &TempDir, key: &str) -> Cache {
        Cache::open(&place.path().join("cache"), Path::new(PLUGINS), seal(key)).expect("ours").expect("writable")
    }

    fn origin(number: usize) -> Origin {
        Origin { digest: format!("{number:064x}"), engine: "0123456789abcdef".to_owned() }
    }

    fn code(found: &Found) -> Option<&[u8]> {
        match found {
            Found::Artefact(artefact) => Some(artefact.code()),
            Found::Nothing | Found::Unfit(_) => None,
        }
    }

    fn names(cache: &Cache) -> Vec<String> {
        let entries = std::fs::read_dir(&cache.directory).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_kept_is_found_by_its_owner_alone_and_nothing_else_lies_there() {
        let place = tempfile::tempdir().expect("a folder");
        let ours = cache(&place, "ours");
        assert!(matches!(ours.find(&origin(1)), Found::Nothing));
        ours.keep(&origin(1), &Artefact::compiled(b"code".to_vec())).expect("room");
        assert_eq!(code(&ours.find(&origin(1))), Some(b"code".as_slice()));
        assert_eq!(names(&ours), [origin(1).file_name()]);
        let file = ours.directory.join(origin(1).file_name()).metadata().expect("a file");
        assert_eq!((file.mode() & 0o777, ours.directory.metadata().expect("a folder").mode() & 0o777), (0o600, 0o700));
        assert!(matches!(cache(&place, "theirs").find(&origin(1)), Found::Unfit(_)));
    }

    #[test]
    fn what_was_tampered_with_cut_or_renamed_is_not_used_and_is_replaced() {
        let place = tempfile::tempdir().expect("a folder");
        let ours = cache(&place, "ours");
        let path = ours.directory.join(origin(1).file_name());
        let artefact = Artefact::compiled(vec![7; 1_000]);
        ours.keep(&origin(1), &artefact).expect("room");
        let whole = std::fs::read(&path).expect("a file");
        let mut flipped = whole.clone();
        flipped[500] ^= 1;
        for broken in [&flipped[..], &whole[..999], &whole[..10], b""] {
            std::fs::write(&path, broken).expect("writable");
            assert!(matches!(ours.find(&origin(1)), Found::Unfit(_)), "{} bytes", broken.len());
        }
        std::fs::rename(&path, ours.directory.join(origin(2).file_name())).expect("a file");
        std::fs::write(ours.directory.join(origin(2).file_name()), &whole).expect("writable");
        assert!(matches!(ours.find(&origin(2)), Found::Unfit(_)), "another component's");
        ours.keep(&origin(2), &artefact).expect("room");
        assert_eq!(code(&ours.find(&origin(2))).map(<[u8]>::len), Some(1_000));
        std::fs::create_dir(&path).expect("free");
        assert!(matches!(ours.find(&origin(1)), Found::Unfit(_)), "a folder in its place");
    }

    #[test]
    fn a_directory_that_others_could_write_to_is_refused_and_one_that_we_cannot_is_done_without() {
        let place = tempfile::tempdir().expect("a folder");
        let directory = place.path().join("cache");
        let open = |plugins: &Path| Cache::open(&directory, plugins, seal("ours"));
        drop(cache(&place, "ours"));
        let told = open(place.path()).expect_err("inside").to_string();
        assert!(told.contains("lies inside the plugins' `directory`"), "{told}");
        std::fs::set_permissions(&directory, Permissions::from_mode(0o770)).expect("ours");
        let told = open(Path::new(PLUGINS)).expect_err("open to the group").to_string();
        assert!(told.contains("others may write to it") && told.contains("cache_directory"), "{told}");
        std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("ours");
        assert!(open(Path::new(PLUGINS)).expect("readable is fine").is_some());
        std::fs::write(place.path().join("file"), b"").expect("writable");
        let file = Cache::open(&place.path().join("file"), Path::new(PLUGINS), seal("ours"));
        assert!(file.expect("no danger").is_none());
    }

    #[test]
    fn beyond_its_bounds_what_was_not_used_for_longest_goes() {
        let place = tempfile::tempdir().expect("a folder");
        let ours = cache(&place, "ours");
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        let touch = |name: &str, age: u32| {
            let file = File::options().append(true).create(true).open(ours.directory.join(name)).expect("a file");
            file.set_modified(now - minute * age).expect("ours");
        };
        for number in 0..6 {
            ours.keep(&origin(number), &Artefact::compiled(vec![0; 100])).expect("room");
            touch(&origin(number).file_name(), 10 + u32::try_from(number).expect("small"));
        }
        touch(&format!("1{LEFTOVER_MARK}"), 61);
        touch(&format!("2{LEFTOVER_MARK}"), 59);
        touch("not-ours", 10_000);
        // The eldest is used again.
        assert!(code(&ours.find(&origin(5))).is_some());
        let newest = ours.directory.join(origin(3).file_name());
        ours.sweep(&newest, now, 4, u64::MAX).expect("ours");
        let left: Vec<_> = [0, 1, 3, 5].map(|number| origin(number).file_name()).into();
        assert_eq!(names(&ours), [left.clone(), vec![format!("2{LEFTOVER_MARK}"), "not-ours".to_owned()]].concat());
        ours.sweep(&newest, now, 4, 132 * 2).expect("ours");
        assert_eq!(names(&ours).iter().filter(|name| name.ends_with(MARK)).count(), 2);
        assert!(newest.exists(), "what was just kept stays");
        ours.sweep(&newest, now, 4, 0).expect("ours");
        assert!(newest.exists(), "even when it alone is too much");
    }
}
