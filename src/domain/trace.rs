//! The trace that a request is a part of, as its headers say.

/// Where a request stands in a trace, by W3C Trace Context or by B3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// The trace and the span; B3 can say whether to record without naming them.
    pub ids: Option<TraceIds<'a>>,
    /// Whether the trace is recorded. Nothing leaves it to whoever is asked.
    pub sampled: Option<bool>,
}

/// Ids in lower-case hexadecimal, as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds<'a> {
    /// 32 digits; in B3 it can be the last 16 alone.
    pub trace: &'a str,
    /// 16 digits.
    pub span: &'a str,
}

/// The headers of B3, as far as there is one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct B3<'a> {
    /// `b3`, which says all of it.
    pub single: Option<&'a str>,
    /// `x-b3-traceid`
    pub trace_id: Option<&'a str>,
    /// `x-b3-spanid`
    pub span_id: Option<&'a str>,
    /// `x-b3-sampled`
    pub sampled: Option<&'a str>,
    /// `x-b3-flags`
    pub flags: Option<&'a str>,
}

impl<'a> TraceContext<'a> {
    /// What a `traceparent` says (W3C Trace Context, section 3.2), if it is one.
    #[must_use]
    pub fn of_traceparent(text: &'a str) -> Option<Self> {
        let part = |from: usize, to: usize| text.get(from..to);
        let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        let version = part(0, 2).filter(|version| is_hex(version) && *version != "ff")?;
        // Later versions may say more, after another dash.
        let ends = text.len() == 55 || (version != "00" && text.as_bytes().get(55) == Some(&b'-'));
        let flags = part(53, 55).filter(|flags| dashes && ends && is_hex(flags))?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let ids = TraceIds { trace: id(part(3, 35)?)?, span: id(part(36, 52)?)? };
        Some(Self { ids: Some(ids), sampled: Some(flags & 1 == 1) })
    }

    /// What the headers of B3 say, if they are of it. `b3` comes before the others.
    #[must_use]
    pub fn of_b3(headers: &B3<'a>) -> Option<Self> {
        headers.single.and_then(Self::of_single).or_else(|| {
            let sampled = match (headers.flags, headers.sampled) {
                // Debugged is recorded, whatever else is said.
                (Some("1"), _) => Some(true),
                (_, sampled) => sampled.and_then(state),
            };
            let ids = headers.trace_id.zip(headers.span_id);
            let ids = ids.and_then(|(trace, span)| TraceIds::of_b3(trace, span));
            (ids.is_some() || sampled.is_some()).then_some(Self { ids, sampled })
        })
    }

    /// `{trace}-{span}-{state}-{parent}`, of which the last two can be missing, or the state alone.
    fn of_single(text: &'a str) -> Option<Self> {
        let mut parts = text.split('-');
        let first = parts.next()?;
        let Some(span) = parts.next() else {
            return Some(Self { ids: None, sampled: Some(state(first)?) });
        };
        let ids = TraceIds::of_b3(first, span)?;
        let sampled = match parts.next() {
            Some(text) => Some(state(text)?),
            None => None,
        };
        let well_formed = parts.next().is_none_or(|parent| parent.len() == 16 && is_hex(parent));
        (well_formed && parts.next().is_none()).then_some(Self { ids: Some(ids), sampled })
    }
}

impl<'a> TraceIds<'a> {
    fn of_b3(trace: &'a str, span: &'a str) -> Option<Self> {
        let lengths = matches!(trace.len(), 16 | 32) && span.len() == 16;
        lengths.then_some(Self { trace: id(trace)?, span: id(span)? })
    }
}

/// An id is no id where it is all zeros.
fn id(text: &str) -> Option<&str> {
    (is_hex(text) && text.bytes().any(|b| b != b'0')).then_some(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// B3's word on recording; some old clients write it out.
fn state(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const HALF: &str = "8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn context<'a>(trace: &'a str, sampled: impl Into<Option<bool>>) -> Option<TraceContext<'a>> {
        let ids = Some(TraceIds { trace, span: SPAN });
        Some(TraceContext { ids, sampled: sampled.into() })
    }

    #[test]
    fn a_traceparent_is_one_or_none() {
        let yes = context(TRACE, true);
        for (text, want) in [
            (format!("00-{TRACE}-{SPAN}-01"), yes),
            (format!("00-{TRACE}-{SPAN}-00"), context(TRACE, false)),
            (format!("00-{TRACE}-{SPAN}-03"), yes),
            (format!("01-{TRACE}-{SPAN}-01-more"), yes),
            (format!("01-{TRACE}-{SPAN}-01"), yes),
            (format!("01-{TRACE}-{SPAN}-01more"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("0G-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{SPAN}-01", "ä".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}-0g"), None),
            (format!("00_{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{TRACE}"), None),
            (TRACE.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(TraceContext::of_traceparent(&text), want, "{text}");
        }
    }

    #[test]
    fn b3_in_one_header() {
        let said = |sampled| Some(TraceContext { ids: None, sampled: Some(sampled) });
        for (text, want) in [
            (format!("{TRACE}-{SPAN}-1"), context(TRACE, true)),
            (format!("{TRACE}-{SPAN}-0"), context(TRACE, false)),
            (format!("{TRACE}-{SPAN}-d"), context(TRACE, true)),
            (format!("{TRACE}-{SPAN}"), context(TRACE, None)),
            (format!("{HALF}-{SPAN}-1-{HALF}"), context(HALF, true)),
            ("0".to_owned(), said(false)),
            ("1".to_owned(), said(true)),
            ("d".to_owned(), said(true)),
            (format!("{TRACE}-{SPAN}-2"), None),
            (format!("{TRACE}-{SPAN}-1-x"), None),
            (format!("{TRACE}-{SPAN}-1-{HALF}-1"), None),
            (format!("{TRACE}-{HALF}{HALF}-1"), None),
            (format!("{}-{SPAN}-1", "0".repeat(32)), None),
            (TRACE.to_owned(), None),
            (String::new(), None),
        ] {
            let headers = B3 { single: Some(&text), ..B3::default() };
            assert_eq!(TraceContext::of_b3(&headers), want, "{text}");
        }
    }

    #[test]
    fn b3_in_several_headers() {
        let b3 = |sampled, flags| B3 {
            single: None,
            trace_id: Some(TRACE),
            span_id: Some(SPAN),
            sampled,
            flags,
        };
        for (headers, want) in [
            (b3(Some("1"), None), context(TRACE, true)),
            (b3(Some("true"), None), context(TRACE, true)),
            (b3(Some("0"), None), context(TRACE, false)),
            (b3(None, None), context(TRACE, None)),
            (b3(Some("0"), Some("1")), context(TRACE, true)),
            (b3(Some("odd"), Some("0")), context(TRACE, None)),
            (
                B3 { trace_id: None, ..b3(Some("0"), None) },
                Some(TraceContext { ids: None, sampled: Some(false) }),
            ),
            (B3 { span_id: Some("x"), ..b3(None, None) }, None),
            (B3::default(), None),
            // What one header says comes first, if it says anything.
            (B3 { single: Some("nothing"), ..b3(Some("1"), None) }, context(TRACE, true)),
            (
                B3 { single: Some("0"), ..b3(Some("1"), None) },
                Some(TraceContext { ids: None, sampled: Some(false) }),
            ),
        ] {
            assert_eq!(TraceContext::of_b3(&headers), want, "{headers:?}");
        }
    }
}
