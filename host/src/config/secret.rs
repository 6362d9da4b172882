use crate::model::Secret;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Bytes that a secret may have.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Where the secrets lie that a configuration names. The machine's own is [`MachineSecrets`].
pub trait SecretSource {
    /// Reads an environment variable.
    ///
    /// # Errors
    /// [`SecretError`], without the value.
    fn variable(&self, name: &str) -> Result<Secret, SecretError>;

    /// Reads a file.
    ///
    /// # Errors
    /// [`SecretError`], without the content.
    fn file(&self, path: &Path) -> Result<Secret, SecretError>;

    /// Reads a file that nobody but its owner may be able to read.
    ///
    /// # Errors
    /// As [`SecretSource::file`], and [`SecretError::Exposed`].
    fn private_file(&self, path: &Path) -> Result<Secret, SecretError>;
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable.
    #[error("the environment variable is not set")]
    Unset,
    /// Nothing in it but a line end.
    #[error("it is empty")]
    Empty,
    /// Not UTF-8.
    #[error("it is not text in UTF-8")]
    NotText,
    /// More than [`SECRET_BYTES_MAX`].
    #[error("it has more than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// A directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Others than its owner may read it, where that matters.
    #[error("others may read it; its mode has to be 0600 or less")]
    Exposed,
    /// The file could not be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
}

impl SecretError {
    /// What is wrong, with what the system says of it.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Unreadable(source) => format!("{self} ({})", source.kind()),
            Self::Unset | Self::Empty | Self::NotText | Self::TooLong | Self::NotAFile | Self::Exposed => {
                self.to_string()
            }
        }
    }
}

/// Reads variables and files of this machine. One line end behind the secret is not part of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineSecrets;

impl SecretSource for MachineSecrets {
    fn variable(&self, name: &str) -> Result<Secret, SecretError> {
        let value = std::env::var_os(name).ok_or(SecretError::Unset)?;
        trimmed(value.into_string().map_err(|_| SecretError::NotText)?)
    }

    fn file(&self, path: &Path) -> Result<Secret, SecretError> {
        // Asked before opening: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(SecretError::Unreadable)?.is_file() {
            return Err(SecretError::NotAFile);
        }
        let file = File::open(path).map_err(SecretError::Unreadable)?;
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(SecretError::Unreadable)?;
        if bytes.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong);
        }
        trimmed(String::from_utf8(bytes).map_err(|_| SecretError::NotText)?)
    }

    fn private_file(&self, path: &Path) -> Result<Secret, SecretError> {
        let mode = std::fs::metadata(path).map_err(SecretError::Unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed);
        }
        self.file(path)
    }
}

/// Takes one line end off. Blanks stay: a password may end in one.
fn trimmed(mut text: String) -> Result<Secret, SecretError> {
    if text.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong);
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(SecretError::Empty) } else { Ok(Secret::new(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Secret, SecretError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        MachineSecrets.file(&path)
    }

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
        assert_eq!(read(b"pass word \n").unwrap().reveal(), "pass word ");
        assert_eq!(read(b"pass\r\n").unwrap().reveal(), "pass");
        assert_eq!(read(b"pass\n\n").unwrap().reveal(), "pass\n");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert!(matches!(read(b""), Err(SecretError::Empty)));
        assert!(matches!(read(b"\n"), Err(SecretError::Empty)));
        assert!(matches!(read(b"\xff\xfe"), Err(SecretError::NotText)));
        assert!(read(&vec![b'x'; SECRET_BYTES_MAX]).is_ok());
        assert!(matches!(read(&vec![b'x'; SECRET_BYTES_MAX + 1]), Err(SecretError::TooLong)));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(MachineSecrets.file(directory.path()), Err(SecretError::NotAFile)));
        assert!(matches!(MachineSecrets.file(&directory.path().join("absent")), Err(SecretError::Unreadable(_))));
        assert!(matches!(MachineSecrets.file(Path::new("/dev/zero")), Err(SecretError::NotAFile)));
    }

    #[test]
    fn variables_are_read_and_a_missing_one_is_named_so() {
        let path = MachineSecrets.variable("PATH").unwrap();
        assert_eq!(path.reveal(), std::env::var("PATH").unwrap());
        assert!(matches!(MachineSecrets.variable("OMNIVISOR_NO_SUCH_VARIABLE"), Err(SecretError::Unset)));
    }
}
