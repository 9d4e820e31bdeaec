//! A record as one line of JSON.
//!
//! In printable ASCII: whatever a client put into a path, the line has no second
//! line, no terminal control and no text that shows in another order than it is
//! stored in. Everything else is escaped as JSON does it, so nothing is lost.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Appends `record` and a line feed to `out`. When it fails, `out` is as before.
pub(super) fn append(out: &mut Vec<u8>, record: &impl Serialize) -> serde_json::Result<()> {
    let before = out.len();
    let result = record.serialize(&mut Serializer::with_formatter(&mut *out, Ascii));
    match result {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    result
}

/// serde_json's compact form with every character outside printable ASCII escaped.
struct Ascii;

impl Formatter for Ascii {
    // Called with what is left when quotes, backslashes and the control characters
    // below U+0020 have been escaped.
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Mostly there is nothing to do.
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !c.is_ascii() || c == '\u{7f}') {
            let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
            writer.write_all(plain.as_bytes())?;
            let mut chars = special.chars();
            if let Some(char) = chars.next() {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_text_stays_on_one_line_in_ascii() {
        for (text, want) in [
            ("plain /v1/orders", r#""plain /v1/orders""#),
            ("a\nb\r\n\"c\"\\", r#""a\nb\r\n\"c\"\\""#),
            ("\u{1b}[31m\u{7f}\0", r#""\u001b[31m\u007f\u0000""#),
            ("\u{85}\u{2028}\u{2029}\u{9b}", r#""\u0085\u2028\u2029\u009b""#),
            ("\u{202e}gnp.exe\u{2066}", r#""\u202egnp.exe\u2066""#),
            ("é😀z", r#""\u00e9\ud83d\ude00z""#),
        ] {
            let mut out = b"before\n".to_vec();
            append(&mut out, &text).expect("a string");
            assert_eq!(String::from_utf8(out).expect("text"), format!("before\n{want}\n"));
        }
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing() {
        struct Half;
        impl Serialize for Half {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeSeq;
                let mut seq = serializer.serialize_seq(None)?;
                seq.serialize_element("one")?;
                Err(serde::ser::Error::custom("no more"))
            }
        }
        let mut out = b"before\n".to_vec();
        assert!(append(&mut out, &Half).is_err());
        assert_eq!(out, b"before\n");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let mut out = Vec::new();
            append(&mut out, &text).expect("a string");
            let (end, line) = out.split_last().expect("a line");
            prop_assert_eq!(*end, b'\n');
            prop_assert!(line.iter().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_slice::<String>(line).expect("JSON"), text);
        }
    }
}
