//! The header of a safetensors file.
//!
//! ```text
//! 8 bytes  length of the header, little endian
//! header   {"__metadata__": {"key": "value", …}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//! data     numbers of all tensors, with no byte between or behind them
//! ```
//!
//! It is read here and not by the library, whose reader takes up to fifty times the header's length in memory and does not
//! tell which tensor is wrong. Here nothing is set aside but what is listed, name by name.

use crate::Error;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a file says of its tensors, checked against the bytes that are there.
#[derive(Default)]
pub(super) struct Header<'a> {
    pub tensors: BTreeMap<String, Info<'a>>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub data: &'a [u8],
}

pub(super) struct Info<'a> {
    pub dtype: Cow<'a, str>,
    pub shape: Vec<usize>,
    /// Where its numbers begin and end in the data.
    pub offsets: [usize; 2],
}

/// Most axes of a tensor: as many as NumPy and PyTorch can have.
const MAX_AXES: usize = 64;

/// A result, or what is wrong, in words that go on from "a safetensors file: ".
type Checked<T> = Result<T, String>;

impl<'a> Header<'a> {
    /// # Errors
    /// [`Error::InvalidFile`].
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse(bytes).map_err(|reason| Error::InvalidFile { reason })
    }

    fn parse(bytes: &'a [u8]) -> Checked<Self> {
        let (len, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| format!("it must have 8 bytes or more, but has {}", bytes.len()))?;
        let len = u64::from_le_bytes(*len);
        let split = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
        let (text, data) = split.ok_or_else(|| format!("its header must have {len} bytes, but {} came", rest.len()))?;
        let text = str::from_utf8(text)
            .map_err(|error| format!("its header must be UTF-8, but byte {} is not", error.valid_up_to()))?;
        let mut header = Self { data, ..Self::default() };
        let mut reader = Reader { text, at: 0 };
        reader.list(b'{', b'}', |reader| header.entry(reader))?;
        match reader.peek() {
            None => header.check_order().map(|()| header),
            Some(_) => Err(reader.not("its end")),
        }
    }

    fn entry(&mut self, reader: &mut Reader<'a>) -> Checked<()> {
        let name = reader.key()?;
        if name == "__metadata__" {
            let mut metadata = BTreeMap::new();
            reader.list(b'{', b'}', |reader| {
                metadata.insert(reader.key()?.into_owned(), reader.string()?.into_owned());
                Ok(())
            })?;
            return once(self.metadata.replace(metadata), "__metadata__");
        }
        let in_tensor = |reason| format!("tensor {}: {reason}", shown(&name));
        let info =
            Info::parse(reader).and_then(|info| info.check(self.data.len()).map(|()| info)).map_err(in_tensor)?;
        let shown = shown(&name);
        once(self.tensors.insert(name.into_owned(), info), &format!("tensor {shown}"))
    }

    /// `Err` unless each tensor begins where the one before it ends, and the last one ends with the file.
    fn check_order(&self) -> Checked<()> {
        let mut tensors: Vec<(&str, [usize; 2])> = self.tensors.iter().map(|(name, i)| (&**name, i.offsets)).collect();
        tensors.sort_by_key(|(_, offsets)| *offsets);
        let mut at = 0;
        for (name, [start, end]) in tensors {
            if start != at {
                return Err(format!("tensor {} must begin at byte {at} of the data, but does at {start}", shown(name)));
            }
            at = end;
        }
        let len = self.data.len();
        if at == len { Ok(()) } else { Err(format!("its tensors end at byte {at} of the data, which has {len}")) }
    }
}

impl<'a> Info<'a> {
    fn parse(reader: &mut Reader<'a>) -> Checked<Self> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        reader.list(b'{', b'}', |reader| match &*reader.key()? {
            "dtype" => once(dtype.replace(reader.string()?), "dtype"),
            "shape" => once(shape.replace(reader.numbers()?), "shape"),
            "data_offsets" => once(offsets.replace(reader.numbers()?), "data_offsets"),
            key => Err(format!("must have dtype, shape and data_offsets, but has {}", shown(key))),
        })?;
        let dtype = dtype.ok_or("has no dtype")?;
        let shape = shape.ok_or("has no shape")?;
        let offsets = offsets.ok_or("has no data_offsets")?;
        let offsets = offsets.try_into().map_err(|all| format!("data_offsets must be two numbers, but are {all:?}"))?;
        Ok(Self { dtype, shape, offsets })
    }

    /// `Err` unless the tensor lies in `len` bytes of data and has as many bytes as its shape says. A type that nobody here
    /// reads has bytes of a number that nobody here knows.
    fn check(&self, len: usize) -> Checked<()> {
        let Self { dtype, shape, offsets: [start, end] } = self;
        if start > end || *end > len {
            return Err(format!("data_offsets must lie in {len} bytes of data, but are [{start}, {end}]"));
        }
        let Some(width) = width(dtype) else { return Ok(()) };
        let bytes = shape.iter().try_fold(1_usize, |all, len| all.checked_mul(*len)).and_then(|n| n.checked_mul(width));
        match bytes {
            Some(bytes) if bytes == end - start => Ok(()),
            Some(bytes) => {
                Err(format!("{shape:?} of {dtype} takes {bytes} bytes, but data_offsets are [{start}, {end}]"))
            }
            None => Err(format!("{shape:?} of {dtype} takes more bytes than can be counted")),
        }
    }
}

/// Bytes of a number of a type that is read here.
pub(super) fn width(dtype: &str) -> Option<usize> {
    match dtype {
        "F64" => Some(8),
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

/// `Err` if there was one before.
fn once<T>(before: Option<T>, what: &str) -> Checked<()> {
    if before.is_some() { Err(format!("{what} came twice")) } else { Ok(()) }
}

/// A name as a message shows it: a hostile one may be as long as the file.
fn shown(name: &str) -> String {
    const MAX_CHARS: usize = 100;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// What of JSON occurs in a header: objects and arrays of strings and whole numbers.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
        self.at += space;
        rest.get(space).copied()
    }

    /// What stands here is not what must.
    fn not(&self, expected: &str) -> String {
        let found = self.text[self.at..].chars().next().map_or("the end".into(), |found| format!("{found:?}"));
        format!("byte {} of its header must be {expected}, but is {found}", self.at)
    }

    fn expect(&mut self, byte: u8) -> Checked<()> {
        if self.peek() != Some(byte) {
            return Err(self.not(&format!("{:?}", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    /// Items between `open` and `close`, separated by commas.
    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Checked<()>) -> Checked<()> {
        self.expect(open)?;
        if self.peek() != Some(close) {
            item(self)?;
            while self.peek() == Some(b',') {
                self.at += 1;
                item(self)?;
            }
        }
        self.expect(close)
    }

    fn key(&mut self) -> Checked<Cow<'a, str>> {
        let key = self.string()?;
        self.expect(b':').map(|()| key)
    }

    fn numbers(&mut self) -> Checked<Vec<usize>> {
        let mut numbers = Vec::new();
        self.list(b'[', b']', |reader| {
            if numbers.len() == MAX_AXES {
                return Err(reader.not(&format!("the end of a list of {MAX_AXES}, the most a tensor may have")));
            }
            reader.number().map(|number| numbers.push(number))
        })?;
        Ok(numbers)
    }

    fn number(&mut self) -> Checked<usize> {
        self.peek();
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
        let number = digits.parse().ok().filter(|_| digits == "0" || !digits.starts_with('0'));
        let number = number.ok_or_else(|| self.not(&format!("a whole number up to {}", usize::MAX)))?;
        self.at += digits.len();
        Ok(number)
    }

    /// A string, borrowed from the text unless it has escapes.
    fn string(&mut self) -> Checked<Cow<'a, str>> {
        self.expect(b'"')?;
        let text = &self.text[self.at..];
        let (mut end, mut escapes) = (0, false);
        let raw = loop {
            match text.as_bytes().get(end) {
                Some(b'"') => break &text[..end],
                Some(b'\\') => (end, escapes) = (end + 2, true),
                Some(b' '..) => end += 1,
                _ => {
                    self.at += end.min(text.len());
                    return Err(self.not("part of a string"));
                }
            }
        };
        let string = if escapes { unescaped(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) };
        let string = string.ok_or_else(|| self.not("a string of JSON's escapes"))?;
        self.at += end + 1;
        Ok(string)
    }
}

fn unescaped(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let (char, len) = escaped(escape)?;
        text.push(char);
        rest = &escape[len..];
    }
    text.push_str(rest);
    Some(text)
}

/// The character of an escape behind its backslash, and the escape's length.
fn escaped(escape: &str) -> Option<(char, usize)> {
    let char = match escape.as_bytes().first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(&escape[1..])?;
            // A character past the first 65536 is a pair of escapes.
            let second = escape[5..].strip_prefix("\\u").and_then(unit);
            let char = char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?;
            return Some((char, if char.len_utf16() == 2 { 11 } else { 5 }));
        }
        _ => return None,
    };
    Some((char, 1))
}

/// Four hexadecimal digits.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}
