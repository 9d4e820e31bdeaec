//! TLS, both ways.

use super::{check_section, good};
use crate::serve::ListenAddress;

/// One mistake of `tls`, in a section `listen` that is good otherwise.
#[track_caller]
fn bad(tls: &str, expected: &str) {
    check_section("listen", &format!("{{grpc: ['0.0.0.0:1'], tls: {tls}}}"), expected);
}

#[test]
fn files_of_listeners() {
    bad(
        "{certificate_file: tls.crt}",
        "1:31: listen.tls: missing key `key_file`: the PEM file that holds the certificate's private key",
    );
    bad(
        "{certificate_file: '', key_file: tls.key}",
        "1:55: listen.tls.certificate_file: expected a path",
    );
    bad(
        "{certificate_file: no.crt, key_file: tls.key}",
        "1:55: listen.tls.certificate_file: the file `DIR/no.crt` can't be read: No such file or directory (os error 2)",
    );
    bad(
        "{certificate_file: tls.key, key_file: tls.key}",
        "1:55: listen.tls.certificate_file: the file `DIR/tls.key` holds no certificate in PEM",
    );
    bad(
        "{certificate_file: tls.crt, key_file: tls.crt}",
        "1:74: listen.tls.key_file: the file `DIR/tls.crt` holds no private key in PEM (it must not be encrypted)",
    );
    bad(
        "{certificate_file: tls.crt, key_file: other.key}",
        "1:74: listen.tls.key_file: the key in `DIR/other.key` is not that of the first certificate in `DIR/tls.crt`",
    );
    bad(
        "{certificate_file: tls.crt, key_file: tls.key, client_ca_file: audit-key}",
        "1:99: listen.tls.client_ca_file: the file `DIR/audit-key` holds no certificate in PEM",
    );
    bad(
        "{certificate_file: tls.crt, key_file: tls.key, client_ca_file: catalog}",
        "1:99: listen.tls.client_ca_file: the file `DIR/catalog` can't be read: Is a directory (os error 21)",
    );
}

/// Nobody has so many certificates; what else it is isn't read.
#[test]
fn files_of_certificates_have_a_largest_size() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), vec![b'\n'; (1 << 20) + 1]).expect("written");
    let path = file.path().display();
    bad(
        &format!("{{certificate_file: '{path}', key_file: tls.key}}"),
        &format!(
            "1:55: listen.tls.certificate_file: the file `{path}` can't be read: it is larger than 1048576 bytes"
        ),
    );
    check_section(
        "outgoing",
        &format!("{{ca_files: ['{path}']}}"),
        &format!("1:23: outgoing.ca_files[0]: the file `{path}` is larger than 1048576 bytes"),
    );
}

/// A start with one would only be noticed by those who connect.
#[test]
fn certificates_that_are_not_good_now() {
    for (name, words) in [("old", "expired at "), ("early", "is not good before ")] {
        let tls = format!("{{certificate_file: {name}.crt, key_file: {name}.key}}");
        let body = format!("{{grpc: ['0.0.0.0:1'], tls: {tls}}}");
        let lines = super::lines(&super::with("listen", &body));
        let [line] = lines.as_slice() else { panic!("one mistake: {lines:?}") };
        let begin = "1:55: listen.tls.certificate_file: the certificate in";
        assert!(line.starts_with(&format!("{begin} `DIR/{name}.crt` {words}")), "{line}");
    }
}

#[test]
fn clients() {
    let of = |client: &str, ca: &str| {
        format!("{{clients: ['{client}'], certificate_file: tls.crt, key_file: tls.key{ca}}}")
    };
    let ca = ", client_ca_file: ca.crt";
    bad(
        &of("envoy.example.com", ""),
        "1:46: listen.tls.clients: needs `client_ca_file`: without it no client shows a certificate",
    );
    let neither = "expected a DNS name or a SPIFFE id such as `spiffe://cluster.local/ns/a/sa/b`";
    for (client, message) in [
        ("", neither),
        ("a b", neither),
        ("*.example.com", "a DNS name must be written out"),
        (
            "https://example.com/x",
            "expected a workload identity such as `spiffe://cluster.local/ns/a/sa/b`",
        ),
        ("spiffe://cluster.local", "expected a path below the trust domain"),
        (
            "spiffe://cluster.local/a//b",
            "a workload identity has no empty segment, no `.` and no `..`",
        ),
        ("spiffe://Cluster.local/a", "a trust domain is of a-z, 0-9, `-`, `_`, `.`"),
        ("spiffe://cluster.local/a*", "a workload identity is of letters, digits, `-`, `_`, `.`"),
        ("spiffe://cluster.local/*/*", "a workload identity is of letters, digits, `-`, `_`, `.`"),
    ] {
        bad(&of(client, ca), &format!("1:47: listen.tls.clients[0]: `{client}`: {message}"));
    }
    for client in ["envoy.example.com", "spiffe://cluster.local/*", "spiffe://cluster.local/a/*"] {
        good("listen", &format!("{{grpc: ['0.0.0.0:1'], tls: {}}}", of(client, ca)));
    }
}

#[test]
fn who_has_tls() {
    let tls = "{certificate_file: tls.crt, key_file: tls.key}";
    let mutual = "{certificate_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt}";
    let by_anybody = "can be reached from other machines, by anybody: use loopback, give `listen.admin_token_file`, or `listen.admin_tls` with `client_ca_file`, or add it to `listen.allow_plaintext_on`";
    // Each TCP listener that isn't named as an exception, on loopback too.
    let listeners = "['0.0.0.0:1', '127.0.0.1:2', '[::1]:3', 'unix:/x']";
    let body = format!("{{grpc: {listeners}, allow_plaintext_on: ['127.0.0.1:2'], tls: {tls}}}");
    let config = good("listen", &body);
    let has = |listener: &ListenAddress| matches!(listener, ListenAddress::Tls(_));
    let kinds: Vec<_> = config.serve.listeners.iter().map(has).collect();
    assert_eq!(kinds, [true, false, true, false]);
    check_section(
        "listen",
        &format!("{{grpc: ['unix:/x'], tls: {tls}}}"),
        "1:34: listen.tls: no listener of `grpc` or `http` has it: they are Unix sockets, or in `allow_plaintext_on`",
    );
    check_section(
        "listen",
        &format!(
            "{{admin: '127.0.0.1:2', allow_plaintext_on: ['127.0.0.1:2'], grpc: ['unix:/x'], admin_tls: {tls}}}"
        ),
        "1:99: listen.admin_tls: the admin port doesn't have it: it is in `allow_plaintext_on`",
    );
    // The admin port asks who it is, or is on loopback.
    check_section(
        "listen",
        &format!("{{grpc: ['unix:/x'], admin: '0.0.0.0:2', admin_tls: {tls}}}"),
        &format!("1:36: listen.admin: `0.0.0.0:2` {by_anybody}"),
    );
    for asks in [
        format!("admin_tls: {mutual}"),
        "admin_token_file: admin-token".to_owned(),
        format!("admin_tls: {tls}, admin_token_file: admin-token"),
        "allow_plaintext_on: ['0.0.0.0:2']".to_owned(),
    ] {
        good("listen", &format!("{{grpc: ['unix:/x'], admin: '0.0.0.0:2', {asks}}}"));
    }
    good("listen", &format!("{{grpc: ['unix:/x'], admin_tls: {tls}}}"));
}

#[test]
fn the_admin_token() {
    let bad = |file: &str, expected: &str| {
        let body = format!("{{grpc: ['unix:/x'], admin_token_file: {file}}}");
        check_section("listen", &body, &format!("1:47: listen.admin_token_file: {expected}"));
    };
    bad("nowhere", "the file `DIR/nowhere` can't be read: No such file or directory (os error 2)");
    bad("catalog", "`DIR/catalog` is a folder, not a file");
    for file in ["backstage-token", "page.html"] {
        bad(
            file,
            &format!(
                "the file `DIR/{file}` holds no token: expected 32 to 4096 letters, digits and marks, as `openssl rand -hex 32` makes them"
            ),
        );
    }
}

#[test]
fn authorities_of_others() {
    let bad = |body: &str, expected: &str| check_section("outgoing", body, expected);
    bad(
        "{ca_files: [ca.crt, nowhere]}",
        "1:31: outgoing.ca_files[1]: the file `DIR/nowhere` can't be read: No such file or directory (os error 2)",
    );
    bad(
        "{ca_files: [ca.crt, tls.key]}",
        "1:31: outgoing.ca_files[1]: the file `DIR/tls.key` holds no certificate in PEM",
    );
    good("outgoing", "{ca_files: [ca.crt, tls.crt]}");
    good("outgoing", "{}");
}
