//! ONNX's messages: the fields of one by their numbers, and how they are written.

use crate::Error;
pub(super) use crate::weights::wire::Value;
use crate::weights::wire::{Fields, varint};

/// The error of a broken file.
pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidFile { format: "ONNX", reason }
}

/// A message that has not been read yet.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(pub &'a [u8]);

impl<'a> Message<'a> {
    /// The fields in the order of the file, each its number and its value.
    pub(super) fn fields(self) -> impl Iterator<Item = Result<(u32, Value<'a>), Error>> {
        Fields::of(self.0).map(|field| field.map_err(invalid))
    }

    /// The values of every field of this number that holds bytes.
    pub(super) fn all(self, field: u32) -> impl Iterator<Item = Result<&'a [u8], Error>> {
        self.fields().filter_map(move |read| match read {
            Ok((number, value)) if number == field => Some(bytes_of(value)),
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
        self.last(field)?.map(bytes_of).transpose()
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
                        visit(varint(&mut packed).map_err(invalid)? as i64);
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

fn bytes_of(value: Value<'_>) -> Result<&[u8], Error> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(invalid("a number was found where a message or text belongs".into())),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| invalid("a name is not UTF-8".into()))
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
