//! What of a `CheckRequest` may decide, read in one pass over its bytes.
//!
//! Everything in the message is checked as the generated types check it (wire types, lengths,
//! UTF-8), also what nothing is decided by: a message that they refuse is not read here.
//! What Envoy sends only seldom is left to them: headers that are repeated, and metadata.

use super::super::request::{DEBUG_HEADER, Found, raw_value};
use super::reader::{Reader, Unsure, Value, is_text, text};
use crate::domain::{B3, Request, TraceContext};

/// The request that `message` asks about. `justification` names the header in which a caller
/// gives a reason.
///
/// `Some(None)` is a message without HTTP attributes. Nothing means that only the generated
/// types can tell.
#[must_use]
pub fn read<'a>(message: &'a [u8], justification: &str) -> Option<Option<Request<'a>>> {
    let mut check = Check { justification, ..Check::default() };
    check.read(Reader::new(message)).ok()?;
    check.request().ok()
}

/// What was read so far. A field that comes again replaces, and a message that comes again
/// is read on into the same places: protobuf's own rules.
#[derive(Default)]
struct Check<'a, 'j> {
    justification: &'j str,
    is_http: bool,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    source: &'a str,
    destination: &'a str,
    extensions: Vec<(&'a str, &'a str)>,
    map: bool,
    raw: bool,
    authorization: Slot<'a>,
    content_type: Slot<'a>,
    accept: Slot<'a>,
    accept_language: Slot<'a>,
    traceparent: Slot<'a>,
    tracestate: Slot<'a>,
    b3: Slot<'a>,
    b3_trace_id: Slot<'a>,
    b3_span_id: Slot<'a>,
    b3_sampled: Slot<'a>,
    b3_flags: Slot<'a>,
    request_id: Slot<'a>,
    debug: Slot<'a>,
    reason: Slot<'a>,
}

/// A header that is read: absent, or there once.
type Slot<'a> = Option<Found<'a>>;

impl<'a> Check<'a, '_> {
    fn read(&mut self, mut check: Reader<'a>) -> Result<(), Unsure> {
        while let Some(field) = check.next()? {
            if field.number == 1 {
                self.attributes(field.value.message()?)?;
            }
        }
        Ok(())
    }

    fn attributes(&mut self, mut attributes: Reader<'a>) -> Result<(), Unsure> {
        while let Some(field) = attributes.next()? {
            let value = field.value;
            match field.number {
                1 => peer(value.message()?, &mut self.source)?,
                2 => peer(value.message()?, &mut self.destination)?,
                4 => self.request_attributes(value.message()?)?,
                10 => {
                    let (key, value) = entry(value.message()?)?;
                    let (key, value) = (text(key)?, text(value)?);
                    // The later one of the same key replaces it; which can wait for the map.
                    if self.extensions.iter().any(|(other, _)| *other == key) {
                        return Err(Unsure);
                    }
                    self.extensions.push((key, value));
                }
                // Envoy always sends them, mostly with nothing inside.
                11 | 13 if value.bytes()?.is_empty() => {}
                11 | 13 => return Err(Unsure),
                12 => each(value.message()?, |number, value| match number {
                    1 => value.text().map(drop),
                    _ => Ok(()),
                })?,
                _ => {}
            }
        }
        Ok(())
    }

    fn request_attributes(&mut self, mut request: Reader<'a>) -> Result<(), Unsure> {
        while let Some(field) = request.next()? {
            match field.number {
                1 => each(field.value.message()?, |number, value| match number {
                    1 | 2 => value.number(),
                    _ => Ok(()),
                })?,
                2 => {
                    self.is_http = true;
                    self.http(field.value.message()?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn http(&mut self, mut http: Reader<'a>) -> Result<(), Unsure> {
        while let Some(field) = http.next()? {
            let value = field.value;
            match field.number {
                2 => self.method = value.text()?,
                3 => {
                    self.map = true;
                    let (key, value) = entry(value.message()?)?;
                    self.header(key, value, Found::of_text)?;
                }
                4 => self.path = value.text()?,
                5 => self.host = value.text()?,
                9 => value.number()?,
                1 | 6 | 7 | 8 | 10 | 11 => drop(value.text_bytes()?),
                12 => drop(value.bytes()?),
                13 => self.header_map(value.message()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn header_map(&mut self, mut headers: Reader<'a>) -> Result<(), Unsure> {
        while let Some(field) = headers.next()? {
            if field.number == 1 {
                self.raw = true;
                self.raw_header(field.value.message()?)?;
            }
        }
        Ok(())
    }

    fn raw_header(&mut self, mut header: Reader<'a>) -> Result<(), Unsure> {
        let (mut key, mut value, mut raw) = (&[][..], &[][..], &[][..]);
        if let Some((name, bytes)) = header.pair(3) {
            is_text(name)?;
            return self.header(name, &[], |value| raw_value(value, bytes));
        }
        while let Some(field) = header.next()? {
            match field.number {
                1 => key = field.value.text_bytes()?,
                // Should it come again, the one before is a text nevertheless.
                2 => value = field.value.text_bytes()?,
                3 => raw = field.value.bytes()?,
                _ => {}
            }
        }
        self.header(key, value, |value| raw_value(value, raw))
    }

    /// Keeps a header that is read, and checks that the value of any other is a text.
    #[inline]
    fn header(
        &mut self,
        name: &[u8],
        value: &'a [u8],
        found: impl FnOnce(&'a str) -> Found<'a>,
    ) -> Result<(), Unsure> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let slot = match name.len() {
            2 if is("b3") => &mut self.b3,
            6 if is("accept") => &mut self.accept,
            10 if is("tracestate") => &mut self.tracestate,
            10 if is("x-b3-flags") => &mut self.b3_flags,
            11 if is("traceparent") => &mut self.traceparent,
            11 if is("x-b3-spanid") => &mut self.b3_span_id,
            12 if is("content-type") => &mut self.content_type,
            12 if is("x-request-id") => &mut self.request_id,
            12 if is("x-b3-traceid") => &mut self.b3_trace_id,
            12 if is("x-b3-sampled") => &mut self.b3_sampled,
            13 if is("authorization") => &mut self.authorization,
            15 if is("accept-language") => &mut self.accept_language,
            17 if is(DEBUG_HEADER) => &mut self.debug,
            length if length == self.justification.len() && is(self.justification) => {
                &mut self.reason
            }
            _ => return is_text(value),
        };
        // What a repeated header means depends on the header, and on the form.
        if slot.replace(found(text(value)?)).is_some() { Err(Unsure) } else { Ok(()) }
    }

    fn request(self) -> Result<Option<Request<'a>>, Unsure> {
        // With both forms there, one of them is not looked at.
        if self.map && self.raw {
            return Err(Unsure);
        }
        if !self.is_http {
            return Ok(None);
        }
        // The configuration may name one of the others for the reason: a header in two parts.
        if self.names_a_known_header() {
            return Err(Unsure);
        }
        let found = |slot: Slot<'a>| slot.unwrap_or(Found::Nothing);
        let principal = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let text = |slot: Slot<'a>| found(slot).text();
        Ok(Some(Request {
            method: self.method,
            host: self.host,
            path: self.path,
            credentials: found(self.authorization).credentials(),
            content_type: found(self.content_type).single(),
            accept: found(self.accept).one(),
            accept_language: found(self.accept_language).one(),
            traceparent: found(self.traceparent).single(),
            tracestate: found(self.tracestate).one(),
            b3: TraceContext::of_b3(&B3 {
                single: text(self.b3),
                trace_id: text(self.b3_trace_id),
                span_id: text(self.b3_span_id),
                sampled: text(self.b3_sampled),
                flags: text(self.b3_flags),
            }),
            request_id: found(self.request_id).single(),
            justification: found(self.reason).words(),
            debug: found(self.debug).single().is_some_and(|value| value == "1"),
            source_principal: principal(self.source),
            destination_principal: principal(self.destination),
            context_extensions: self.extensions,
        }))
    }

    fn names_a_known_header(&self) -> bool {
        [
            "accept",
            "tracestate",
            "traceparent",
            "b3",
            "x-b3-traceid",
            "x-b3-spanid",
            "x-b3-sampled",
            "x-b3-flags",
            "content-type",
            "x-request-id",
            "authorization",
            "accept-language",
            DEBUG_HEADER,
        ]
        .iter()
        .any(|known| {
            known.len() == self.justification.len()
                && known.eq_ignore_ascii_case(self.justification)
        })
    }
}

/// A peer: its principal; the rest is checked.
fn peer<'a>(mut peer: Reader<'a>, principal: &mut &'a str) -> Result<(), Unsure> {
    while let Some(field) = peer.next()? {
        let value = field.value;
        match field.number {
            1 => address(value.message()?)?,
            2 | 5 => drop(value.text_bytes()?),
            3 => is_text(entry(value.message()?)?.1)?,
            4 => *principal = value.text()?,
            _ => {}
        }
    }
    Ok(())
}

fn address(address: Reader<'_>) -> Result<(), Unsure> {
    each(address, |number, value| match number {
        1 => each(value.message()?, |number, value| match number {
            1 | 3 => value.number(),
            2 | 4 => value.text_bytes().map(drop),
            _ => Ok(()),
        }),
        2 => each(value.message()?, |number, value| match number {
            1 => value.text_bytes().map(drop),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })
}

/// An entry of a map from text to text, as the bytes of both. Whether the value is a text is
/// left to whoever reads it.
#[inline]
fn entry<'a>(mut entry: Reader<'a>) -> Result<(&'a [u8], &'a [u8]), Unsure> {
    let (mut key, mut value) = (&[][..], &[][..]);
    if let Some((key, value)) = entry.pair(2) {
        return is_text(key).map(|()| (key, value));
    }
    while let Some(field) = entry.next()? {
        match field.number {
            1 => key = field.value.text_bytes()?,
            2 => value = field.value.text_bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Checks every field of a message that nothing is taken from.
fn each<'a>(
    mut message: Reader<'a>,
    mut check: impl FnMut(u32, Value<'a>) -> Result<(), Unsure>,
) -> Result<(), Unsure> {
    while let Some(field) = message.next()? {
        check(field.number, field.value)?;
    }
    Ok(())
}
