//! The saved logins: one file below the XDG state directory, for its owner's eyes only.

use super::error::CliError;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// All saved logins.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Sessions {
    /// The server of the last login: where a command goes when nobody names one.
    pub(crate) default: Option<String>,
    /// By server address.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Saved>,
}

/// One saved login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The token. Never printed.
    pub(crate) token: String,
    /// Whose.
    pub(crate) username: String,
    /// When it ends at the latest.
    pub(crate) expires_at: String,
}

/// Where they are kept.
#[derive(Debug, Clone)]
pub(crate) struct SessionFile {
    path: PathBuf,
}

impl SessionFile {
    /// `omnivisor/session.json` below the state directory.
    ///
    /// # Errors
    /// [`CliError::State`] when there is no home directory.
    pub(crate) fn standard() -> Result<Self, CliError> {
        let none = || CliError::State {
            path: "session.json".to_owned(),
            message: "there is no home directory to keep it in; set XDG_STATE_HOME".to_owned(),
        };
        let directory = etcetera::base_strategy::Xdg::new().ok().and_then(|xdg| xdg.state_dir()).ok_or_else(none)?;
        Ok(Self { path: directory.join("omnivisor").join("session.json") })
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads them. No file means none.
    ///
    /// # Errors
    /// [`CliError::State`] when others may read the file or it is damaged; [`CliError::File`].
    pub(crate) fn load(&self) -> Result<Sessions, CliError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sessions::default()),
            Err(source) => return Err(self.failed("read", source)),
        };
        let mode = fs::metadata(&self.path).map_err(|source| self.failed("read", source))?.mode();
        if mode & 0o077 != 0 {
            return Err(
                self.wrong(format!("its mode is {:o}, so others may read the tokens in it; chmod 600", mode & 0o777))
            );
        }
        serde_json::from_slice(&text).map_err(|error| self.wrong(format!("it is damaged: {error}")))
    }

    /// Writes them. The old file stays whole until the new one is.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(crate) fn save(&self, sessions: &Sessions) -> Result<(), CliError> {
        let text = serde_json::to_vec_pretty(sessions).map_err(|error| self.failed("write", error.into()))?;
        if let Some(directory) = self.path.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| self.failed("create", source))?;
        }
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&fresh, &self.path));
        written.map_err(|source| {
            // Whether or not it is there, it is of no use to anyone.
            let _ = fs::remove_file(&fresh);
            self.failed("create", source)
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> CliError {
        CliError::File { action, path: self.path.display().to_string(), source }
    }

    fn wrong(&self, message: String) -> CliError {
        CliError::State { path: self.path.display().to_string(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sessions() -> Sessions {
        let saved = Saved { token: "t".into(), username: "ann".into(), expires_at: "later".into() };
        Sessions { default: Some("http://x:80".into()), servers: [("http://x:80".to_owned(), saved)].into() }
    }

    #[test]
    fn saved_logins_come_back_and_only_their_owner_may_read_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = SessionFile::at(directory.path().join("state/omnivisor/session.json"));
        assert!(file.load().expect("no file is no fault").servers.is_empty());
        file.save(&sessions()).expect("saved");
        file.save(&sessions()).expect("saved over the old one");
        assert_eq!(file.load().expect("there").servers["http://x:80"].token, "t");
        assert_eq!(fs::metadata(&file.path).expect("there").mode() & 0o777, 0o600);
        let entries = fs::read_dir(file.path.parent().expect("a parent")).expect("there").count();
        assert_eq!(entries, 1, "nothing else is left behind");
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = SessionFile::at(directory.path().join("session.json"));
        file.save(&sessions()).expect("saved");
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(file.load().err().expect("refused").to_string().contains("chmod 600"));
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600)).expect("changed");
        fs::write(&file.path, "{").expect("written");
        let error = file.load().err().expect("refused");
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains("damaged"));
    }
}
