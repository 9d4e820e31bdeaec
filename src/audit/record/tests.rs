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
fn a_trace_id_is_one_or_none() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    for (traceparent, want) in [
        (format!("00-{id}-b7ad6b7169203331-01"), Some(id)),
        (format!("01-{id}-b7ad6b7169203331-01-more"), Some(id)),
        (format!("ff-{id}-b7ad6b7169203331-01"), None),
        (format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()), None),
        (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
        (format!("00-{}-b7ad6b7169203331-01", "ä".repeat(16)), None),
        (format!("00-{id}"), None),
        (id.to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(trace_id(&traceparent), want, "{traceparent}");
    }
}
