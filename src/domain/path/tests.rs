use proptest::prelude::*;

use super::*;

fn check(raw: &str, want: Result<&str, PathError>) {
    let path = Path::split(raw);
    assert_eq!(path.as_ref().map(|(p, _)| p.as_str()).map_err(|e| *e), want, "{raw:?}");
}

#[test]
fn one_spelling() {
    for (raw, want) in [
        ("/", "/"),
        ("/admin", "/admin"),
        ("/Admin", "/Admin"),
        ("/admin/", "/admin/"),
        ("/a/b.c/d_e~f-g", "/a/b.c/d_e~f-g"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a/..b/.c", "/a/..b/.c"),
        ("/a..", "/a.."),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ("/pkg.Service/Method", "/pkg.Service/Method"),
        // Cut at the first `?`; the query is nobody's path.
        ("/a?b", "/a"),
        ("/a?b?c", "/a"),
        ("/?", "/"),
        ("/a?../%2f#\\", "/a"),
        // Path parameters are a question for the routes.
        ("/admin;x=y", "/admin;x=y"),
        ("/admin;", "/admin;"),
        ("/a;b/c;d", "/a;b/c;d"),
        // Escapes that may stand, in upper case.
        ("/a%20b", "/a%20b"),
        ("/%7B%7D", "/%7B%7D"),
        ("/%7b%7D", "/%7B%7D"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%C3%a9/x", "/%C3%A9/x"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/%F0%9F%8E%AD", "/%F0%9F%8E%AD"),
        ("/%22%3C%3E%5B%5D%5E%60%7C", "/%22%3C%3E%5B%5D%5E%60%7C"),
        // Characters that may stand raw are compared as raw.
        ("/bob%40example.com", "/bob@example.com"),
        ("/x%3Averb", "/x:verb"),
        ("/%21%24%26%27%28%29%2a%2B%2c%3D", "/!$&'()*+,="),
    ] {
        check(raw, Ok(want));
    }
    assert_eq!(Path::split("/a?b?c").unwrap().1, Some("b?c"));
    assert_eq!(Path::split("/a?").unwrap().1, Some(""));
    assert_eq!(Path::split("/a").unwrap().1, None);
    assert!(matches!(Path::split("/a%20b").unwrap().0.0, Cow::Borrowed(_)));
    check(&format!("/{}", "a".repeat(MAX_LENGTH - 1)), Ok(&format!("/{}", "a".repeat(8191))));
}

#[test]
fn what_has_two_readings_is_refused() {
    use PathError::*;
    let long = format!("/{}", "a".repeat(MAX_LENGTH));
    for (raw, want) in [
        // No path at all.
        ("", Empty),
        ("?x", Empty),
        ("*", NotAbsolute),
        ("admin", NotAbsolute),
        ("http://other/admin", NotAbsolute),
        ("pkg.Service/Method", NotAbsolute),
        (" /admin", NotAbsolute),
        ("\\admin", NotAbsolute),
        (&long, TooLong),
        // Empty segments.
        ("//", EmptySegment),
        ("//admin", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("///", EmptySegment),
        ("//other.example/admin", EmptySegment),
        ("/;/admin", EmptySegment),
        ("/;a=b/admin", EmptySegment),
        ("/a/;", EmptySegment),
        ("//Method", EmptySegment),
        // Dot segments.
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./", DotSegment),
        ("/../", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/../admin", DotSegment),
        ("/a/..", DotSegment),
        ("/a/..;/admin", DotSegment),
        ("/a/..;x=y/admin", DotSegment),
        ("/a/.;x", DotSegment),
        ("/a/..;", DotSegment),
        ("/a/..?x", DotSegment),
        // Escapes of what structures a URL.
        ("/a/%2e%2e/admin", EscapedDelimiter('.')),
        ("/a/%2E%2e/admin", EscapedDelimiter('.')),
        ("/a/.%2e/admin", EscapedDelimiter('.')),
        ("/x%2ejson", EscapedDelimiter('.')),
        ("/a/..%2fadmin", EscapedDelimiter('/')),
        ("/a%2Fadmin", EscapedDelimiter('/')),
        ("/%2f", EscapedDelimiter('/')),
        ("/a%5cadmin", EscapedDelimiter('\\')),
        ("/a%5Cadmin", EscapedDelimiter('\\')),
        ("/%2561dmin", EscapedDelimiter('%')),
        ("/a%252fadmin", EscapedDelimiter('%')),
        ("/100%25", EscapedDelimiter('%')),
        ("/admin%3bx", EscapedDelimiter(';')),
        ("/admin%3Bx", EscapedDelimiter(';')),
        ("/admin%3fx", EscapedDelimiter('?')),
        ("/admin.php%3Fooo.php", EscapedDelimiter('?')),
        ("/admin%23x", EscapedDelimiter('#')),
        // Escapes of what needs none.
        ("/%61dmin", EscapedPlain('a')),
        ("/%41dmin", EscapedPlain('A')),
        ("/%5a", EscapedPlain('Z')),
        ("/%30", EscapedPlain('0')),
        ("/%2d", EscapedPlain('-')),
        ("/%5F", EscapedPlain('_')),
        ("/%7E", EscapedPlain('~')),
        // Control characters.
        ("/admin%00", EscapedControl),
        ("/admin%00.png", EscapedControl),
        ("/admin%0a", EscapedControl),
        ("/admin%0D%0Ax", EscapedControl),
        ("/admin%09", EscapedControl),
        ("/admin%1f", EscapedControl),
        ("/admin%7F", EscapedControl),
        ("/admin%c2%85", EscapedControl),
        // Bad escapes.
        ("/%", BadEscape),
        ("/%2", BadEscape),
        ("/%zz", BadEscape),
        ("/%2/", BadEscape),
        ("/%%32%65", BadEscape),
        ("/%u002e", BadEscape),
        ("/%+1", BadEscape),
        ("/% 1", BadEscape),
        ("/%é", BadEscape),
        ("/%2?f", BadEscape),
        // Not UTF-8: overlong, alone, cut, surrogates, beyond the last plane.
        ("/%c0%ae%c0%ae/admin", EscapedNonUtf8),
        ("/%c0%af", EscapedNonUtf8),
        ("/%c1%81", EscapedNonUtf8),
        ("/%e0%80%ae", EscapedNonUtf8),
        ("/%f0%80%80%ae", EscapedNonUtf8),
        ("/%80", EscapedNonUtf8),
        ("/%ff", EscapedNonUtf8),
        ("/%c3", EscapedNonUtf8),
        ("/%c3x", EscapedNonUtf8),
        ("/%c3/%a9", EscapedNonUtf8),
        ("/%c3%28", EscapedNonUtf8),
        ("/%e2%82", EscapedNonUtf8),
        ("/%ed%a0%80", EscapedNonUtf8),
        ("/%f4%90%80%80", EscapedNonUtf8),
        ("/%c3%a", BadEscape),
        // Raw characters that no path has.
        ("/a b", Character(' ')),
        ("/admin ", Character(' ')),
        ("/a\tb", Character('\t')),
        ("/a\nb", Character('\n')),
        ("/a\0", Character('\0')),
        ("/a\x7f", Character('\x7f')),
        ("/a\\b", Character('\\')),
        ("/..\\admin", Character('\\')),
        ("/admin#x", Character('#')),
        ("/#/admin", Character('#')),
        ("/é", Character('é')),
        ("/a／admin", Character('／')),
        ("/\u{feff}", Character('\u{feff}')),
        ("/\"", Character('"')),
        ("/<", Character('<')),
        ("/>", Character('>')),
        ("/[", Character('[')),
        ("/]", Character(']')),
        ("/^", Character('^')),
        ("/`", Character('`')),
        ("/{x}", Character('{')),
        ("/|", Character('|')),
        ("/}", Character('}')),
    ] {
        check(raw, Err(want));
    }
}

#[test]
fn every_byte_has_one_spelling_at_most() {
    for byte in 0..=127_u8 {
        let raw = format!("/x{}x", char::from(byte));
        let spellings = [raw.clone(), format!("/x%{byte:02x}x"), format!("/x%{byte:02X}x")];
        let read: Vec<_> = spellings
            .iter()
            .filter_map(|text| Path::split(text).ok())
            .map(|(path, query)| (path.as_str().to_owned(), query.is_some()))
            .collect();
        assert!(read.windows(2).all(|pair| pair[0] == pair[1]), "{byte}: {read:?}");
    }
}

#[test]
fn segments_end_where_slashes_are() {
    for (raw, want) in
        [("/", &[""] as &[_]), ("/a", &["a"]), ("/a/", &["a", ""]), ("/a/b;c?d/e", &["a", "b;c"])]
    {
        let (path, _) = Path::split(raw).unwrap();
        assert_eq!(path.segments().collect::<Vec<_>>(), want);
    }
    assert!(Path::split("/a;b").unwrap().0.has_parameters());
    assert!(!Path::split("/a?;b").unwrap().0.has_parameters());
}

/// What the most willing backend makes of a path: every escape decoded,
/// parameters dropped, slashes merged, dot segments removed.
fn willing_backend(path: &str) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [h, l, tail @ ..]) => {
                let digits = [*h, *l];
                bytes.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    let mut out = Vec::new();
    for segment in bytes.split(|b| matches!(b, b'/' | b'\\')) {
        match segment.split(|b| *b == b';').next().unwrap() {
            b"" | b"." => {}
            b".." => drop(out.pop()),
            name => out.push(name.to_vec()),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_accepted_is_canonical(raw in "(/([a-c.;@%]|%[0-9a-fA-F]{2}|%[cC]3%[aA]9){0,4}){1,4}") {
        if let Ok((path, query)) = Path::split(&raw) {
            prop_assert_eq!(query, None);
            let again = Path::split(path.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&(path.clone(), None)));
            prop_assert!(matches!(again.unwrap().0.0, Cow::Borrowed(_)));
        }
    }

    /// However an accepted path is spelt otherwise, that is refused, or is the same path:
    /// an escape, an escape of an escape, another case of one, a slash or dot segment that
    /// means nothing, a detour.
    #[test]
    fn no_other_spelling_is_accepted(
        raw in "(/([a-c.@:]|%7[bB]|%[cC]3%[aA]9){1,4}){1,4}",
        at in any::<prop::sample::Index>(),
        how in 0_usize..9,
    ) {
        let Ok((path, _)) = Path::split(&raw) else { return Ok(()) };
        let at = at.index(raw.len());
        let byte = raw.as_bytes()[at];
        let (before, after) = raw.split_at(at);
        let (parent, rest) = raw.split_at(raw.split_at(at + 1).0.rfind('/').unwrap());
        let after = after.split_at(1).1;
        let other = match how {
            0 => format!("{before}%{byte:02x}{after}"),
            1 => format!("{before}%{byte:02X}{after}"),
            2 => format!("{before}%25{byte:02x}{after}"),
            3 => format!("{parent}/{rest}"),
            4 => format!("{parent}/.{rest}"),
            5 => format!("{parent}/x/..{rest}"),
            6 => format!("{parent}/%2e{rest}"),
            7 => format!("{parent}\\{}", rest.split_at(1).1),
            _ => raw.split('%').enumerate().map(|(n, part)| match n {
                0 => part.to_owned(),
                _ => {
                    let (digits, rest) = part.split_at(2);
                    format!("%{}{rest}", digits.to_ascii_uppercase())
                }
            }).collect(),
        };
        if let Ok((same, query)) = Path::split(&other) {
            prop_assert_eq!(same.as_str(), path.as_str(), "{} and {}", raw, other);
            prop_assert_eq!(query, None);
        }
    }

    #[test]
    fn any_text_is_read_without_panic(raw in "\\PC{0,40}", tail in "[/%a-f0-9.;\\x00-\\x7f]{0,40}") {
        let _ = Path::split(&raw);
        let _ = Path::split(&format!("/{tail}{raw}"));
    }

    /// Segment by segment, the most willing backend sees what routing sees.
    #[test]
    fn no_backend_sees_other_segments(raw in "(/([a-cA.;@%*]|%[0-9a-fA-F]{2}){0,4}){1,4}") {
        if let Ok((path, _)) = Path::split(&raw) {
            let seen: Vec<_> = path
                .segments()
                .map(without_parameters)
                .filter(|segment| !segment.is_empty())
                .map(|segment| willing_backend(segment).concat())
                .collect();
            prop_assert_eq!(willing_backend(&raw), seen);
        }
    }
}
