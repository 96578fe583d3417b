//! [`Archive`]: a zip file in memory.

use crate::Error;
use crate::error::quoted;
use flate2::{Decompress, FlushDecompress, Status};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;
use zip::{CompressionMethod, ZipArchive};

/// The most bytes that compressed entries may have together: this many for one of the file, and as many as a small
/// file of zeros needs. Trained weights hardly shrink.
const INFLATED: usize = 32;
const INFLATED_ANYWAY: usize = 1 << 20;
/// What a text may become if the archive is shorter.
#[cfg(any(feature = "hdf5", feature = "pytorch"))]
const TEXT_ANYWAY: usize = 1 << 16;

/// What is in a zip file. Entries that are not compressed are not copied.
pub(super) struct Archive<'a> {
    format: &'static str,
    bytes: &'a [u8],
    entries: BTreeMap<String, Entry>,
}

/// How many bytes the compressed entries of an archive of `len` bytes may become.
pub(super) fn most_inflated(len: usize) -> usize {
    INFLATED.saturating_mul(len).saturating_add(INFLATED_ANYWAY)
}

struct Entry {
    range: Range<usize>,
    size: usize,
    is_compressed: bool,
    crc32: u32,
}

impl<'a> Archive<'a> {
    /// Lists the entries of a file, which errors call a `format` file.
    ///
    /// # Errors
    /// [`Error::InvalidFile`], also if an entry is encrypted, is compressed in any way but by deflate, or if all would
    /// take much more memory than the file, or two share bytes.
    pub(super) fn read(bytes: &'a [u8], format: &'static str) -> Result<Self, Error> {
        let invalid = |reason| Error::InvalidFile { format, reason };
        let unreadable = |error| invalid(format!("the zip archive cannot be read: {error}"));
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
        let mut entries = BTreeMap::new();
        let mut inflated = 0_usize;
        for index in 0..archive.len() {
            let file = archive.by_index_raw(index).map_err(unreadable)?;
            let is_compressed = file.compression() != CompressionMethod::STORE;
            let name = file.name().map_err(unreadable)?.into_owned();
            let shown = quoted(&name);
            if file.encrypted() || ![CompressionMethod::STORE, CompressionMethod::DEFLATE].contains(&file.compression())
            {
                let found = if file.encrypted() { "encrypted".into() } else { file.compression().to_string() };
                return Err(invalid(format!("{shown} must be stored or deflated, but is {found}")));
            }
            let [start, len, size] =
                [file.data_start().unwrap_or(u64::MAX), file.compressed_size(), file.size()].map(saturated);
            let range = start..start.saturating_add(len);
            if range.end > bytes.len() || !is_compressed && len != size {
                return Err(invalid(format!("{shown} has {size} bytes that do not lie in the file")));
            }
            inflated = inflated.saturating_add(if is_compressed { size } else { 0 });
            entries.insert(name, Entry { range, size, is_compressed, crc32: file.crc32() });
        }
        let most = most_inflated(bytes.len());
        if inflated > most {
            let reason = format!("its entries would become {inflated} bytes, but at most {most} are read");
            return Err(invalid(reason));
        }
        match overlapping(&entries) {
            Some(name) => Err(invalid(format!("{} has bytes of another entry", quoted(name)))),
            None => Ok(Self { format, bytes, entries }),
        }
    }

    /// The entries' names, in alphabetical order.
    #[cfg(any(feature = "npz", feature = "pytorch"))]
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// `Err` if an entry is longer than the archive and than 64 KiB. What is read of a text, a configuration or a pickle
    /// may take many times the memory of its letters.
    ///
    /// # Errors
    /// [`Error::InvalidFile`].
    #[cfg(any(feature = "hdf5", feature = "pytorch"))]
    pub(super) fn check_text(&self, name: &str) -> Result<(), Error> {
        let most = self.bytes.len().max(TEXT_ANYWAY);
        match self.entries.get(name) {
            Some(&Entry { size, .. }) if size > most => {
                let shown = quoted(name);
                Err(self.invalid(format!("{shown} would become {size} bytes, but at most {most} are read")))
            }
            _ => Ok(()),
        }
    }

    /// The checksum that the archive claims for an entry.
    #[cfg(feature = "pytorch")]
    pub(super) fn crc32(&self, name: &str) -> Option<u32> {
        self.entries.get(name).map(|entry| entry.crc32)
    }

    /// An entry's bytes, whose checksum must be right.
    ///
    /// # Errors
    /// [`Error::InvalidFile`].
    pub(super) fn get(&self, name: &str) -> Result<Cow<'a, [u8]>, Error> {
        let bytes = self.get_unchecked(name)?;
        let (found, expected) = (crc32fast::hash(&bytes), self.entries[name].crc32);
        // A fuzzer hardly ever guesses a checksum.
        if found == expected || cfg!(fuzzing) {
            return Ok(bytes);
        }
        let shown = quoted(name);
        Err(self.invalid(format!("{shown} is damaged: its checksum must be {expected:08x}, but is {found:08x}")))
    }

    /// An entry's bytes.
    ///
    /// # Errors
    /// [`Error::InvalidFile`].
    pub(super) fn get_unchecked(&self, name: &str) -> Result<Cow<'a, [u8]>, Error> {
        let entry =
            self.entries.get(name).ok_or_else(|| self.invalid(format!("the archive has no {}", quoted(name))))?;
        let bytes = &self.bytes[entry.range.clone()];
        if !entry.is_compressed {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut inflated = Vec::new();
        let size = entry.size;
        let reserved = inflated.try_reserve_exact(size).is_ok();
        // Never writes beyond the capacity.
        let status = reserved
            .then(|| Decompress::new(false).decompress_vec(bytes, &mut inflated, FlushDecompress::Finish))
            .and_then(Result::ok);
        if status != Some(Status::StreamEnd) || inflated.len() != size {
            return Err(self.invalid(format!("{} cannot be inflated to {size} bytes", quoted(name))));
        }
        Ok(Cow::Owned(inflated))
    }

    fn invalid(&self, reason: String) -> Error {
        Error::InvalidFile { format: self.format, reason }
    }
}

/// An entry that begins before the one before it ends. What reads and checks each entry would take as long as there are
/// entries times bytes.
fn overlapping(entries: &BTreeMap<String, Entry>) -> Option<&str> {
    let mut all: Vec<(&Range<usize>, &str)> = entries.iter().map(|(name, entry)| (&entry.range, &**name)).collect();
    all.sort_unstable_by_key(|(range, name)| (range.start, range.end, *name));
    all.windows(2).find(|two| two[1].0.start < two[0].0.end).map(|two| two[1].1)
}

fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
