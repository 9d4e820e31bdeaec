use proptest::prelude::*;

use super::*;

fn check(raw: &str, want: Result<&str, HostError>) {
    let host = Host::parse(raw);
    assert_eq!(host.as_ref().map(Host::as_str).map_err(|e| *e), want, "{raw:?}");
}

#[test]
fn one_spelling() {
    for (raw, want) in [
        ("payments.example.com", "payments.example.com"),
        ("Payments.EXAMPLE.com", "payments.example.com"),
        ("payments.example.com:80", "payments.example.com"),
        ("payments.example.com:443", "payments.example.com"),
        ("payments.example.com:8443", "payments.example.com"),
        ("payments.example.com:65535", "payments.example.com"),
        ("payments.example.com.", "payments.example.com"),
        ("payments.example.com.:443", "payments.example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("my_service.ns.svc.cluster.local", "my_service.ns.svc.cluster.local"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("1.example.com", "1.example.com"),
        ("0x7f.example", "0x7f.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:15001", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
    ] {
        check(raw, Ok(want));
    }
    let longest = format!("{}a", "ab.".repeat(84));
    assert_eq!(longest.len(), MAX_LENGTH);
    check(&longest, Ok(&longest));
    check(&format!("{longest}.:65535"), Ok(&longest));
    check(&format!("{longest}b"), Err(HostError::TooLong));
    let label = "a".repeat(63);
    check(&label, Ok(&label));
    assert!(Host::parse("127.0.0.1").unwrap().is_address());
    assert!(Host::parse("[::1]:1").unwrap().is_address());
    assert!(!Host::parse("a.1.example").unwrap().is_address());
    assert!(matches!(Host::parse("a.example:80").unwrap().0, Cow::Borrowed("a.example")));
}

#[test]
fn what_is_no_plain_host_is_refused() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long = format!("{}a", "ab.".repeat(85));
    for (raw, want) in [
        ("", HostError::Empty),
        (":80", HostError::Empty),
        (".", HostError::EmptyLabel),
        ("a..", HostError::EmptyLabel),
        (".a", HostError::EmptyLabel),
        ("a..b", HostError::EmptyLabel),
        ("a.example..:80", HostError::EmptyLabel),
        ("user@a.example", HostError::Character('@')),
        ("user:secret@a.example", HostError::Character('@')),
        ("@", HostError::Character('@')),
        ("a.example,b.example", HostError::Character(',')),
        ("a.example b.example", HostError::Character(' ')),
        (" a.example", HostError::Character(' ')),
        ("a.example\t", HostError::Character('\t')),
        ("a.example\r\nx", HostError::Character('\r')),
        ("a.example\0", HostError::Character('\0')),
        ("a.example/", HostError::Character('/')),
        ("http://a.example", HostError::Character('/')),
        ("a.example\\", HostError::Character('\\')),
        ("a%2eexample", HostError::Character('%')),
        ("a.example?", HostError::Character('?')),
        ("a.example#", HostError::Character('#')),
        ("*.example", HostError::Character('*')),
        ("bücher.example", HostError::Character('ü')),
        ("a。example", HostError::Character('。')),
        ("a.example:", HostError::Port),
        ("a.example:0", HostError::Port),
        ("a.example:080", HostError::Port),
        ("a.example:65536", HostError::Port),
        ("a.example:80:80", HostError::Port),
        ("a.example:+80", HostError::Character('+')),
        ("a.example:http", HostError::Port),
        ("a.example:80.", HostError::Port),
        ("::1", HostError::Port),
        ("-a.example", HostError::Hyphen),
        ("a-.example", HostError::Hyphen),
        ("a.example]", HostError::Character(']')),
        ("a[::1]", HostError::Port),
        (&long_label, HostError::LabelTooLong),
        (&long, HostError::TooLong),
        ("127.1", HostError::Address),
        ("2130706433", HostError::Address),
        ("0x7f.1", HostError::Address),
        ("0x7F000001", HostError::Address),
        ("0X7F000001", HostError::Address),
        ("010.0.0.1", HostError::Address),
        ("127.0.0.01", HostError::Address),
        ("1.2.3.4.5", HostError::Address),
        ("256.0.0.1", HostError::Address),
        ("a.0x", HostError::Address),
        ("[]", HostError::Address),
        ("[::1", HostError::Address),
        ("[::1].", HostError::Address),
        ("[::1]80", HostError::Address),
        ("[::1]:", HostError::Port),
        ("[0:0:0:0:0:0:0:1]", HostError::Address),
        ("[::01]", HostError::Address),
        ("[127.0.0.1]", HostError::Address),
        ("[fe80::1%25eth0]", HostError::Character('%')),
    ] {
        check(raw, Err(want));
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_canonical(raw in "[a-cA-C0-9_.:\\[\\]x-]{0,12}") {
        if let Ok(host) = Host::parse(&raw) {
            prop_assert_eq!(Host::parse(host.as_str()), Ok(host.clone()));
            // Its other spellings are the same host.
            for other in [raw.to_ascii_uppercase(), format!("{}:443", host.as_str())] {
                prop_assert_eq!(Host::parse(&other), Ok(host.clone()));
            }
        }
    }
}
