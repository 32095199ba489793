//! The file: its lock, how it is opened, and how it is opened again after an error.
//!
//! After an error of the disk redb takes no more work until the file is opened anew, and only
//! that tells what became of a failed commit. The file's own lock ends with it, so the store has
//! another one besides, which it keeps meanwhile.
//!
//! To remove something, redb writes pages anew before it frees the old ones. So that a full disk
//! can become empty again, some space is kept in a file of its own: the [`Reserve`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use super::tables::{self, Loaded};
use crate::store::PrepareError;

/// Name of the file.
const FILE: &str = "wardlink.redb";
/// Name of the file that is locked as long as the store is open. It is empty.
const LOCK: &str = "wardlink.lock";
/// Name of the file that keeps space.
const RESERVE: &str = "wardlink.reserve";
/// How much: a thousand pages. What removals have written they use again.
const RESERVE_BYTES: u64 = 4 << 20;
/// Less is not worth a file.
const RESERVE_MIN_BYTES: u64 = 64 << 10;
/// What redb may keep of the file in memory.
const CACHE_BYTES: usize = 64 << 20;
/// redb begins a file with so many bytes that are not zero, and writes them last.
const MAGIC_BYTES: usize = 9;

/// The file and its lock. Dropping it gives the lock back.
pub(super) struct Disk {
    // Dropped before the lock.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    reserve: Reserve,
    _lock: File,
}

impl Disk {
    /// Opens the store in `dir`, which is made if it is not there. After a crash the whole file
    /// is read.
    pub(super) fn open(dir: &Path) -> Result<(Self, Loaded), PrepareError> {
        let failed = |text: String, retry| PrepareError {
            text: format!("store directory {}: {text}", dir.display()),
            retry,
        };
        let io = |error: io::Error| failed(error.to_string(), is_full(&error));
        let another = || {
            let text = "another process has the store open; one directory serves one MS";
            failed(text.to_owned(), false)
        };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK));
        let lock = lock.map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => another(),
            TryLockError::Error(error) => io(error),
        })?;
        let path = dir.join(FILE);
        forget_unfinished(&path).map_err(io)?;
        let (database, loaded) = open_file(&path).map_err(|error| match error {
            redb::Error::DatabaseAlreadyOpen => another(),
            redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                failed(format!("{FILE} is damaged or no store: {error}"), false)
            }
            redb::Error::Io(error) => io(error),
            redb::Error::Corrupted(error) => failed(format!("{FILE} is damaged: {error}"), false),
            other => failed(other.to_string(), false),
        })?;
        // A new file survives a loss of power only once its directory does.
        File::open(dir).and_then(|file| file.sync_all()).map_err(io)?;
        let reserve = Reserve { path: dir.join(RESERVE) };
        reserve.make();
        Ok((Self { database: RwLock::new(Some(database)), path, reserve, _lock: lock }, loaded))
    }

    /// The space that is kept for removals.
    pub(super) fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// Begins a read; what is read later fails once the file is opened anew.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        Ok(database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_read()?)
    }

    /// Begins a write. Only the writer does.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        Ok(database.as_ref().ok_or(redb::Error::DatabaseClosed)?.begin_write()?)
    }

    /// Closes the file and opens it anew, with all that is on the disk: of a commit that failed
    /// all or nothing. No write may be under way. Failed, the file stays closed.
    pub(super) fn reopen(&self) -> Result<Loaded, redb::Error> {
        let open = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(open);
        // What an fsync failed to write may still be in the system's memory, as if it had been
        // written. Not every file system forgets it; none is worse off.
        let _ = fadvise(File::open(&self.path)?, 0, None, Advice::DontNeed);
        let (database, loaded) = open_file(&self.path)?;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        Ok(loaded)
    }
}

/// Space for removals.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Takes it, or as much as there is. Without any the store works too, as long as it can.
    pub(super) fn make(&self) {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path);
        let Ok(file) = file else { return };
        let mut bytes = RESERVE_BYTES;
        while bytes >= RESERVE_MIN_BYTES
            && fallocate(&file, FallocateFlags::empty(), 0, bytes).is_err()
        {
            bytes /= 2;
        }
    }

    /// Gives it back to the disk, so that removals can use it.
    pub(super) fn release(&self) {
        // A file system that needs space for this has none to give.
        let _ = OpenOptions::new().write(true).truncate(true).open(&self.path);
    }
}

/// Whether there is no space, for now.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Empties a file that was never made to the end: such a one has no beginning.
fn forget_unfinished(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    (&mut file).take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    if magic.iter().all(|byte| *byte == 0) { file.set_len(0) } else { Ok(()) }
}

fn open_file(path: &Path) -> Result<(Database, Loaded), redb::Error> {
    // A damaged file may make redb panic.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
        let loaded = tables::load(&database)?;
        Ok((database, loaded))
    }));
    opened.unwrap_or_else(|_| Err(redb::Error::Corrupted("it cannot be read".to_owned())))
}
