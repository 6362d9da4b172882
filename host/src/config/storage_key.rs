//! The key under which secrets lie in the database. Never in the database itself, never in the configuration's text.

use crate::config::check::check_path;
use crate::config::secret::{SecretError, SecretSource};
use crate::config::section::{Report, Section};
use crate::model::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a key.
pub const STORAGE_KEY_BYTES: usize = 32;

/// A random key has some thirty different bytes; one in a hundred million million million has fewer than these.
const DIFFERENT_BYTES_MIN: usize = 16;

/// Where a key was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `key_file`
    File(PathBuf),
    /// `key_env`
    Variable(String),
}

/// A key of [`STORAGE_KEY_BYTES`] random bytes. Shows where it was read, and never itself.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey {
    bytes: [u8; STORAGE_KEY_BYTES],
    source: KeySource,
}

impl StorageKey {
    /// Reads a key's text: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(text: &Secret, source: KeySource) -> Result<Self, &'static str> {
        let text = text.reveal().trim();
        let plain = text.trim_end_matches('=');
        let hex = || {
            let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let pairs: Option<Vec<&str>> = pairs.collect();
            let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            pairs.filter(|_| is_hex)?.into_iter().map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
        };
        let decoded: Option<Vec<u8>> = if text.len() == 2 * STORAGE_KEY_BYTES {
            hex()
        } else {
            STANDARD_NO_PAD.decode(plain).or_else(|_| URL_SAFE_NO_PAD.decode(plain)).ok()
        };
        let bytes = decoded.and_then(|bytes| <[u8; STORAGE_KEY_BYTES]>::try_from(bytes).ok());
        let bytes = bytes.ok_or("it does not hold 32 bytes in base64 or hexadecimal digits")?;
        let different: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
        if different.len() < DIFFERENT_BYTES_MIN || bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err("it is not random: it repeats itself, or is a text");
        }
        Ok(Self { bytes, source })
    }

    /// The key itself. Call it only where it is used, and keep no copy.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; STORAGE_KEY_BYTES] {
        &self.bytes
    }

    /// Where it was read.
    #[must_use]
    pub const fn source(&self) -> &KeySource {
        &self.source
    }
}

#[cfg(test)]
impl StorageKey {
    /// A good one, another for each seed.
    pub(crate) fn of_test(seed: u8) -> Self {
        let hex: String = (0..32_u8).map(|at| format!("{:02x}", at.wrapping_mul(7).wrapping_add(seed))).collect();
        Self::parse(&Secret::new(hex), KeySource::Variable("K".into())).expect("good")
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageKey").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Reads a key's file, which nobody but its owner may be able to read. Blocks.
///
/// # Errors
/// What is wrong with it, without showing it.
pub fn read_storage_key(path: &Path, secrets: &dyn SecretSource) -> Result<StorageKey, String> {
    let text = secrets.private_file(path).map_err(|error| error.problem())?;
    StorageKey::parse(&text, KeySource::File(path.to_owned())).map_err(str::to_owned)
}

/// Reads `key_file` or `key_env`.
pub(super) fn check_storage_key(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> Option<StorageKey> {
    let file_span = section.span_of("key_file");
    let file = check_path(section, report, "key_file", base).zip(file_span);
    let variable = section.text(report, "key_env");
    if let (Some(_), Some((_, span))) = (&file, &variable) {
        report.fault(span, section.path_of("key_env"), "`key_file` is given too", "expected one of the two");
        return None;
    }
    let (key, span, read): (_, Range<usize>, _) = match (file, variable) {
        (Some((path, span)), _) => ("key_file", span, read_storage_key(&path, secrets)),
        (None, Some((name, span))) => {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            let text = if is_name { secrets.variable(name) } else { Err(SecretError::Unset) };
            let parsed = text
                .map_err(|error| error.problem())
                .and_then(|text| StorageKey::parse(&text, KeySource::Variable(name.to_owned())).map_err(str::to_owned));
            ("key_env", span, parsed)
        }
        (None, None) => return None,
    };
    let advice = match key {
        "key_file" => "expected a file with mode 0600 that `omnivisor secrets new-key FILE` made",
        _ => "expected the name of a variable that holds what `omnivisor secrets new-key FILE` writes into a file",
    };
    read.map_err(|problem| report.fault(&span, section.path_of(key), problem, advice)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineSecrets;
    use proptest::prelude::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    fn parse(text: &str) -> Result<StorageKey, &'static str> {
        StorageKey::parse(&Secret::new(text.to_owned()), KeySource::Variable("K".into()))
    }

    fn key() -> [u8; 32] {
        std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_key_is_read_in_each_of_its_forms_and_shows_itself_in_none() {
        let base64 = base64::prelude::BASE64_STANDARD.encode(key());
        for text in [hex(&key()), hex(&key()).to_uppercase(), base64.clone(), URL_SAFE_NO_PAD.encode(key())] {
            let parsed = parse(&text).expect("good");
            assert_eq!(parsed.reveal(), &key());
            assert_eq!(format!("{parsed:?}"), "StorageKey { source: Variable(\"K\"), .. }");
        }
    }

    #[test]
    fn what_is_short_long_or_guessable_is_refused() {
        let text = base64::prelude::BASE64_STANDARD.encode("correct horse battery staple 123");
        for bad in ["", "hunter2", &hex(&[7; 32]), &hex(&key()[..31]), &hex(&[key(), key()].concat()), &text] {
            let problem = parse(bad).expect_err(bad);
            assert!(bad.is_empty() || !problem.contains(bad));
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("key");
        std::fs::write(&path, hex(&key())).expect("room");
        for (mode, is_good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
            assert_eq!(read_storage_key(&path, &MachineSecrets).is_ok(), is_good, "{mode:o}");
        }
        assert!(read_storage_key(&place.path().join("absent"), &MachineSecrets).is_err());
    }

    proptest! {
        #[test]
        fn any_random_key_is_taken(bytes: [u8; 32]) {
            let different: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
            prop_assume!(different.len() >= 16 && bytes.iter().any(|byte| !(b' '..=b'~').contains(byte)));
            prop_assert_eq!(*parse(&hex(&bytes)).expect("good").reveal(), bytes);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,70}") {
            let _ = parse(&text);
        }
    }
}
