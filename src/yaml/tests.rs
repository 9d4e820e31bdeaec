use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn one(text: &str) -> Document {
    let mut documents = parse(text).expect(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

#[test]
fn values() {
    let check = |text: &str, want: Value| assert_eq!(one(text).to_json(), want, "{text}");
    check("null", json!(null));
    check("~", json!(null));
    check("a:", json!({"a": null}));
    check("[true, True, FALSE]", json!([true, true, false]));
    check("[yes, no, on, y, 'true', \"1\"]", json!(["yes", "no", "on", "y", "true", "1"]));
    check("[0, -1, +1, 007, 0o17, 0x1F]", json!([0, -1, 1, 7, 15, 31]));
    check("[0o8, 0x, -0x1, 1_000, 1:30]", json!(["0o8", "0x", "-0x1", "1_000", "1:30"]));
    check("18446744073709551615", json!(u64::MAX));
    check("18446744073709551616", json!(18_446_744_073_709_551_616.0));
    check("[1.5, .5, 5., -1e3, +1.0]", json!([1.5, 0.5, 5.0, -1e3, 1.0]));
    check(
        "[1e, e1, ., 1.2.3, --, 2024-01-01]",
        json!(["1e", "e1", ".", "1.2.3", "--", "2024-01-01"]),
    );
    check("a: |\n  x\n  y\nb: >-\n  x\n  y\n", json!({"a": "x\ny\n", "b": "x y"}));
    check(
        "[!!str 1, !!int 1, !!float 1.5, ! 1, !<tag:yaml.org,2002:str> 1]",
        json!(["1", 1, 1.5, "1", "1"]),
    );
    check("!!map {a: !!seq [b]}", json!({"a": ["b"]}));
    check("{1: a, true: b, 0x10: c}", json!({"1": "a", "true": "b", "16": "c"}));
    check("<<: {a: b}", json!({"<<": {"a": "b"}}));
    check("a: &x [1]\nb: *x\n", json!({"a": [1], "b": [1]}));
    check("\u{feff}a: b\r\nc: d\r\n", json!({"a": "b", "c": "d"}));
    check("# nothing\n---\n", json!(null));
}

#[test]
fn documents_of_a_stream() {
    assert_eq!(parse(""), Ok(Vec::new()));
    assert_eq!(parse("# nothing\n"), Ok(Vec::new()));
    let documents = parse("a: 1\n---\n# two\nb: 2\n...\n---\nc\n").expect("stream");
    let lines: Vec<_> = documents.iter().map(|d| (d.line, d.root.position.line)).collect();
    assert_eq!(lines, [(1, 1), (2, 4), (6, 7)]);
    assert_eq!(documents[2].to_json(), json!("c"));
}

#[test]
fn refusals() {
    let check = |text: &str, want: &str| {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), want, "{text}");
    };
    check("a: 1\nb: 2\na: 3\n", "3:1: the key `a` is given twice");
    check("{1: a, '1': b}", "1:8: the key `1` is given twice");
    check("a: {b: 1, b: 2}", "1:11: the key `b` is given twice");
    check("? [a]\n: b\n", "1:3: a key must be a text");
    check("~: b\n", "1:1: a key is missing");
    check("a: !secret b\n", "1:4: the tag `!secret` isn't of the core schema");
    check("a: !!binary b\n", "1:4: the tag `tag:yaml.org,2002:binary` isn't of the core schema");
    check("a: !!int b\n", "1:4: `b` isn't a `!!int`");
    check("a: !!str [b]\n", "1:4: the tag `!!str` doesn't fit a `!!seq`");
    check("a: .inf\n", "1:4: the number `.inf` is out of range");
    check("a: 1e999\n", "1:4: the number `1e999` is out of range");
    check("a: 0xFFFFFFFFFFFFFFFFF\n", "1:4: the number `0xFFFFFFFFFFFFFFFFF` is out of range");
    check("a: &x [*x]\n", "1:8: an alias can't stand inside of what it stands for");
    check("a: b\n\u{0}c: d\n", "2:1: control character U+0000");
    check(&"[".repeat(65), "1:65: more than 64 lists and mappings in each other");
    for text in ["a: *x\n", "a: [", "a: b: c\n", "a: 1\n b: 2", "\"a", "a\n\tb: c", "%YAML", "]"] {
        let error = parse(text).expect_err(text);
        assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty(), "{text}");
    }
}

#[test]
fn aliases_expand_within_bounds() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let error = parse(&text).expect_err("a laugh");
    assert!(error.message.starts_with("more than 2000000 values"), "{error}");

    let mut text = format!("a: &a {}\nb: [", "x".repeat(1 << 20));
    text.push_str(&["*a"; 70].join(", "));
    text.push(']');
    let error = parse(&text).expect_err("a shout");
    assert!(error.message.starts_with("more than 67108864 bytes"), "{error}");

    let deep = format!("a: &a {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert!(parse(&format!("{deep}b: {}*a{}\n", "[".repeat(23), "]".repeat(23))).is_ok());
    let error = parse(&format!("{deep}b: {}*a{}\n", "[".repeat(24), "]".repeat(24)));
    assert!(error.expect_err("a well").message.starts_with("more than 64 lists"));
}

#[test]
fn places() {
    let text =
        "# c\na: 1\nlist:\n  - x: é\n    \"y/z~\": [p, q]\n  -   w:\nempty:\nlast: &r 2\nref: *r\n";
    let root = one(text).root;
    let check = |pointer: &str, value: Option<(usize, usize)>, key: Option<(usize, usize)>| {
        let place = |p: Position| (p.line, p.column);
        assert_eq!(root.locate(pointer).map(place), value, "{pointer}");
        assert_eq!(root.locate_key(pointer).map(place), key, "key of {pointer}");
    };
    check("", Some((2, 1)), Some((2, 1)));
    check("/a", Some((2, 4)), Some((2, 1)));
    check("/list", Some((4, 3)), Some((3, 1)));
    check("/list/0", Some((4, 5)), Some((4, 5)));
    check("/list/0/x", Some((4, 8)), Some((4, 5)));
    check("/list/0/y~1z~0/1", Some((5, 17)), Some((5, 17)));
    check("/list/0/y~1z~0", Some((5, 13)), Some((5, 5)));
    check("/list/1/w", Some((6, 7)), Some((6, 7)));
    check("/empty", Some((7, 1)), Some((7, 1)));
    check("/ref", Some((9, 6)), Some((9, 1)));
    for pointer in ["/none", "/list/2", "/list/x", "/a/b", "a", "/list/0/none"] {
        check(pointer, None, None);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[-+0-9.eExo~# :,a-f]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn any_likely_text_is_read_or_refused(
        text in r#"([-?:,\[\]{}#&*!|>'"%@~ \t\r\n]|[ab0]|- |: |\n  |---|\.\.\.|&a|\*a|!!|\|-|<<){0,60}"#
    ) {
        let _ = parse(&text);
    }

    #[test]
    fn json_means_the_same(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("json")] {
            let want: Value = serde_json::from_str(&text).expect("json");
            prop_assert_eq!(one(&text).to_json(), want, "{}", text);
        }
    }
}
