use crate::config::{Config, Defaults, LoadError, MachineSecrets, check_file_text, read};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Changes a configuration after it was read, as options of the command line do.
type Adapt = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// The configuration's file, and how it is read.
#[derive(Clone)]
pub struct ConfigFile {
    path: PathBuf,
    defaults: Defaults,
    adapt: Option<Adapt>,
}

impl ConfigFile {
    /// The file at this path, with the machine's defaults.
    #[must_use]
    pub fn new(path: PathBuf, defaults: Defaults) -> Self {
        Self { path, defaults, adapt: None }
    }

    /// The same, with each configuration changed so after it was read.
    #[must_use]
    pub fn adapted(self, adapt: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self { adapt: Some(Arc::new(adapt)), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory at which relative paths start.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// Reads and checks it. Blocks.
    ///
    /// # Errors
    /// Any [`LoadError`].
    pub fn load(&self) -> Result<(Arc<str>, Config), LoadError> {
        let text = read(&self.path)?;
        let config = self.check(&text)?;
        Ok((Arc::from(text), config))
    }

    /// Reads it unchecked. Blocks.
    ///
    /// # Errors
    /// Any [`LoadError`] but `Faulty`.
    pub fn text(&self) -> Result<String, LoadError> {
        read(&self.path)
    }

    /// Checks a text as if it stood there. Blocks while it reads secrets.
    ///
    /// # Errors
    /// [`LoadError::Faulty`].
    pub fn check(&self, text: &str) -> Result<Config, LoadError> {
        let mut config = check_file_text(text, &self.path, &MachineSecrets, &self.defaults)?;
        if let Some(adapt) = &self.adapt {
            adapt(&mut config);
        }
        Ok(config)
    }

    /// Replaces it in one step: whoever reads it meanwhile sees the old text or the new. Blocks.
    ///
    /// # Errors
    /// It or its directory cannot be written; then it is as it was.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        // A link stays one; what it leads to is replaced.
        let target = fs::canonicalize(&self.path)?;
        let permissions = fs::metadata(&target)?.permissions();
        if permissions.readonly() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = target.with_file_name(name);
        let written = (|| {
            let mut file = File::create(&new)?;
            file.set_permissions(permissions)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &target)
        })();
        if written.is_err() {
            // It may not be there at all.
            let _ = fs::remove_file(&new);
        }
        written
    }
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}
