//! Tables of keys and values, as LevelDB and TensorFlow's `.index` files have them.
//!
//! ```text
//! blocks of entries, then a block that lists them by (offset, length), then 48 bytes that say where that is
//! block    entries, restart points, their number; one byte: how it is compressed; its checksum
//! entry    bytes shared with the key before, bytes of its own, bytes of the value; its own bytes; the value
//! ```

use crate::weights::wire::varint;

const FOOTER: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Bytes of keys, for one of the table: keys share beginnings, so that all of them may be longer than the table.
const KEYS: usize = 16;
const KEYS_ANYWAY: usize = 1 << 16;

/// Calls `visit` with each key and value, in ascending order of the keys. The error says what is wrong.
pub(super) fn entries<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(&[u8], &'a [u8]) -> Result<(), String>,
) -> Result<(), String> {
    let footer = bytes.len().checked_sub(FOOTER).map(|at| &bytes[at..]);
    let footer = footer.filter(|footer| footer.ends_with(&MAGIC.to_le_bytes()));
    let mut footer = footer.ok_or("it does not end as a table, the .index file, does")?;
    let (_, list) =
        numbers(&mut footer).zip(numbers(&mut footer)).ok_or("its end does not say where its blocks are")?;
    let mut letters = KEYS_ANYWAY.saturating_add(KEYS.saturating_mul(bytes.len()));
    let mut list_letters = letters;
    let (mut last, mut end) = (Vec::new(), 0);
    let mut is_first = true;
    block(block_bytes(bytes, list)?, &mut list_letters, |_, mut handle| {
        let [at, len] = numbers(&mut handle).ok_or("a block is nowhere")?;
        // Blocks follow one another. If they were listed twice, reading them would never end.
        if at < end {
            return Err(format!("a block begins at byte {at}, within the one before it"));
        }
        end = at.saturating_add(len);
        block(block_bytes(bytes, [at, len])?, &mut letters, |key, value| {
            if !is_first && key <= &last[..] {
                return Err("its keys are not in order".into());
            }
            is_first = false;
            last.clear();
            last.extend_from_slice(key);
            visit(key, value)
        })
    })
}

/// A block without its compression and checksum.
fn block_bytes(bytes: &[u8], [at, len]: [u64; 2]) -> Result<&[u8], String> {
    let range = usize::try_from(at).ok().zip(usize::try_from(len).ok());
    let block = range.and_then(|(at, len)| bytes.get(at..at.checked_add(len)?.checked_add(5)?));
    let block = block.ok_or_else(|| format!("a block of {len} bytes from byte {at} on is not in the file"))?;
    let (checked, stored) = block.split_last_chunk().expect("it has five bytes");
    check(checked, u32::from_le_bytes(*stored))
        .map_err(|reason| format!("the block at byte {at} is damaged: {reason}"))?;
    match checked.split_last() {
        Some((0, block)) => Ok(block),
        Some((1, _)) => Err("its blocks are compressed by snappy, but tensor bundles are not compressed".into()),
        compressed => Err(format!("its blocks are compressed in the unknown way {:?}", compressed.map(|(way, _)| way))),
    }
}

/// Compares a checksum, CRC-32C, which is stored rotated and shifted.
pub(super) fn check(bytes: &[u8], stored: u32) -> Result<(), String> {
    let found = crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    // A fuzzer hardly ever guesses a checksum.
    if found == stored || cfg!(fuzzing) {
        Ok(())
    } else {
        Err(format!("its checksum must be {stored:08x}, but is {found:08x}"))
    }
}

/// Calls `visit` with each entry of a block. `letters` is how many bytes its keys may have together.
fn block<'a>(
    block: &'a [u8],
    letters: &mut usize,
    mut visit: impl FnMut(&[u8], &'a [u8]) -> Result<(), String>,
) -> Result<(), String> {
    let cut = "a block is cut off";
    let (rest, restarts) = block.split_last_chunk().ok_or(cut)?;
    let restarts = (u32::from_le_bytes(*restarts) as usize).checked_mul(4);
    let entries = restarts.and_then(|restarts| rest.len().checked_sub(restarts)).ok_or(cut)?;
    let mut rest = &rest[..entries];
    let mut key = Vec::new();
    while !rest.is_empty() {
        let mut next = || usize::try_from(varint(&mut rest).ok()?).ok();
        let (Some(shared), Some(own), Some(value)) = (next(), next(), next()) else { return Err(cut.into()) };
        if shared > key.len() {
            return Err(format!("a key shares {shared} bytes with one of {}", key.len()));
        }
        let (own, after) = rest.split_at_checked(own).ok_or(cut)?;
        let (value, after) = after.split_at_checked(value).ok_or(cut)?;
        rest = after;
        key.truncate(shared);
        key.extend_from_slice(own);
        *letters = letters.checked_sub(key.len()).ok_or("its keys are too long")?;
        visit(&key, value)?;
    }
    Ok(())
}

/// Takes two numbers: where a block is, and its length.
fn numbers(bytes: &mut &[u8]) -> Option<[u64; 2]> {
    Some([varint(bytes).ok()?, varint(bytes).ok()?])
}
