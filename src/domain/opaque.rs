//! Ids that are compared and nothing else.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// An id of which only equality counts, such as `sid` and `uti`: in the sixteen bytes that
/// most of them stand for, or as text. Two are equal where their texts are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpaqueId(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// A GUID in lower case, with hyphens.
    Guid([u8; 16]),
    /// 22 characters of base64url.
    Base64([u8; 16]),
    Text(Box<str>),
}

impl OpaqueId {
    /// Of its text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        // Only a form that gives back the very text: what differs there stays apart.
        let form = match text.len() {
            36 => Uuid::try_parse(text).ok().map(|id| Form::Guid(id.into_bytes())),
            22 => {
                let bytes = URL_SAFE_NO_PAD.decode(text).ok();
                bytes.and_then(|bytes| bytes.try_into().ok()).map(Form::Base64)
            }
            _ => None,
        };
        match form.map(Self) {
            Some(short) if short.text() == text => short,
            _ => Self(Form::Text(text.into())),
        }
    }

    /// The text that it was made of.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Guid(bytes) => Uuid::from_bytes(*bytes).to_string().into(),
            Form::Base64(bytes) => URL_SAFE_NO_PAD.encode(bytes).into(),
            Form::Text(text) => Cow::Borrowed(text),
        }
    }

    /// What it takes beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Guid(_) | Form::Base64(_) => 0,
            Form::Text(text) => text.len(),
        }
    }
}

impl fmt::Debug for OpaqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_and_what_differs_differs() {
        let texts = [
            "3f2c1d00-aaaa-bbbb-cccc-000000000001",
            "3F2C1D00-aaaa-bbbb-cccc-000000000001",
            "3f2c1d00-aaaa-bbbb-cccc-00000000000g",
            "00000000-0000-0000-0000-000000000000",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "m5RaaRnoFUyp2TbSCAAAAA",
            // Bits left over, and another alphabet.
            "m5RaaRnoFUyp2TbSCAAAAB",
            "m5RaaRnoFUyp2TbSCAAA+A",
            "{3f2c1d00aaaabbbbcccc00000000000001}",
            "",
            "a",
        ];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(OpaqueId::of(text).text(), *text);
            assert_eq!(format!("{:?}", OpaqueId::of(text)), format!("{text:?}"));
            for (other_at, other) in texts.iter().enumerate() {
                assert_eq!(OpaqueId::of(text) == OpaqueId::of(other), at == other_at);
            }
        }
        assert_eq!(size_of::<Option<OpaqueId>>(), 24);
        assert_eq!(OpaqueId::of("m5RaaRnoFUyp2TbSCAAAAA").heap_bytes(), 0);
    }
}
