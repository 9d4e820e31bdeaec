//! Protobuf written from its end to its beginning.
//!
//! Each length stands before what it measures; written backwards, it is known when its turn
//! comes, and a message needs neither a second pass nor a copy.

use bytes::{Buf as _, Bytes};

/// Bytes that grow at their beginning. Whoever writes two fields writes the later one first.
#[derive(Clone, Debug)]
pub(in crate::ext_authz) struct Back {
    /// Written from `start` to the end.
    buffer: Vec<u8>,
    start: usize,
}

impl Back {
    /// Nothing, with room for this much.
    pub(in crate::ext_authz) fn with_capacity(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity], start: capacity }
    }

    /// How much is written.
    pub(in crate::ext_authz) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// Puts bytes before what is written.
    pub(in crate::ext_authz) fn bytes(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            self.grow(bytes.len());
        }
        let start = self.start.saturating_sub(bytes.len());
        if let Some(place) = self.buffer.get_mut(start..self.start) {
            place.copy_from_slice(bytes);
        }
        self.start = start;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let added = self.buffer.len().max(more).max(64);
        self.buffer.splice(0..0, std::iter::repeat_n(0, added));
        self.start += added;
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        if self.start == 0 {
            self.grow(1);
        }
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.buffer.get_mut(self.start) {
            *place = byte;
        }
    }

    #[inline]
    pub(in crate::ext_authz) fn varint(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(byte) if byte < 0x80 => self.byte(byte),
            _ => self.long_varint(value),
        }
    }

    fn long_varint(&mut self, value: u64) {
        let low = |value: u64| u8::try_from(value & 0x7f).unwrap_or_default();
        // The last of its bytes has no mark, and all before it have one.
        let digits = value.ilog2() / 7;
        self.byte(low(value >> (7 * digits)));
        for digit in (0..digits).rev() {
            self.byte(low(value >> (7 * digit)) | 0x80);
        }
    }

    /// A field that is a number.
    pub(in crate::ext_authz) fn number(&mut self, field: u32, value: u64) {
        self.varint(value);
        self.varint(u64::from(field << 3));
    }

    /// A field that is a text. Envoy reads an absent one as empty.
    pub(in crate::ext_authz) fn text(&mut self, field: u32, text: &str) {
        self.bytes(text.as_bytes());
        self.varint(u64::try_from(text.len()).unwrap_or_default());
        self.varint(u64::from(field << 3 | 2));
    }

    /// A field that is a message.
    pub(in crate::ext_authz) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let end = self.len();
        write(self);
        let length = self.len().saturating_sub(end);
        self.varint(u64::try_from(length).unwrap_or_default());
        self.varint(u64::from(field << 3 | 2));
    }

    /// What was written.
    pub(in crate::ext_authz) fn finish(self) -> Bytes {
        let mut bytes = Bytes::from(self.buffer);
        bytes.advance(self.start);
        bytes
    }
}
