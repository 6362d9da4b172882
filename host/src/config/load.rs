use crate::config::check::{Defaults, check};
use crate::config::fault::ConfigFault;
use crate::config::schema::Config;
use crate::config::secret::SecretSource;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes that a configuration may have. Some thousand nodes fit in.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a configuration's file gives no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("the configuration `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("the configuration `{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// More than [`CONFIG_BYTES_MAX`]; it was not read.
    #[error("the configuration `{}` has more than {CONFIG_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("the configuration `{}` is not text in UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It was read, and it is wrong. The text shows each fault on a line of its own.
    #[error("the configuration `{}` has faults: {}{}", path.display(), faults.len(), listed(faults))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// All of them.
        faults: Vec<ConfigFault>,
    },
}

/// Reads and checks the configuration's file. Blocks while it reads.
///
/// # Errors
/// [`LoadError`]; nothing was applied.
pub fn load(path: &Path, secrets: &dyn SecretSource, defaults: &Defaults) -> Result<Config, LoadError> {
    check_file_text(&read(path)?, path, secrets, defaults)
}

/// Checks a text as if it stood in the configuration's file.
///
/// # Errors
/// [`LoadError::Faulty`] with every fault.
pub fn check_file_text(
    text: &str,
    path: &Path,
    secrets: &dyn SecretSource,
    defaults: &Defaults,
) -> Result<Config, LoadError> {
    let base = path.parent().unwrap_or(Path::new(""));
    check(text, secrets, base, defaults).map_err(|faults| LoadError::Faulty { path: path.to_owned(), faults })
}

/// Reads the text of the configuration's file. Blocks.
///
/// # Errors
/// Any [`LoadError`] but `Faulty`.
pub fn read(path: &Path) -> Result<String, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(LoadError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > CONFIG_BYTES_MAX {
        return Err(LoadError::TooLong { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| LoadError::NotText { path: path.to_owned() })
}

fn listed(faults: &[ConfigFault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = write!(text, "\n  {fault}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineSecrets;

    fn load_bytes(content: &[u8]) -> Result<Config, LoadError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("omnivisor.toml");
        std::fs::write(&path, content).unwrap();
        load_path(&path)
    }

    fn load_path(path: &Path) -> Result<Config, LoadError> {
        let defaults = Defaults {
            storage_path: "/state/x.redb".into(),
            plugins_directory: "/plugins".into(),
            cache_directory: "/cache".into(),
        };
        load(path, &MachineSecrets, &defaults)
    }

    #[test]
    fn what_is_no_configuration_is_one_clear_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(load_path(directory.path()), Err(LoadError::NotAFile { .. })));
        assert!(matches!(load_path(&directory.path().join("absent")), Err(LoadError::Unreadable { .. })));
        assert!(matches!(load_bytes(b"\xff"), Err(LoadError::NotText { .. })));
        assert!(matches!(load_bytes(b""), Err(LoadError::Faulty { .. })));
        assert!(matches!(load_bytes(&vec![b'#'; CONFIG_BYTES_MAX + 1]), Err(LoadError::TooLong { .. })));
    }

    #[test]
    fn a_file_cut_short_in_any_place_is_never_a_panic() {
        let text = include_str!("../../../docs/config.md");
        let example = text.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        for end in (0..example.len()).filter(|&end| example.is_char_boundary(end)) {
            let _ = load_bytes(&example.as_bytes()[..end]);
        }
    }

    #[test]
    fn every_fault_stands_on_its_own_line_of_the_error() {
        let error = load_bytes(b"[server]\nlisten = 1\nbody_bytes_max = 0\n").unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
        assert!(lines[0].ends_with("omnivisor.toml` has faults: 2"), "{error}");
        assert!(lines[1].starts_with("  line 2: server.listen: it is a whole number; expected"), "{error}");
        assert!(lines[2].starts_with("  line 3: server.body_bytes_max: 0 is out of range; expected"), "{error}");
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("omnivisor.toml");
        std::fs::write(directory.path().join("secret"), "pass\n").unwrap();
        let text = "[storage]\npath = \"a/b.redb\"\n[[node]]\nname = \"x\"\nurl = \"http://x:1\"\nusername = \"u\"\n\
                    password_file = \"secret\"\n";
        std::fs::write(&path, text).unwrap();
        let config = load_path(&path).unwrap();
        assert_eq!(config.storage.path, directory.path().join("a/b.redb"));
        assert_eq!(config.nodes[0].login.as_ref().unwrap().password.reveal(), "pass");
    }
}
