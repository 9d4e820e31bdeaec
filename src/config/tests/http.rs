//! Asking over HTTP: who is believed.

use super::{check_section, good, lines, with};
use crate::ext_authz::Dialect;
use crate::serve::ListenAddress;

/// The document with these two sections.
fn both(listen: &str, http: &str) -> String {
    format!("{}http_authorization: {http}", with("listen", listen))
}

#[track_caller]
fn bad(listen: &str, http: &str, expected: &[&str]) {
    assert_eq!(lines(&both(listen, http)), expected, "{listen} {http}");
}

#[test]
fn a_dialect_for_its_listeners() {
    let listen = "{grpc: ['unix:/x'], http: ['127.0.0.1:2', 'unix:/y']}";
    for (http, want) in [
        ("{dialect: nginx}", Dialect::Nginx),
        ("{dialect: traefik}", Dialect::Traefik),
        ("{dialect: envoy}", Dialect::Envoy { path_prefix: String::new() }),
        (
            "{dialect: envoy, path_prefix: /a/b.c}",
            Dialect::Envoy { path_prefix: "/a/b.c".to_owned() },
        ),
    ] {
        let config = super::parse(&both(listen, http)).unwrap();
        assert_eq!(config.http, Some(want));
        assert_eq!(config.serve.listeners.len(), 1);
        assert_eq!(config.serve.http_listeners.len(), 2);
    }
    // Off, unless it is asked for.
    let config = good("listen", "{grpc: ['unix:/x']}");
    assert_eq!((config.http, config.serve.http_listeners.len()), (None, 0));
    check_section(
        "listen",
        listen,
        "1:35: listen.http: needs `http_authorization.dialect`: expected `nginx`, `traefik` or `envoy`",
    );
    bad(
        listen,
        "{dialect: caddy}",
        &[
            "4:31: http_authorization.dialect: expected one of `nginx`, `traefik`, `envoy`, found the text `caddy`",
        ],
    );
    bad(
        listen,
        "{dialect: nginx, path_prefix: /a}",
        &["4:51: http_authorization.path_prefix: only the dialect `envoy` has one"],
    );
    for prefix in ["a", "/", "/a/", "/a?b", "/a b"] {
        bad(
            listen,
            &format!("{{dialect: envoy, path_prefix: '{prefix}'}}"),
            &[
                "4:51: http_authorization.path_prefix: expected a path such as `/authorize`, without a `/` at its end",
            ],
        );
    }
}

/// What is said is believed, so a listener that others reach has clients with names.
#[test]
fn who_is_believed() {
    let open = "`0.0.0.0:2` can be reached from other machines, and believes what it is told of a request: use loopback or a Unix socket, give `listen.tls` with `client_ca_file` and `clients`, or add it to `http_authorization.believe_any_peer_on`";
    let plain = "`0.0.0.0:2` can be reached from other machines, without TLS: use loopback or a Unix socket, give `listen.tls`, or add it to `listen.allow_plaintext_on`";
    let listen = |more: &str| format!("{{grpc: ['unix:/x'], http: ['0.0.0.0:2']{more}}}");
    let files = "certificate_file: tls.crt, key_file: tls.key";
    let (nginx, believes) =
        ("{dialect: nginx}", "{dialect: nginx, believe_any_peer_on: ['0.0.0.0:2']}");
    let refused = format!("1:36: listen.http[0]: {open}");
    for more in [
        String::new(),
        // That it may be read on its way says nothing of whom to believe.
        ", allow_plaintext_on: ['0.0.0.0:2']".to_owned(),
        format!(", tls: {{{files}}}"),
        // Every workload of an authority is too many.
        format!(", tls: {{{files}, client_ca_file: ca.crt}}"),
    ] {
        bad(&listen(&more), nginx, &[&refused]);
    }
    bad(&listen(""), believes, &[&format!("1:36: listen.http[0]: {plain}")]);
    let mutual = format!(", tls: {{{files}, client_ca_file: ca.crt, clients: [a.example.com]}}");
    for (more, http) in [
        (mutual, nginx),
        (format!(", tls: {{{files}}}"), believes),
        (", allow_plaintext_on: ['0.0.0.0:2']".to_owned(), believes),
    ] {
        let config = super::parse(&both(&listen(&more), http)).unwrap();
        let has_tls = matches!(config.serve.http_listeners[0], ListenAddress::Tls(_));
        assert_eq!(has_tls, more.contains("tls:"), "{more}");
        // The gRPC listener is a Unix socket, and shows nothing.
        assert_eq!((config.tls.is_some(), config.http_tls.is_some()), (false, has_tls), "{more}");
    }
    bad(
        &listen(""),
        "{dialect: nginx, believe_any_peer_on: ['0.0.0.0:2', '0.0.0.0:3']}",
        &[
            &format!("1:36: listen.http[0]: {plain}"),
            "4:73: http_authorization.believe_any_peer_on[1]: names no listener: expected one as written in `listen.http`",
        ],
    );
}

#[test]
fn what_collides_and_what_fits() {
    let nginx = "{dialect: nginx}";
    bad(
        "{grpc: ['127.0.0.1:2'], http: ['127.0.0.1:2']}",
        nginx,
        &["1:40: listen.http[0]: the same place as another listener"],
    );
    bad(
        "{grpc: ['unix:/x'], http: ['127.0.0.1:2'], admin: '127.0.0.1:2'}",
        nginx,
        &["1:59: listen.admin: the same place as a listener of `http`"],
    );
    let listen = "{grpc: ['unix:/x'], http: ['unix:/y']}";
    for (limits, limit) in
        [("max_header_list_bytes: 31KiB", "16KiB"), ("max_header_list_bytes: 32KiB", "32KiB")]
    {
        let entra = if limit == "32KiB" { "max_token_bytes: 32KiB, " } else { "" };
        let text = both(listen, nginx).replace("entra: {", &format!("entra: {{{entra}"));
        let found = lines(&format!("{text}\nlimits: {{{limits}}}"));
        let [line] = found.as_slice() else { panic!("one mistake: {found:?}") };
        assert!(
            line.ends_with(&format!(
                "limits.max_header_list_bytes: must be at least `32KiB` with `listen.http`, and more than `entra.max_token_bytes` (`{limit}`): the token comes in the headers"
            )),
            "{line}"
        );
    }
}
