use crate::store::StoreError;
use crate::store::error::{is_full, is_read_only};
use crate::store::overlay::Overlay;
use crate::store::seal::Sealer;
use crate::store::secrets;
use crate::store::tables::{self, Contents};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, TransactionError};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Memory for pages that were read or written. The engine's own default is 1 GiB.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The open file. Owned by the writer thread alone.
pub(super) struct Disk {
    path: PathBuf,
    opener: Box<dyn Opener>,
    /// `None` only while it is exchanged, or when it could not be opened again.
    database: Option<Database>,
    access: Access,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// For everything.
    Write,
    /// Without touching the file: to look at one that may not be ours, and after a write failed for good.
    Read,
}

/// Makes a database of a file. The seam where tests put a disk that fails.
pub(super) trait Opener: Fn(File, Access) -> Result<Database, DatabaseError> + Send + 'static {}

impl<F: Fn(File, Access) -> Result<Database, DatabaseError> + Send + 'static> Opener for F {}

/// The opener of real files.
pub(super) fn open_file(file: File, access: Access) -> Result<Database, DatabaseError> {
    open_backend(FileBackend::new(file)?, access)
}

/// Opens the database that has this name now. While it is kept it is nobody else's.
///
/// # Errors
/// [`StoreError::Locked`] when somebody else has it, or has just put another one in its place; [`StoreError::Open`], and
/// what [`StoreError::of_opening`] makes of the engine's.
pub(super) fn open_at(path: &Path, access: Access, opener: &dyn Opener) -> Result<Database, StoreError> {
    let file = open_for(path, access)?;
    let opened = file.metadata().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let database = opener(file, access).map_err(|error| StoreError::of_opening(path, error))?;
    // A server may have exchanged the file after it was opened here and before it was locked.
    if fs::metadata(path).map_or(true, |named| (named.dev(), named.ino()) != (opened.dev(), opened.ino())) {
        return Err(StoreError::Locked { path: path.to_owned() });
    }
    Ok(database)
}

pub(super) fn open_backend(backend: impl StorageBackend, access: Access) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    match access {
        Access::Write => builder.create_with_backend(backend),
        Access::Read => builder.create_with_backend(Overlay::new(backend)?),
    }
}

impl Disk {
    /// Opens or creates the file and answers the database's instance id with it.
    pub(super) fn open(
        path: PathBuf,
        opener: Box<dyn Opener>,
        sealer: Option<&Sealer>,
    ) -> Result<(Self, String), StoreError> {
        prepare(&path)?;
        refuse_without_a_trace(&path, &opener, sealer)?;
        let database = open_at(&path, Access::Write, &opener)?;
        let instance = tables::adopt(&path, &database)?;
        // A kill may have left it; nobody else makes one, as the database is ours now.
        drop(fs::remove_file(sibling(&path)));
        Ok((Self { path, opener, database: Some(database), access: Access::Write }, instance))
    }

    /// The database, if it takes writes.
    pub(super) fn writable(&self) -> Result<&Database, redb::Error> {
        let database = self.database.as_ref().filter(|_| self.access == Access::Write);
        database.ok_or(redb::Error::DatabaseClosed)
    }

    /// A view of all that was committed until now.
    pub(super) fn snapshot(&self) -> Result<ReadTransaction, redb::Error> {
        Ok(self.database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_read()?)
    }

    /// How much room the file takes; 0 if that cannot be told.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| room(&metadata))
    }

    /// Mends the open file after a failed write: the engine refuses everything until it is opened again.
    ///
    /// After a full disk, or one that takes no writes, it is opened for writing if that goes, so that things go on once it
    /// does. After anything else it is opened for reading alone: what the disk really holds is not known, and writing on
    /// would be hoping.
    pub(super) fn recover(&mut self, error: &redb::Error) -> Option<Passing> {
        let passing = if is_full(error) {
            Some(Passing::Full)
        } else if is_read_only(error) {
            Some(Passing::ReadOnly)
        } else {
            None
        };
        if passing.is_some() && self.reopen(Access::Write) {
            return passing;
        }
        self.reopen(Access::Read);
        // A full disk on which not even the file can be opened is not understood; one that takes no writes cannot be.
        passing.filter(|passing| *passing == Passing::ReadOnly)
    }

    /// Opens the file for writing again where it is open for reading alone, if the disk takes writes again.
    pub(super) fn resume(&mut self) -> bool {
        if self.database.is_some() && self.access == Access::Write {
            return true;
        }
        // Asked first: readers go on in the file that is open.
        if open_rw(&self.path).is_err() {
            return false;
        }
        let is_open = self.reopen(Access::Write);
        if !is_open {
            self.reopen(Access::Read);
        }
        is_open
    }

    /// Has `fill` write everything into a new file, which takes the place of the one that is open, and answers that one:
    /// readers may be in it still. The new one holds what it holds durably before its name is exchanged.
    ///
    /// # Errors
    /// [`Exchange::Kept`]: everything is as it was. [`Exchange::Unsure`]: the new file is in use, and that it has the name
    /// is not known to be on the disk.
    pub(super) fn exchange(
        &mut self,
        fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<Option<Database>, Exchange> {
        let fresh = sibling(&self.path);
        let made = self.make(&fresh, fill).and_then(|made| {
            fs::rename(&fresh, &self.path)?;
            Ok(made)
        });
        let made = made.map_err(|error| {
            // Of no use to anybody; the next one that is made removes it otherwise.
            drop(fs::remove_file(&fresh));
            Exchange::Kept(error)
        })?;
        let before = self.database.replace(made);
        let directory = directory_of(&self.path);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map(|()| before).map_err(|error| Exchange::Unsure(error.into()))
    }

    fn make(
        &self,
        fresh: &Path,
        fill: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<Database, redb::Error> {
        // What a kill has left behind: one process has the database, and makes one of these at a time.
        match fs::remove_file(fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(fresh)?;
        let mut database = (self.opener)(file, Access::Write)?;
        fill(&database)?;
        // The engine doubles a file that is too small, and so has grown this one as well.
        database.compact()?;
        Ok(database)
    }

    fn reopen(&mut self, access: Access) -> bool {
        // The old one holds the lock on the file.
        self.database = None;
        self.access = access;
        match open_at(&self.path, access, &self.opener) {
            Ok(database) => self.database = Some(database),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    ?access,
                    "the database cannot be opened again"
                );
            }
        }
        self.database.is_some()
    }
}

/// A failure that passes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// There is no room.
    Full,
    /// The disk takes no writes.
    ReadOnly,
}

/// Why one file did not take the place of another.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The one that was there is there.
    Kept(redb::Error),
    /// After a loss of power it may be there again.
    Unsure(redb::Error),
}

/// The room that a file takes on its disk, in bytes. The engine doubles a file that is too small, and the disk gives room only to
/// what was written of it.
pub(super) fn room(metadata: &Metadata) -> u64 {
    // Of this size whatever the disk's own blocks are: stat(2).
    const BLOCK_BYTES: u64 = 512;
    metadata.len().min(metadata.blocks() * BLOCK_BYTES)
}

/// Where the file is made that is to take the database's place.
fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".compacting");
    path.with_file_name(name)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates directory and file where they are missing, readable by their owner alone.
fn prepare(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Open { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The name itself has to survive a power cut too.
        Ok(_) => File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(path).map_err(at(path)),
        Err(error) => Err(at(path)(error)),
    }
}

/// Takes a file with password hashes away from group and others.
fn tighten(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the database was open to others; its mode is now 0600");
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Looks into the file without writing, so that one which is not for us stays as it is to the last byte.
fn refuse_without_a_trace(path: &Path, opener: &dyn Opener, sealer: Option<&Sealer>) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    if metadata.len() == 0 {
        return Ok(());
    }
    let database = open_at(path, Access::Read, opener)?;
    let damaged =
        |source: TransactionError| StoreError::Damaged { path: path.to_owned(), source: Some(Box::new(source.into())) };
    let txn = database.begin_read().map_err(damaged)?;
    match tables::examine(path, &txn)? {
        Contents::Empty | Contents::Ours(_) | Contents::Older { .. } => {}
    }
    sealer.map_or(Ok(()), |sealer| secrets::check_key(path, &txn, sealer))
}

fn open_rw(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// For looking alone a disk that takes no writes will do.
pub(super) fn open_for(path: &Path, access: Access) -> Result<File, StoreError> {
    match open_rw(path) {
        Err(StoreError::Open { source, .. })
            if access == Access::Read && source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
        {
            File::open(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })
        }
        opened => opened,
    }
}
