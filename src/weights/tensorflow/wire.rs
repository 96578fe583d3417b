//! Numbers of variable length, and the fields of protocol buffers.

/// A field's value: a number, or bytes. Fixed numbers are widened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes a number of seven bits a byte from the beginning.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Calls `visit` with the number and the value of each field of a message. `None` if the bytes are no message, or `visit`
/// returns it.
pub(super) fn fields<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => {
                let (number, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Value::Number(u64::from_le_bytes(*number))
            }
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                Value::Bytes(value)
            }
            5 => {
                let (number, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Value::Number(u32::from_le_bytes(*number).into())
            }
            _ => return None,
        };
        visit(key >> 3, value)?;
    }
    Some(())
}
