//! The wire format of Protocol Buffers: the fields of a message, borrowed from its bytes.
//!
//! It is read here because a library makes a struct of every message: a file of empty nodes, two bytes each, would take
//! a hundred times its size in memory. Nothing is allocated here, and weights are not copied.

use crate::Error;

/// The error of a broken file.
pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidFile { format: "ONNX", reason }
}

/// A message that has not been read yet.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(pub &'a [u8]);

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    /// Text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The fields in the order of the file, each its number and its value.
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { rest: self.0 }
    }

    /// The values of every field of this number that holds bytes.
    pub(super) fn all(self, field: u32) -> impl Iterator<Item = Result<&'a [u8], Error>> {
        self.fields().filter_map(move |read| match read {
            Ok((number, value)) if number == field => Some(value.bytes()),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// The messages in every field of this number.
    pub(super) fn messages(self, field: u32) -> impl Iterator<Item = Result<Message<'a>, Error>> {
        self.all(field).map(|bytes| bytes.map(Message))
    }

    /// The texts in every field of this number.
    pub(super) fn texts(self, field: u32) -> impl Iterator<Item = Result<&'a str, Error>> {
        self.all(field).map(|bytes| text(bytes?))
    }

    /// The field's value. If it is repeated, the last one counts, as the format says.
    fn last(self, field: u32) -> Result<Option<Value<'a>>, Error> {
        let mut last = None;
        for read in self.fields() {
            let (number, value) = read?;
            if number == field {
                last = Some(value);
            }
        }
        Ok(last)
    }

    pub(super) fn bytes(self, field: u32) -> Result<Option<&'a [u8]>, Error> {
        self.last(field)?.map(Value::bytes).transpose()
    }

    pub(super) fn message(self, field: u32) -> Result<Option<Message<'a>>, Error> {
        Ok(self.bytes(field)?.map(Message))
    }

    /// The text of a field, empty if it is absent.
    pub(super) fn text(self, field: u32) -> Result<&'a str, Error> {
        self.bytes(field)?.map_or(Ok(""), text)
    }

    /// The integer of a field, 0 if it is absent.
    pub(super) fn integer(self, field: u32) -> Result<i64, Error> {
        match self.last(field)? {
            None => Ok(0),
            // Negative numbers are stored in two's complement.
            Some(Value::Varint(number)) => Ok(number as i64),
            Some(_) => Err(invalid(format!("field {field} of a message is not an integer"))),
        }
    }

    /// The float of a field, 0 if it is absent.
    pub(super) fn float(self, field: u32) -> Result<f32, Error> {
        match self.last(field)? {
            None => Ok(0.0),
            Some(Value::Fixed32(bytes)) => Ok(f32::from_le_bytes(bytes)),
            Some(_) => Err(invalid(format!("field {field} of a message is not a float"))),
        }
    }

    /// Calls `visit` with each integer of a repeated field, packed or not.
    pub(super) fn integers(self, field: u32, mut visit: impl FnMut(i64)) -> Result<(), Error> {
        for read in self.fields() {
            match read? {
                (number, Value::Varint(value)) if number == field => visit(value as i64),
                (number, Value::Bytes(mut packed)) if number == field => {
                    while !packed.is_empty() {
                        visit(varint(&mut packed)? as i64);
                    }
                }
                (number, _) if number == field => {
                    return Err(invalid(format!("field {field} of a message is not a list of integers")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Calls `visit` with the bytes of each stretch of a repeated field of `N` bytes a number, packed or not.
    pub(super) fn numbers<const N: usize>(self, field: u32, mut visit: impl FnMut(&[u8])) -> Result<(), Error> {
        for read in self.fields() {
            match read? {
                (number, Value::Fixed32(bytes)) if number == field && N == 4 => visit(&bytes),
                (number, Value::Fixed64(bytes)) if number == field && N == 8 => visit(&bytes),
                (number, Value::Bytes(packed)) if number == field && packed.len().is_multiple_of(N) => visit(packed),
                (number, _) if number == field => {
                    return Err(invalid(format!("field {field} of a message is not a list of {N}-byte numbers")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Value<'a> {
    fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(invalid("a number was found where a message or text belongs".into())),
        }
    }
}

/// The iterator of [`Message::fields`]. It ends after an error.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), Error> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| invalid(format!("a field has number {}", tag >> 3)))?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(*self.chunk()?),
            5 => Value::Fixed32(*self.chunk()?),
            2 => {
                let len = varint(&mut self.rest)?;
                let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
                let (bytes, rest) = split.ok_or_else(|| {
                    invalid(format!("field {number} must have {len} bytes, but only {} are left", self.rest.len()))
                })?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            kind => return Err(invalid(format!("field {number} has wire type {kind}, which ONNX does not use"))),
        };
        Ok((number, value))
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(chunk)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        if at == 9 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
    }
    if bytes.len() < 10 { Err(truncated()) } else { Err(invalid("an integer has more than 64 bits".into())) }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| invalid("a name is not UTF-8".into()))
}

fn truncated() -> Error {
    invalid("it ends within a number".into())
}

/// Writes a field of text, bytes, a message or packed numbers.
pub(super) fn put_bytes(to: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(to, u64::from(field) << 3 | 2);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Writes a field of an integer.
pub(super) fn put_integer(to: &mut Vec<u8>, field: u32, number: i64) {
    put_varint(to, u64::from(field) << 3);
    // Negative numbers are stored in two's complement.
    put_varint(to, number as u64);
}

/// Writes a field of a float.
pub(super) fn put_float(to: &mut Vec<u8>, field: u32, number: f32) {
    put_varint(to, u64::from(field) << 3 | 5);
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
