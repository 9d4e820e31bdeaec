//! The fields of a protobuf message, one after another.

/// The wire type of what has a length.
const BYTES: u8 = 2;

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A field's number and what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
}

/// What a field holds, by its wire type. Groups, which nothing here has, are not read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint,
    Fixed,
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, nothing at the end, or an error where this is no message.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Unsure> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Unsure)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Unsure);
        }
        let value = match key & 7 {
            0 => {
                self.varint()?;
                Value::Varint
            }
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Unsure)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Unsure)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => self.skip(4)?,
            _ => return Err(Unsure),
        };
        Ok(Some(Field { number, value }))
    }

    /// A message of a text in its first field and of bytes in one other, where it is written as
    /// nearly all are: both there, once and in this order. Nothing says that it is written
    /// otherwise, or that it is none.
    #[inline]
    pub(super) fn pair(&self, second: u8) -> Option<(&'a [u8], &'a [u8])> {
        const FIRST: u8 = 1 << 3 | BYTES;
        let (&[first, length], rest) = self.rest.split_first_chunk()?;
        if first != FIRST || length >= 0x80 {
            return None;
        }
        let (text, rest) = rest.split_at_checked(usize::from(length))?;
        let (&other, rest) = rest.split_first()?;
        let mut rest = Self { rest };
        let length = rest.varint().ok()?;
        let whole = usize::try_from(length).is_ok_and(|length| length == rest.rest.len());
        (other == second << 3 | BYTES && whole).then_some((text, rest.rest))
    }

    fn skip(&mut self, length: usize) -> Result<Value<'a>, Unsure> {
        self.rest = self.rest.get(length..).ok_or(Unsure)?;
        Ok(Value::Fixed)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Unsure> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.two_bytes(),
        }
    }

    /// As long as most lengths are that one byte can't tell.
    #[inline]
    fn two_bytes(&mut self) -> Result<u64, Unsure> {
        match self.rest {
            [first, second, rest @ ..] if *second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(*second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Unsure> {
        let mut value = 0;
        for at in 0..10_u32 {
            let (byte, rest) = self.rest.split_first().ok_or(Unsure)?;
            self.rest = rest;
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                return Err(Unsure);
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unsure)
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(self) -> Result<&'a str, Unsure> {
        text(self.bytes()?)
    }

    /// Bytes that are a text, for what doesn't have to be read as one.
    #[inline]
    pub(super) fn text_bytes(self) -> Result<&'a [u8], Unsure> {
        let bytes = self.bytes()?;
        is_text(bytes).map(|()| bytes)
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Unsure> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint | Self::Fixed => Err(Unsure),
        }
    }

    pub(super) fn message(self) -> Result<Reader<'a>, Unsure> {
        self.bytes().map(Reader::new)
    }

    pub(super) fn number(self) -> Result<(), Unsure> {
        match self {
            Self::Varint => Ok(()),
            Self::Fixed | Self::Bytes(_) => Err(Unsure),
        }
    }
}

/// Whether it is a text, for what doesn't have to be read as one.
#[inline]
pub(super) fn is_text(bytes: &[u8]) -> Result<(), Unsure> {
    // Nearly all are ASCII, which is told many bytes at a time.
    if bytes.is_ascii() { Ok(()) } else { text(bytes).map(drop) }
}

/// A text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Unsure> {
    std::str::from_utf8(bytes).map_err(|_| Unsure)
}

/// Not what is read here: perhaps no message at all, perhaps only an unusual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsure;
