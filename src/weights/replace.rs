//! Replaces a file in one step.

use super::file::{check_regular, failed};
use crate::Error;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes a file beside the one at `path`, and moves it there once it is complete and on disk.
///
/// # Errors
/// [`Error::NotRegularFile`] and [`Error::Io`].
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<(), Error> {
    let exists = match check_regular(path) {
        Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => false,
        other => other.map(|()| true)?,
    };
    let replace = || {
        let target = followed(path);
        // A rename needs only the folder's permissions. Opening the old file for writing finds out if it is read-only.
        let old = exists.then(|| OpenOptions::new().write(true).open(&target)?.metadata()).transpose()?;
        let folder = folder(&target);
        clear(folder);
        let new = Temporary::create(folder, old.map(|old| old.permissions()))?;
        let mut buffered = BufWriter::new(&new.file);
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        new.file.sync_all()?;
        fs::rename(&new.path, &target)?;
        sync_folder(folder)
    };
    replace().map_err(|error| failed(path, error))
}

/// Where the path leads after links are followed, whether or not a file is there.
fn followed(path: &Path) -> PathBuf {
    let mut target = path.to_path_buf();
    while let Ok(link) = fs::read_link(&target) {
        target = folder(&target).join(link);
    }
    target
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != "").unwrap_or(Path::new("."))
}

/// A file that is locked while it is written. Dropping this removes it, unless it was renamed.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(folder: &Path, permissions: Option<Permissions>) -> io::Result<Self> {
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if let Some(permissions) = &permissions {
                use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
                // From the start, only those who can read the old one can read it.
                options.mode(permissions.mode() & 0o777);
            }
            let path = folder.join(temporary_name(RandomState::new().hash_one(())));
            let new = match options.open(&path) {
                Ok(file) => Self { path, file },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Before it was locked, another save may have removed it as left behind. Without locks nothing is removed.
            let is_taken = matches!(new.file.try_lock(), Err(TryLockError::WouldBlock));
            if is_taken || !new.path.try_exists()? {
                continue;
            }
            // Some file systems refuse to change permissions, so change them only if they differ.
            if let Some(permissions) =
                permissions.filter(|p| new.file.metadata().is_ok_and(|new| new.permissions() != *p))
            {
                new.file.set_permissions(permissions)?;
            }
            return Ok(new);
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Fails if it was renamed. No other file ever has its name.
        let _ = fs::remove_file(&self.path);
    }
}

fn temporary_name(number: u64) -> String {
    format!(".rnn-cell-{number:016x}.tmp")
}

fn is_temporary_name(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix(".rnn-cell-")?.strip_suffix(".tmp"));
    number
        .and_then(|number| u64::from_str_radix(number, 16).ok())
        .is_some_and(|number| name == &*temporary_name(number))
}

/// Removes the temporary files of killed processes, which are those that are not locked.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Opening a pipe would wait.
        if is_temporary_name(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let left = OpenOptions::new().write(true).open(entry.path());
            if let Ok(left) = left
                && left.try_lock().is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Makes sure that a renamed file's new name is on disk, as far as the system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // The folder may be unreadable, or the file system may have nothing to sync.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
