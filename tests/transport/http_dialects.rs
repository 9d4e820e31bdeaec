//! Questions over HTTP, over real sockets: in each dialect the same decision as over gRPC.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::support::envoy::{RawResponse, raw_http};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stagedoor, reason};
use crate::support::tls::{Client, ENVOY, Mounted};
use stagedoor::clock::Now;
use stagedoor::ext_authz::proto::envoy::config::core::v3::{
    HeaderMap, HeaderValue, HeaderValueOption,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Request as Attributes,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, check_response::HttpResponse,
};
use stagedoor::serve::BoundAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

const PAYMENTS: &str = "payments.example.com";
const IDENTITY: [&str; 5] = [
    "x-stagedoor-subject",
    "x-stagedoor-tenant",
    "x-stagedoor-kind",
    "x-stagedoor-entity",
    "x-stagedoor-decision-id",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Nginx,
    Traefik,
    Envoy,
}

/// What a proxy is asked.
#[derive(Clone, Debug)]
struct Asked<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl Dialect {
    const ALL: [Self; 3] = [Self::Nginx, Self::Traefik, Self::Envoy];

    fn yaml(self) -> &'static str {
        match self {
            Self::Nginx => "http_authorization: { dialect: nginx }\n",
            Self::Traefik => "http_authorization: { dialect: traefik }\n",
            Self::Envoy => "http_authorization: { dialect: envoy, path_prefix: /authorize }\n",
        }
    }

    /// What the client's status becomes on the way to the proxy.
    fn told(self, status: u16) -> u16 {
        match (self, status) {
            (Self::Nginx, 401) => 401,
            (Self::Nginx, _) => 403,
            (Self::Envoy, 500..) => 429,
            _ => status,
        }
    }

    /// The question as the proxy puts it.
    fn question(self, asked: &Asked<'_>) -> Vec<u8> {
        let Asked { method, host, path, headers } = asked;
        let mut text = match self {
            Self::Nginx => format!(
                "GET /check HTTP/1.1\r\nhost: stagedoor\r\nx-original-method: {method}\r\n\
                 x-original-host: {host}\r\nx-original-uri: {path}\r\n"
            ),
            Self::Traefik => format!(
                "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-method: {method}\r\n\
                 x-forwarded-host: {host}\r\nx-forwarded-uri: {path}\r\n\
                 x-forwarded-proto: https\r\nx-forwarded-for: 192.0.2.1\r\n"
            ),
            Self::Envoy => format!("{method} /authorize{path} HTTP/1.1\r\nhost: {host}\r\n"),
        };
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("connection: close\r\n\r\n");
        text.into_bytes()
    }
}

async fn start(dialect: Dialect, options: Options) -> Stagedoor {
    let listen = format!(", http: ['127.0.0.1:0']{}", options.listen);
    let more = format!("{}{}", dialect.yaml(), options.more);
    Stagedoor::start(Options { listen, more, ..options }).await.unwrap()
}

fn address(stagedoor: &Stagedoor) -> SocketAddr {
    let BoundAddress::Tcp(address) = stagedoor.http[0] else { panic!("not TCP") };
    address
}

async fn ask(stagedoor: &Stagedoor, dialect: Dialect, asked: &Asked<'_>) -> RawResponse {
    raw_http(address(stagedoor), dialect.question(asked)).await.unwrap()
}

/// What nginx gets for what it carries.
async fn carried(stagedoor: &Stagedoor, answer: &RawResponse) -> RawResponse {
    let denial = answer.header("x-stagedoor-denial").expect("a denial");
    let request = format!(
        "GET /denial HTTP/1.1\r\nhost: stagedoor\r\nx-stagedoor-denial: {denial}\r\n\
         connection: close\r\n\r\n"
    );
    raw_http(address(stagedoor), request).await.unwrap()
}

/// The same question over gRPC.
fn check_of(asked: &Asked<'_>) -> CheckRequest {
    let headers = asked.headers.iter().map(|(name, value)| HeaderValue {
        key: (*name).to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    });
    let http = HttpRequest {
        method: asked.method.to_owned(),
        host: asked.host.to_owned(),
        path: asked.path.to_owned(),
        header_map: Some(HeaderMap { headers: headers.collect() }),
        ..Default::default()
    };
    let request = Attributes { http: Some(http), ..Default::default() };
    CheckRequest {
        attributes: Some(AttributeContext { request: Some(request), ..Default::default() }),
    }
}

/// What is there to compare of an answer: no two decisions have one id.
fn comparable(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let other = ["date", "content-length", "connection", "x-stagedoor-decision-id"];
    headers.retain(|(name, _)| !other.contains(&name.as_str()));
    headers.sort_unstable();
    headers
}

fn of_options(options: Vec<HeaderValueOption>) -> Vec<(String, String)> {
    let headers = options.into_iter().filter_map(|option| option.header);
    headers.map(|header| (header.key, header.value)).collect()
}

fn without_id(body: &str, id: &str) -> String {
    assert!(body.contains(id), "no `{id}` in {body}");
    body.replace(id, "ID")
}

/// Token, host, path and method: whatever gRPC's answer is, it is the answer.
#[tokio::test]
async fn the_same_as_over_grpc() {
    for dialect in Dialect::ALL {
        let stagedoor = start(
            dialect,
            Options { debug: vec!["group:default/payments-team".to_owned()], ..Options::default() },
        )
        .await;
        let token = |groups: &[&str]| {
            format!("Bearer {}", stagedoor.tenant.token().audience(AUDIENCE).groups(groups).sign())
        };
        let robot = stagedoor.tenant.token().audience(AUDIENCE).app_only(&["Payments.Read.All"]);
        let old = stagedoor.tenant.token().audience(AUDIENCE).issued(1).expires(3601);
        let tokens = [
            None,
            Some(token(&[OWNERS])),
            Some(token(&[OTHERS])),
            Some(format!("Bearer {}", robot.groups(&[]).sign())),
            Some(format!("Bearer {}", old.sign())),
            Some("Bearer garbage".to_owned()),
            Some("Basic dTpw".to_owned()),
            Some("Bearer a,Bearer b".to_owned()),
            Some("Bearer \u{e9}".to_owned()),
        ];
        let lines = [
            ("GET", PAYMENTS, "/v1/orders"),
            ("POST", PAYMENTS, "/v1/orders?status=open&x=%2F"),
            ("DELETE", PAYMENTS, "/v1/orders/1"),
            ("BREW", PAYMENTS, "/v1/orders"),
            ("GET", PAYMENTS, "/healthz"),
            ("POST", PAYMENTS, "/healthz"),
            ("GET", PAYMENTS, "/whoami"),
            ("GET", PAYMENTS, "/v1/../admin"),
            ("GET", PAYMENTS, "//v1"),
            ("GET", PAYMENTS, "/v1%2forders"),
            ("GET", PAYMENTS, "/v1;a=b"),
            ("GET", "PAYMENTS.example.com:443", "/v1/orders"),
            ("GET", "payments.example.com.", "/v1/orders"),
            ("GET", "a@payments.example.com", "/v1/orders"),
            ("GET", "a,b", "/v1/orders"),
            ("GET", "orders.apps.example.com", "/"),
            ("GET", "nothing.apps.example.com", "/"),
            ("GET", "unknown.example.org", "/"),
        ];
        let accepts: [&[(&str, &str)]; 4] = [
            &[],
            &[("accept", "text/html"), ("accept-language", "de")],
            &[("accept", "text/html"), ("accept", "*/*;q=0.1")],
            &[("content-type", "application/grpc")],
        ];
        let (mut allowed, mut denied) = (0, 0);
        for (number, token) in tokens.iter().enumerate() {
            for (method, host, path) in lines {
                for accept in accepts {
                    let mut headers = accept.to_vec();
                    headers.extend(token.iter().map(|token| ("authorization", token.as_str())));
                    headers.push(("x-stagedoor-debug", "1"));
                    let asked = Asked { method, host, path, headers };
                    let case =
                        format!("{dialect:?}: token {number}, {method} {host}{path} {accept:?}");
                    let message =
                        stagedoor.check.reply(&check_of(&asked), Now::read()).await.into_message();
                    let answer = ask(&stagedoor, dialect, &asked).await;
                    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
                    match message.http_response.unwrap() {
                        HttpResponse::OkResponse(ok) => {
                            allowed += 1;
                            assert_eq!((answer.status, answer.body.len()), (200, 0), "{case}");
                            let mut want = of_options(ok.headers);
                            want.extend(of_options(ok.response_headers_to_add));
                            want.push(("cache-control".to_owned(), "no-store".to_owned()));
                            if dialect == Dialect::Envoy {
                                let name = "x-envoy-auth-headers-to-remove".to_owned();
                                want.push((name, ok.headers_to_remove.join(",")));
                            }
                            for name in IDENTITY.into_iter().filter(|_| dialect != Dialect::Envoy) {
                                if !want.iter().any(|(other, _)| other == name) {
                                    want.push((name.to_owned(), String::new()));
                                }
                            }
                            let mut got = answer.headers.clone();
                            // It says how long each step took.
                            for list in [&mut want, &mut got] {
                                list.retain(|(name, _)| name != "x-stagedoor-explanation");
                            }
                            assert_eq!(comparable(got), comparable(want), "{case}");
                        }
                        HttpResponse::DeniedResponse(expected) => {
                            denied += 1;
                            let status = u16::try_from(expected.status.unwrap().code).unwrap();
                            assert_eq!(answer.status, dialect.told(status), "{case}");
                            let mut told = answer.clone();
                            if dialect == Dialect::Nginx {
                                assert!(answer.body.is_empty(), "{case}");
                                told = carried(&stagedoor, &answer).await;
                                assert_eq!(told.status, status, "{case}");
                                assert!(status != 401 || told.header("www-authenticate").is_none());
                                let challenge = answer.header("www-authenticate");
                                told.headers.extend(challenge.map(|challenge| {
                                    ("www-authenticate".to_owned(), challenge.to_owned())
                                }));
                            }
                            let want = of_options(expected.headers);
                            let id_of = |headers: &[(String, String)]| {
                                let name = "x-stagedoor-decision-id";
                                headers.iter().find(|it| it.0 == name).unwrap().1.clone()
                            };
                            let (id, other) = (id_of(&told.headers), id_of(&want));
                            let body = String::from_utf8(told.body).unwrap();
                            assert_eq!(
                                without_id(&body, &id),
                                without_id(&expected.body, &other),
                                "{case}"
                            );
                            let plain = want.iter().all(|(name, _)| name != "content-type");
                            let mut want = comparable(want);
                            if plain {
                                let plain = "text/plain; charset=utf-8".to_owned();
                                want.push(("content-type".to_owned(), plain));
                            }
                            let (mut got, mut want) = (comparable(told.headers), comparable(want));
                            for list in [&mut want, &mut got] {
                                list.retain(|(name, _)| name != "x-stagedoor-explanation");
                            }
                            assert_eq!(got, want, "{case}");
                        }
                        other => panic!("{case}: {other:?}"),
                    }
                }
            }
        }
        assert!(allowed > 30 && denied > 300, "{allowed} {denied}");
        // Each is on record, once over gRPC and once over HTTP.
        let records = stagedoor.audit(2 * (allowed + denied)).await.unwrap();
        assert_eq!(records.len(), 2 * (allowed + denied), "{dialect:?}");
    }
}

/// A question that doesn't say exactly one thing is denied, and is on record with the cause.
#[tokio::test]
async fn what_is_not_said_once() {
    let uri = "x-original-uri: /healthz\r\n";
    let host = "x-original-host: payments.example.com\r\n";
    let method = "x-original-method: GET\r\n";
    let nginx =
        |lines: &[&str]| format!("GET /check HTTP/1.1\r\nhost: s\r\n{}\r\n", lines.concat());
    let forwarded = |lines: &[&str]| nginx(lines).replace("x-original", "x-forwarded");
    let envoy = |line: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
        format!("{line} HTTP/1.1\r\n{hosts}\r\n")
    };
    let three = |form: &dyn Fn(&[&str]) -> String, prefix: &str| {
        let named = |member: &str, rest: &str| format!("`{prefix}-{member}` is {rest}");
        vec![
            (form(&[host, uri]), named("method", "missing")),
            (form(&[method, uri]), named("host", "missing")),
            (form(&[method, host]), named("uri", "missing")),
            (form(&[method, method, host, uri]), named("method", "there more than once")),
            (form(&[method, host, host, uri]), named("host", "there more than once")),
            (form(&[method, host, uri, uri]), named("uri", "there more than once")),
            (
                form(&[method, host, uri, "x-original-uri: /whoami\r\n"]),
                named("uri", "there more than once"),
            ),
            (form(&["x-original-method: \r\n", host, uri]), named("method", "empty")),
            (form(&[method, "x-original-host:\r\n", uri]), named("host", "empty")),
            (form(&[method, host, "x-original-uri: \t \r\n"]), named("uri", "empty")),
            (
                form(&["x-original-method: GET, POST\r\n", host, uri]),
                "the method is none".to_owned(),
            ),
            (
                form(&["x-original-method: G\u{e9}T\r\n", host, uri]),
                "the method is none".to_owned(),
            ),
        ]
    };
    let cases = [
        (Dialect::Nginx, three(&nginx, "x-original")),
        (Dialect::Traefik, three(&forwarded, "x-forwarded")),
        (
            Dialect::Envoy,
            vec![
                (envoy("GET /authorize/healthz", &[]), "`host` is missing".to_owned()),
                (
                    envoy("GET /authorize/healthz", &[PAYMENTS, PAYMENTS]),
                    "`host` is there more than once".to_owned(),
                ),
                (envoy("GET /authorize/healthz", &[""]), "`host` is empty".to_owned()),
                (
                    envoy("GET http://payments.example.com/authorize/healthz", &[PAYMENTS]),
                    "the request target is no path".to_owned(),
                ),
                (
                    envoy("CONNECT payments.example.com:443", &[PAYMENTS]),
                    "the request target is no path".to_owned(),
                ),
                (
                    envoy("GET /healthz", &[PAYMENTS]),
                    "the path does not begin with `http_authorization.path_prefix`".to_owned(),
                ),
                (
                    envoy("GET /authorizehealthz", &[PAYMENTS]),
                    "the path does not begin with `http_authorization.path_prefix`".to_owned(),
                ),
                (
                    envoy("OPTIONS *", &[PAYMENTS]),
                    "the path does not begin with `http_authorization.path_prefix`".to_owned(),
                ),
            ],
        ),
    ];
    for (dialect, cases) in cases {
        let stagedoor = start(dialect, Options::default()).await;
        for (number, (request, cause)) in cases.iter().enumerate() {
            let answer = raw_http(address(&stagedoor), request).await.unwrap();
            assert_eq!(answer.status, dialect.told(400), "{dialect:?}: {request}");
            let told = match dialect {
                Dialect::Nginx => carried(&stagedoor, &answer).await,
                _ => answer,
            };
            // The answer to CONNECT would be a tunnel's.
            if !request.starts_with("CONNECT") {
                assert_eq!(reason(&told).unwrap(), "request_malformed", "{dialect:?}: {request}");
            }
            let records = stagedoor.audit(number + 1).await.unwrap();
            let record = records[number].to_string();
            assert!(record.contains("request_malformed") && record.contains(cause), "{record}");
        }
    }
}

/// A client can send what it likes: headers of other dialects, and those of the question, say
/// nothing. (Its proxy sets those of its own dialect, or the question has two.)
#[tokio::test]
async fn headers_of_other_dialects_say_nothing() {
    let foreign = |dialect: Dialect| -> Vec<(&str, &str)> {
        let nginx = [
            ("x-original-method", "GET"),
            ("x-original-host", PAYMENTS),
            ("x-original-uri", "/healthz"),
        ];
        let traefik = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", PAYMENTS),
            ("x-forwarded-uri", "/healthz"),
        ];
        let others = [
            ("x-envoy-original-path", "/healthz"),
            ("x-original-url", "/healthz"),
            ("x-rewrite-url", "/healthz"),
            ("x-http-method-override", "GET"),
            ("x-stagedoor-subject", "somebody"),
            ("x_original_uri", "/healthz"),
            ("x-stagedoor-denial", "CAE="),
        ];
        let own = |own: Dialect, headers: [(&'static str, &'static str); 3]| {
            headers.into_iter().filter(move |_| own != dialect)
        };
        own(Dialect::Nginx, nginx).chain(own(Dialect::Traefik, traefik)).chain(others).collect()
    };
    for dialect in Dialect::ALL {
        let stagedoor = start(dialect, Options::default()).await;
        let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
        let bearer = format!("Bearer {token}");
        let mut headers = foreign(dialect);
        headers.push(("authorization", &bearer));
        let asked = Asked { method: "POST", host: PAYMENTS, path: "/v1/orders", headers };
        let answer = ask(&stagedoor, dialect, &asked).await;
        assert_eq!(answer.status, 403, "{dialect:?}");
        let record = stagedoor.audit(1).await.unwrap().remove(0).to_string();
        assert!(record.contains("not_permitted") && record.contains("/v1/orders"), "{record}");
        assert!(!record.contains("healthz"), "{record}");
    }
}

/// What nginx carries is told, and nothing else.
#[tokio::test]
async fn a_denial_that_is_none() {
    let stagedoor = start(Dialect::Nginx, Options::default()).await;
    for denial in [
        "",
        "x-stagedoor-denial: %\r\n",
        "x-stagedoor-denial: ////\r\n",
        "x-stagedoor-denial: CAE=\r\nx-stagedoor-denial: CAE=\r\n",
    ] {
        let request =
            format!("GET /denial HTTP/1.1\r\nhost: s\r\n{denial}connection: close\r\n\r\n");
        let answer = raw_http(address(&stagedoor), request).await.unwrap();
        assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (400, "request_malformed"));
    }
    assert_eq!(stagedoor.audit(4).await.unwrap().len(), 4);
    // In another dialect it is a question like any other.
    let stagedoor = start(Dialect::Traefik, Options::default()).await;
    let request = "GET /denial HTTP/1.1\r\nhost: s\r\nx-stagedoor-denial: CgMIkAM=\r\nconnection: close\r\n\r\n";
    let answer = raw_http(address(&stagedoor), request).await.unwrap();
    assert_eq!(reason(&answer).unwrap(), "request_malformed");
    assert!(stagedoor.audit(1).await.unwrap()[0].to_string().contains("x-forwarded-method"));
}

/// What is too large, or no HTTP, is no allow and takes nobody along.
#[tokio::test]
async fn what_is_no_question_at_all() {
    let more = "limits: { max_header_list_bytes: 32KiB }\n".to_owned();
    let stagedoor = start(Dialect::Envoy, Options { more, ..Options::default() }).await;
    let many: String = (0..300).map(|number| format!("x-{number}: a\r\n")).collect();
    let large = format!("cookie: {}\r\n", "a".repeat(40 * 1024));
    let head = "GET /authorize/healthz HTTP/1.1\r\nhost: payments.example.com\r\n";
    for (request, status) in [
        (format!("{head}{many}\r\n"), 431),
        (format!("{head}{large}\r\n"), 431),
        (format!("{head}a b: c\r\n\r\n"), 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        (format!("GET /authorize/{} HTTP/1.1\r\n\r\n", "a".repeat(40 * 1024)), 431),
    ] {
        let answer = raw_http(address(&stagedoor), &request).await.unwrap();
        assert!([status, 414].contains(&answer.status), "{answer:?}: {:.80}", request);
    }
    // Within the limits, also with a body that nobody reads.
    let length = "content-length: 100000\r\n";
    let request = format!(
        "{head}{}{length}\r\n{}",
        many.split_at(1000).0.rsplit_once("x-").unwrap().0,
        "b".repeat(100_000)
    );
    assert_eq!(raw_http(address(&stagedoor), request).await.unwrap().status, 200);
}

/// Questions one after another on one connection, and at the end the drain.
#[tokio::test]
async fn connections_are_kept_until_the_drain() {
    let more = "limits: { pre_stop: 0s, drain_timeout: 10m }\n".to_owned();
    let stagedoor = start(Dialect::Traefik, Options { more, ..Options::default() }).await;
    let mut kept = TcpStream::connect(address(&stagedoor)).await.unwrap();
    let asked = Asked { method: "GET", host: PAYMENTS, path: "/healthz", headers: Vec::new() };
    let question = String::from_utf8(Dialect::Traefik.question(&asked)).unwrap();
    let question = question.replace("connection: close\r\n", "");
    for _ in 0..3 {
        kept.write_all(question.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It may come in pieces. Were there a body, it would stand before what comes next.
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(kept.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    let (_, metrics) = stagedoor.get("/metrics").await.unwrap();
    assert!(metrics.contains("stagedoor_connections_open 1.0\n"), "{metrics}");
    let to = address(&stagedoor);
    let report = stagedoor.stop().await.unwrap();
    assert_eq!((report.finished, report.aborted), (1, 0));
    assert_eq!(kept.read(&mut [0; 1]).await.unwrap(), 0, "it is closed, and nothing is left");
    assert!(TcpStream::connect(to).await.is_err(), "and nobody listens");
}

/// Who connects and asks nothing gives its place back.
#[tokio::test]
async fn the_silent_are_let_go() {
    let more = "limits: { preface_timeout: 100ms }\n".to_owned();
    let stagedoor = start(Dialect::Nginx, Options { more, ..Options::default() }).await;
    for begin in ["", "GET /check HTTP/1.1\r\nhost: s\r\nx-original-"] {
        let mut silent = TcpStream::connect(address(&stagedoor)).await.unwrap();
        silent.write_all(begin.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listen = format!(", http: ['unix:{}']", path.display());
    let more = Dialect::Nginx.yaml().to_owned();
    let options = Options { listen, more, ..Options::default() };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    assert_eq!(stagedoor.http, [BoundAddress::Unix(path.clone())]);
    let asked = Asked { method: "GET", host: PAYMENTS, path: "/healthz", headers: Vec::new() };
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&Dialect::Nginx.question(&asked)).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stagedoor.stop().await.unwrap();
    assert!(!path.exists());
}

/// With TLS, who asks is one of the clients.
#[tokio::test]
async fn over_mtls() {
    let mounted = Mounted::new();
    let listen = format!(", tls: {}", mounted.mutual_yaml(&[ENVOY]));
    let stagedoor = start(Dialect::Traefik, Options { listen, ..Options::default() }).await;
    let issued = |name: &str| mounted.authority.issue(&[name]).unwrap();
    let asked = Asked { method: "GET", host: PAYMENTS, path: "/healthz", headers: Vec::new() };
    let question = Dialect::Traefik.question(&asked);
    let to = address(&stagedoor);
    let exchange = async |client: Client| -> std::io::Result<String> {
        let mut stream = client.connect(to).await?;
        stream.write_all(&question).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let authority = &mounted.authority;
    let proxy = issued(ENVOY);
    let answer = exchange(Client::http1(authority, Some(&proxy))).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let stranger = issued("spiffe://cluster.local/ns/a/sa/b");
    assert!(exchange(Client::http1(authority, Some(&stranger))).await.is_err());
    assert!(exchange(Client::http1(authority, None)).await.is_err());
    assert!(exchange(Client::new(authority, Some(&proxy))).await.is_err(), "it speaks HTTP/2");
    assert!(raw_http(to, &question).await.is_err(), "without TLS");
    let (_, metrics) = stagedoor.get("/metrics").await.unwrap();
    for listener in ["grpc", "http"] {
        let name = format!("stagedoor_tls_certificate_current{{listener=\"{listener}\"}} 1");
        assert!(metrics.contains(&name), "{metrics}");
    }
}
