//! The files of one open store: the database, its log, its shared memory, and the side file.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Liveness;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::connection;
use crate::store::StoreOptions;
use crate::sys::files::{self, FolderState};
use crate::sys::side::SideFile;
use crate::sys::space;

/// The shortest page that SQLite has.
const PAGE_BYTES_LEAST: u64 = 512;
/// What follows the database's name in the side file's.
pub(crate) const SIDE_SUFFIX: &str = "-onceward";

#[derive(Debug)]
pub(crate) struct StoreFiles {
    pub(crate) path: Option<PathBuf>,
    pub(crate) side: Arc<SideFile>,
}

/// The files that SQLite holds open, once it does.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) database: OpenedFile,
    /// Shared with the sync stage, which works outside the write lock.
    pub(crate) wal: Arc<OpenedFile>,
    pub(crate) shared_memory: OpenedFile,
    /// The folder of all of them, and its state when each was last seen at its path.
    folder: CString,
    seen: Mutex<Option<FolderState>>,
    /// Whether other hosts may change the folder, by their own clocks.
    remote: bool,
}

/// A file that SQLite holds open, and its path.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    pub(crate) path: PathBuf,
    pub(crate) file: files::OpenedFile,
}

impl StoreFiles {
    /// Checks the place and prepares the files for SQLite. `None` is a store in memory.
    pub(crate) fn prepare(path: Option<&Path>, options: &StoreOptions) -> Result<Self> {
        files::install()
            .map_err(|error| Error::with_source(ErrorKind::Unsupported, format!("preparing SQLite: {error}"), error))?;
        let Some(path) = path else {
            return Ok(StoreFiles { path: None, side: Arc::new(SideFile::private()) });
        };
        let path = absolute(path)?;
        check_place(&path, options.create, options.allow_remote_file_system)?;
        let side_path = with_suffix(&path, SIDE_SUFFIX);
        if !side_path.exists() {
            // A file that is refused gets no companion.
            connection::check_acceptable(&path, options.busy_timeout)?;
        }
        if options.create {
            files::create_private(&path).map_err(|error| io_error("creating", &path, error))?;
        }
        let side = SideFile::open(&side_path, options.busy_timeout);
        let side = side.map_err(|error| io_error("opening", &side_path, error))?;
        Ok(StoreFiles { path: Some(path), side: Arc::new(side) })
    }

    /// The files that SQLite opened for `path`.
    pub(crate) fn opened(path: &Path, remote: bool) -> Result<Opened> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folder = CString::new(folder.as_os_str().as_encoded_bytes())
            .map_err(|_| Error::invalid(format!("the path {} holds a zero byte", path.display())))?;
        let opened = |path: PathBuf| match files::opened(&path) {
            Ok(file) => Ok(OpenedFile { path, file }),
            Err(error) => Err(io_error("looking up", &path, error)),
        };
        Ok(Opened {
            database: opened(path.to_owned())?,
            wal: Arc::new(opened(with_suffix(path, "-wal"))?),
            shared_memory: opened(with_suffix(path, "-shm"))?,
            folder,
            seen: Mutex::new(None),
            remote,
        })
    }
}

impl Opened {
    /// Whether the files that were opened are still the ones at their paths.
    ///
    /// Asked after every commit, so it looks at the files only when the folder has changed: one look is cheaper than four.
    pub(crate) fn still_attached(&self, side: &SideFile) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the files: what changes while we look at them shows next time.
        let folder = FolderState::of(&self.folder);
        if folder.is_some() && *seen == folder {
            return true;
        }
        *seen = folder.filter(|folder| folder.is_settled() && !self.remote);
        let attached = self.are_at_their_paths(side);
        if !attached {
            *seen = None;
        }
        attached
    }

    fn are_at_their_paths(&self, side: &SideFile) -> bool {
        self.database.file.still_at_path()
            && self.wal.file.still_at_path()
            && self.shared_memory.file.still_at_path()
            && side.still_at_path()
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("the path is empty"));
    }
    // A link is followed, so that the side file stands beside the database however it was named.
    match std::fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(_) => std::path::absolute(path).map_err(|error| io_error("resolving", path, error)),
    }
}

fn check_place(path: &Path, create: bool, allow_remote: bool) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Error::invalid(format!("{} is a directory; a store is one file", path.display())));
        }
        Ok(found) if !found.is_file() => {
            return Err(Error::invalid(format!("{} is not a regular file", path.display())));
        }
        // SQLite takes a file that is shorter than its shortest page for an empty database, and would write over it.
        Ok(found) if (1..PAGE_BYTES_LEAST).contains(&found.len()) => {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} is no database: it has {} bytes", path.display(), found.len()),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            if !folder.is_dir() {
                return Err(Error::not_found(format!("the folder {} does not exist", folder.display())));
            }
            if !create {
                return Err(Error::not_found(format!("{} does not exist", path.display())));
            }
        }
        Err(error) => return Err(io_error("looking at", path, error)),
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let remote = space::file_system_is_remote(folder).map_err(|error| io_error("looking at", folder, error))?;
    match remote {
        Some(name) if !allow_remote => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} is on {name}: a write-ahead log needs the memory of one machine", path.display()),
        )),
        _ => Ok(()),
    }
}

/// What an error of the operating system about a file means to the caller.
pub(crate) fn io_error(doing: &str, path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::NotFound => ErrorKind::NotFound,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
        Io::InvalidData => ErrorKind::Corrupt,
        Io::InvalidFilename | Io::InvalidInput | Io::NotADirectory => ErrorKind::Invalid,
        Io::Unsupported => ErrorKind::Unsupported,
        // Ours; what the operating system says that of is a remote file system.
        Io::TimedOut if error.raw_os_error().is_none() => ErrorKind::Busy,
        _ => ErrorKind::Storage,
    };
    Error::with_source(kind, format!("{doing} {}: {error}", path.display()), error)
}

/// Alive is whoever holds the lock on its slot.
#[derive(Debug)]
pub(crate) struct SlotLiveness {
    pub(crate) side: Arc<SideFile>,
}

impl Liveness for SlotLiveness {
    fn is_alive(&self, slot: u32) -> bool {
        // In doubt, alive: a wrong "dead" would hand a living consumer's messages to another.
        self.side.is_slot_held(slot).unwrap_or(true)
    }
}
