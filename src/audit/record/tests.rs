use super::*;

#[test]
fn bounds_are_exact_on_every_character_width() {
    for char in ["a", "ä", "€", "😀"] {
        for count in 0..30 {
            let text = char.repeat(count);
            let got = bounded(&text, 20);
            if text.len() <= 20 {
                assert_eq!(&*got, text);
            } else {
                let kept = got.strip_suffix('…').expect("a mark");
                assert!(got.len() <= 20 && got.len() > 20 - char.len(), "{got}");
                assert!(text.starts_with(kept));
            }
        }
    }
}

#[test]
fn the_trace_is_w3cs_or_else_b3s() {
    let (trace, half, span) =
        ("0af7651916cd43dd8448eb211c80319c", "8448eb211c80319c", "b7ad6b7169203331");
    let traceparent = format!("00-{trace}-{span}-01");
    let b3 = crate::domain::TraceContext {
        ids: Some(crate::domain::TraceIds { trace: half, span }),
        sampled: None,
    };
    let padded = format!("{}{half}", "0".repeat(16));
    for (traceparent, b3, want) in [
        (&*traceparent, None, Some(trace)),
        (&*traceparent, Some(b3), Some(trace)),
        ("00-1-2-01", Some(b3), Some(&*padded)),
        ("00-1-2-01", None, None),
    ] {
        let request = Request { traceparent: Some(traceparent.into()), b3, ..Request::default() };
        let texts = RequestTexts::of(&request);
        assert_eq!(texts.text(Text::TraceId), want, "{traceparent} {b3:?}");
    }
}
