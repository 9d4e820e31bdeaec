//! Who may ask the admin port, by token and by certificate, and who keeps whom from it, over real
//! sockets.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::stack::{Options, Stagedoor};
use crate::support::tls::{Client, Mounted};
use devtenant::authority::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// A token's file, in a folder of its own.
fn token_file(token: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    (folder, file)
}

async fn start(listen: String) -> Stagedoor {
    let options = Options { listen, wait: false, ..Options::default() };
    Stagedoor::start(options).await.unwrap()
}

/// An answer's status, and its `www-authenticate`.
async fn exchange<I: AsyncRead + AsyncWrite + Unpin>(
    mut stream: I,
    method: &str,
    path: &str,
    authorization: &[&str],
) -> (u16, Option<String>) {
    let body = if path == "/v1/explain" {
        r#"{"method":"GET","host":"payments.example.com","path":"/v1/orders"}"#
    } else {
        r#"{"id":"x"}"#
    };
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for value in authorization {
        text.push_str(&format!("authorization: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // How the connection ends doesn't matter.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let challenge = answer.lines().find_map(|l| l.strip_prefix("www-authenticate: "));
    (status.unwrap_or_else(|| panic!("no answer: {answer}")), challenge.map(str::to_owned))
}

async fn plain(to: SocketAddr, path: &str, authorization: &[&str]) -> (u16, Option<String>) {
    let method = if is_an_order(path) { "POST" } else { "GET" };
    exchange(TcpStream::connect(to).await.unwrap(), method, path, authorization).await
}

/// Everything that the port answers, and what comes back for somebody who may ask for all.
const PATHS: [(&str, &[u16]); 9] = [
    ("/live", &[200]),
    ("/ready", &[200, 503]),
    ("/metrics", &[200]),
    ("/status", &[200]),
    ("/catalog/refresh", &[202]),
    ("/catalog/confirm", &[409]),
    ("/v1/explain", &[200]),
    ("/reload", &[200]),
    ("/nothing", &[404]),
];

fn is_an_order(path: &str) -> bool {
    path.starts_with("/catalog") || matches!(path, "/v1/explain" | "/reload")
}

fn is_open(path: &str) -> bool {
    matches!(path, "/live" | "/ready")
}

#[tokio::test]
async fn by_token() {
    let (_folder, file) = token_file(TOKEN);
    let stagedoor = start(format!(", admin_token_file: {}", file.display())).await;
    // A browser gets the page, which holds nothing, and nothing else; it asks for the token.
    for (method, path, accept, wanted) in [
        ("GET", "/", "*/*", 303),
        ("GET", "/status", "text/html", 200),
        ("GET", "/status", "application/json", 401),
        ("GET", "/v1/denials", "text/html", 401),
        ("GET", "/metrics", "text/html", 401),
        ("POST", "/catalog/refresh", "text/html", 401),
    ] {
        let mut stream = TcpStream::connect(stagedoor.admin).await.unwrap();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("in time");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted} ")), "{path} {accept}: {answer}");
        assert!(!answer.contains("uptime_seconds\":"), "{path} {accept}: {answer}");
    }
    let bearer = |token: &str| format!("Bearer {token}");
    let short = &TOKEN[..31];
    let long = format!("{TOKEN}0");
    let cases: [(&[&str], bool); 12] = [
        (&[&bearer(TOKEN)], true),
        (&[&format!("bearer {TOKEN}")], true),
        (&[], false),
        (&[""], false),
        (&["Bearer"], false),
        (&["Bearer "], false),
        (&[TOKEN], false),
        (&[&format!("Basic {TOKEN}")], false),
        (&[&bearer(OTHER)], false),
        (&[&bearer(short)], false),
        (&[&bearer(&long)], false),
        // Not one to choose from.
        (&[&bearer(TOKEN), &bearer(OTHER)], false),
    ];
    for (authorization, may) in cases {
        for (path, wanted) in PATHS {
            let (status, challenge) = plain(stagedoor.admin, path, authorization).await;
            let case = format!("{authorization:?} {path}: {status} {challenge:?}");
            if may || is_open(path) {
                assert!(wanted.contains(&status), "{case}");
                assert_eq!(challenge, None, "{case}");
            } else {
                assert_eq!(status, 401, "{case}");
                let invalid =
                    if authorization.is_empty() { "" } else { ", error=\"invalid_token\"" };
                let wanted = format!("Bearer realm=\"stagedoor admin\"{invalid}");
                assert_eq!(challenge.as_deref(), Some(wanted.as_str()), "{case}");
            }
        }
    }
    // Another token takes its place; what holds none doesn't.
    let reaches = async |token: &str, wanted: u16| {
        let deadline = Instant::now() + DEADLINE;
        while plain(stagedoor.admin, "/status", &[&bearer(token)]).await.0 != wanted {
            assert!(Instant::now() < deadline, "`{token}` is not answered with {wanted}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    std::fs::write(&file, OTHER).unwrap();
    reaches(OTHER, 200).await;
    reaches(TOKEN, 401).await;
    std::fs::write(&file, "").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, format!("{TOKEN}\n\n")).unwrap();
    reaches(TOKEN, 200).await;
    reaches(OTHER, 401).await;
}

#[tokio::test]
async fn by_certificate() {
    let mounted = Mounted::new();
    let listen = format!(", admin_tls: {}", mounted.mutual_yaml(&["ops.example.com"]));
    let (_folder, file) = token_file(TOKEN);
    let by_either = format!("{listen}, admin_token_file: {}", file.display());
    let authority = &mounted.authority;
    let ops = authority.issue(&["ops.example.com"]).unwrap();
    let other = authority.issue(&["other.example.com"]).unwrap();
    let stranger = Authority::new("Contoso").unwrap().issue(&["ops.example.com"]).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    for (listen, takes_token) in [(listen, false), (by_either, true)] {
        let stagedoor = start(listen).await;
        for (path, wanted) in PATHS {
            let method = if is_an_order(path) { "POST" } else { "GET" };
            for (case, shown, token, may) in [
                ("the certificate", Some(&ops), None, true),
                ("nothing", None, None, false),
                ("the token", None, Some(bearer.as_str()), takes_token),
                ("both", Some(&ops), Some(bearer.as_str()), true),
            ] {
                let client = Client::http1(authority, shown);
                let stream = client.connect(stagedoor.admin).await.unwrap();
                let token: Vec<_> = token.into_iter().collect();
                let (status, _) = exchange(stream, method, path, &token).await;
                let wanted = if may || is_open(path) { wanted } else { &[401] };
                assert!(wanted.contains(&status), "{case}, {path}: {status}");
            }
        }
        // A certificate that is shown has to be a good one, whatever is asked for.
        for shown in [&other, &stranger] {
            let client = Client::http1(authority, Some(shown));
            let mut answer = Vec::new();
            if let Ok(mut stream) = client.connect(stagedoor.admin).await {
                let _ = stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
                let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
            }
            assert_eq!(answer, b"");
        }
        // Without TLS nothing is heard.
        let mut stream = TcpStream::connect(stagedoor.admin).await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
}

/// Nobody is asked on loopback, as long as nothing is configured; and anybody who reaches a
/// port that is open on purpose gets what tells nothing.
#[tokio::test]
async fn by_nothing() {
    let open = ", allow_plaintext_on: [\"0.0.0.0:0\"]".to_owned();
    for (admin, listen) in [("127.0.0.1:0", String::new()), ("0.0.0.0:0", open)] {
        let options = Options { admin, listen, wait: false, ..Options::default() };
        let stagedoor = Stagedoor::start(options).await.unwrap();
        let reached = SocketAddr::from(([127, 0, 0, 1], stagedoor.admin.port()));
        for (path, wanted) in PATHS {
            let tells = matches!(path, "/catalog/confirm" | "/v1/explain" | "/reload");
            let wanted = if tells && admin != "127.0.0.1:0" { &[403] } else { wanted };
            let (status, _) = plain(reached, path, &[]).await;
            assert!(wanted.contains(&status), "{admin} {path}: {status}");
        }
    }
}

/// What the commands do that ask the server beside them.
#[tokio::test]
async fn by_command() {
    let mounted = Mounted::new();
    let (_folder, file) = token_file(TOKEN);
    let stagedoor =
        start(format!(", admin_tls: {}, admin_token_file: {}", mounted.yaml(""), file.display()))
            .await;
    // The same configuration, with the port that the system chose.
    let config = stagedoor.folder.path().join("stagedoor.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let port = format!("admin: \"127.0.0.1:{}\"", stagedoor.admin.port());
    let text = text.replace("admin: \"127.0.0.1:0\"", &port);
    std::fs::write(&config, &text).unwrap();
    let run = async |config: std::path::PathBuf| -> Output {
        tokio::task::spawn_blocking(move || {
            Command::new(env!("CARGO_BIN_EXE_stagedoor"))
                .args(["snapshot", "refresh", "--config"])
                .arg(config)
                .output()
                .unwrap()
        })
        .await
        .unwrap()
    };
    let output = run(config.clone()).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, "the catalog is read again\n");
    // Another token, and another certificate than that of the server that answers.
    let (_other_folder, other) = token_file(OTHER);
    let elsewhere = Mounted::new();
    for (from, to, words) in [
        (file.display().to_string(), other.display().to_string(), "asks for its token"),
        (
            mounted.folder().display().to_string(),
            elsewhere.folder().display().to_string(),
            "is a server running with",
        ),
    ] {
        let wrong = stagedoor.folder.path().join("wrong.yaml");
        std::fs::write(&wrong, text.replace(&from, &to)).unwrap();
        let output = run(wrong).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert!(!said.contains(TOKEN) && !said.contains(OTHER), "{said}");
    }
}

/// Connects from an address a hundred times a second, says nothing, and lets nothing go.
async fn say_nothing(from: [u8; 4], to: SocketAddr) {
    let mut silent = Vec::new();
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        // Where the kernel's queue is full, no more come.
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(1), socket.connect(to)).await {
            silent.push(stream);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// However many connect and say nothing, from elsewhere or from the same address: probes and
/// scrapers are answered in the time that they give, and who is being answered stays.
#[tokio::test(flavor = "multi_thread")]
async fn silence_keeps_nobody_out() {
    // The chart has Kubernetes give a probe three seconds. Here the flood takes the machine as
    // well; were a probe to wait for who came before it, this would be soon over all the same.
    const GIVEN: Duration = Duration::from_secs(10);
    let mounted = Mounted::new();
    for (from, tls) in [([127, 0, 0, 2], false), ([127, 0, 0, 1], false), ([127, 0, 0, 2], true)] {
        let listen = if tls { format!(", admin_tls: {}", mounted.yaml("")) } else { String::new() };
        let stagedoor = start(listen).await;
        let admin = stagedoor.admin;
        let client = Client::http1(&mounted.authority, None);
        // One that has begun to ask and takes its time with the rest.
        let body = r#"{"method":"GET","host":"payments.example.com","path":"/v1/orders"}"#;
        let mut slow = TcpStream::connect(admin).await.unwrap();
        if !tls {
            let head = format!(
                "POST /v1/explain HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            slow.write_all(head.as_bytes()).await.unwrap();
        }
        let flood = tokio::spawn(say_nothing(from, admin));
        // Until far more wait than there are places.
        sleep(Duration::from_millis(1500)).await;
        for number in 0..25 {
            for path in ["/live", "/metrics"] {
                let (status, _) = timeout(GIVEN, async {
                    if tls {
                        exchange(client.connect(admin).await.unwrap(), "GET", path, &[]).await
                    } else {
                        plain(admin, path, &[]).await
                    }
                })
                .await
                .unwrap_or_else(|_| panic!("{path} beside silence from {from:?}, {number}"));
                assert_eq!(status, 200, "{path}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        if !tls {
            slow.write_all(body.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(DEADLINE, slow.read_to_end(&mut answer)).await.expect("in time");
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        }
        flood.abort();
        assert!(flood.await.is_err_and(|error| error.is_cancelled()), "it ended by itself");
    }
}

/// Who says nothing is let go also where nobody needs the place.
#[tokio::test]
async fn silence_ends() {
    let stagedoor = start(String::new()).await;
    for begun in ["", "GET /live HTTP/1.1\r\nhost: loc"] {
        let mut stream = TcpStream::connect(stagedoor.admin).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let since = Instant::now();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("it ends");
        // A connection ends at half a minute in any case.
        assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    }
}
