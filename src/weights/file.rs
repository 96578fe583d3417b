//! Files: read whole.

use crate::Error;
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file.
///
/// # Errors
/// [`Error::NotRegularFile`] and [`Error::Io`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    // Checked before opening: opening a pipe waits for a writer.
    check_regular(path)?;
    let read = || {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX))?;
        file.take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| failed(path, error))
}

pub(super) fn failed(path: &Path, error: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), error: error.into() }
}

/// `Err` unless the path leads to a file.
pub(super) fn check_regular(path: &Path) -> Result<(), Error> {
    let kind = fs::metadata(path).map_err(|error| failed(path, error))?.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(Error::NotRegularFile { path: path.display().to_string(), found: described(kind) })
}

fn described(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}
