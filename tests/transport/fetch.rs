//! What other servers could send instead of a document, over real sockets.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use stagedoor::catalog::{
    BackstageSettings, CatalogSettings, GuardSettings, SourceSettings, load_once,
};
use stagedoor::fetch::{Fetch as _, FetchError, HttpClient, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

/// What is sent, and how.
#[derive(Clone)]
enum Answer {
    /// These bytes at once, and then the end of the connection.
    Bytes(Vec<u8>),
    /// A good beginning, and then a byte now and again, for ever.
    Drip,
    /// Nothing, with the connection open.
    Nothing,
}

/// A server that answers everything alike, and what it was asked.
struct Server {
    url: Url,
    asked: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<String>>,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/doc?secret=1", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let last: Arc<std::sync::Mutex<String>> = Arc::default();
        tokio::spawn({
            let (asked, last) = (Arc::clone(&asked), Arc::clone(&last));
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    asked.fetch_add(1, Ordering::SeqCst);
                    let (answer, last) = (answer.clone(), Arc::clone(&last));
                    tokio::spawn(async move {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            head.push(stream.read_u8().await.unwrap());
                        }
                        *last.lock().unwrap() = String::from_utf8(head).unwrap();
                        match answer {
                            Answer::Bytes(bytes) => {
                                // Who has read enough may hang up.
                                let _ = stream.write_all(&bytes).await;
                            }
                            Answer::Drip => {
                                let head =
                                    head_of("application/json", "transfer-encoding: chunked");
                                stream.write_all(head.as_bytes()).await.unwrap();
                                while stream.write_all(b"1\r\n \r\n").await.is_ok() {
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                }
                            }
                            Answer::Nothing => std::future::pending().await,
                        }
                    });
                }
            }
        });
        Self { url: url.parse().unwrap(), asked, last }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn head_of(content_type: &str, more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{more}\r\n\r\n")
}

fn document(content_type: &str, more: &str, body: &[u8]) -> Answer {
    let head = head_of(content_type, &format!("content-length: {}{more}", body.len()));
    Answer::Bytes([head.as_bytes(), body].concat())
}

/// Longer than any answer takes that comes at all, on a machine that is busy.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_bytes: 1000 };
/// For answers that don't come to an end.
const BRIEF: Limits = Limits { timeout: Duration::from_secs(2), ..LIMITS };
/// Long enough to tell that nothing was waited for in vain.
const SOON: Duration = Duration::from_secs(30);

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn documents() {
    let client = HttpClient::new().unwrap();
    let packed = gzip(b"{\"packed\":true}");
    for (answer, want) in [
        (document("application/json", "", b"{}"), &b"{}"[..]),
        (document("application/json; charset=utf-8", "", b"[1]"), b"[1]"),
        (document("application/jwk-set+json", "", b"{}"), b"{}"),
        (document("application/json", "\r\ncontent-encoding: gzip", &packed), b"{\"packed\":true}"),
        (document("application/json", "", &[b' '; 1000]), &[b' '; 1000]),
    ] {
        let server = Server::start(answer).await;
        let bearer = HeaderValue::from_static("Bearer x");
        let got = client.get(&server.url, Some(&bearer), LIMITS).await.unwrap();
        assert_eq!(&got.body[..], want);
        let asked = server.last.lock().unwrap().to_ascii_lowercase();
        assert!(asked.contains("authorization: bearer x\r\n"), "{asked}");
        assert!(asked.contains("accept: application/json\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn what_is_no_document() {
    let client = HttpClient::new().unwrap();
    // Whoever is sent elsewhere would take the credential along.
    let elsewhere = Server::start(document("application/json", "", b"{}")).await;
    let redirect = |status: &str| {
        let text = format!(
            "HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url
        );
        Answer::Bytes(text.into_bytes())
    };
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 100_000);
    let endless = [
        head_of("application/json", "transfer-encoding: chunked").as_bytes(),
        &b"400\r\n"[..],
        &[b' '; 1024],
        b"\r\n",
    ]
    .concat();
    let mut cut = head_of("application/json", "content-length: 100").into_bytes();
    cut.extend(b"{\"half\":");
    type Want = fn(&FetchError) -> bool;
    let cases: Vec<(&str, Answer, Want)> = vec![
        ("301", redirect("301 Moved Permanently"), |e| matches!(e, FetchError::Status { .. })),
        ("302", redirect("302 Found"), |e| matches!(e, FetchError::Status { .. })),
        ("307", redirect("307 Temporary Redirect"), |e| matches!(e, FetchError::Status { .. })),
        (
            "an empty answer with another status",
            Answer::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            |e| matches!(e, FetchError::Status { .. }),
        ),
        ("a page", document("text/html", "", b"<html>"), |e| {
            matches!(e, FetchError::NotJson { .. })
        }),
        ("no content type", document("", "", b"{}"), |e| matches!(e, FetchError::NotJson { .. })),
        ("a byte too many", document("application/json", "", &[b' '; 1001]), |e| {
            matches!(e, FetchError::TooLarge { .. })
        }),
        ("too many bytes, uncounted", Answer::Bytes(endless), |e| {
            matches!(e, FetchError::TooLarge { .. })
        }),
        (
            "few bytes that become many",
            document("application/json", "\r\ncontent-encoding: gzip", &bomb),
            |e| matches!(e, FetchError::TooLarge { .. }),
        ),
        (
            "bytes that are not what they say",
            document("application/json", "\r\ncontent-encoding: gzip", b"{}"),
            |e| matches!(e, FetchError::Transport { .. }),
        ),
        ("half", Answer::Bytes(cut), |e| matches!(e, FetchError::Transport { .. })),
        ("no HTTP", Answer::Bytes(b"hello\r\n\r\n".to_vec()), |e| {
            matches!(e, FetchError::Transport { .. })
        }),
        ("a drip", Answer::Drip, |e| matches!(e, FetchError::Timeout { .. })),
        ("silence", Answer::Nothing, |e| matches!(e, FetchError::Timeout { .. })),
    ];
    for (name, answer, want) in cases {
        let limits = match answer {
            Answer::Bytes(_) => LIMITS,
            Answer::Drip | Answer::Nothing => BRIEF,
        };
        let server = Server::start(answer).await;
        let begun = Instant::now();
        let error = client.get(&server.url, None, limits).await.expect_err(name);
        assert!(want(&error), "{name}: {error:?}");
        assert!(begun.elapsed() < SOON, "{name}: within its deadline");
        // The server may learn of a question after its client has given up.
        while server.asked() == 0 {
            assert!(begun.elapsed() < SOON, "{name}: never asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.asked(), 1, "{name}: asked once");
        let text = error.to_string();
        assert!(text.contains("/doc") && !text.contains("secret"), "{name}: {text}");
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect was followed");
}

/// What a real Backstage answers when it doesn't answer, each told apart.
#[tokio::test]
async fn refusals_of_a_real_backstage() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/backstage");
    for (file, status, want) in [
        ("err-401-bad.json", "401 Unauthorized", "(401)"),
        ("err-401-missing.json", "401 Unauthorized", "(401)"),
        ("err-403-wrong-plugin.json", "403 Forbidden", "(403)"),
        ("err-503-starting.json", "503 Service Unavailable", "(503)"),
        ("err-400-cursor.json", "400 Bad Request", "400"),
        // The same error where a proxy in between makes it a success.
        ("err-503-starting.json", "200 OK", "no answer"),
    ] {
        let body = std::fs::read(folder.join(file)).unwrap();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let server = Server::start(Answer::Bytes([head.as_bytes(), &body].concat())).await;
        let mut url = server.url.clone();
        url.set_path("");
        url.set_query(None);
        let settings = CatalogSettings {
            source: SourceSettings::Backstage(BackstageSettings {
                url,
                token_file: None,
                page_size: 500,
                crawl_timeout: Duration::from_secs(60),
                trusted_id_locations: Vec::new(),
                graph_providers: Vec::new(),
            }),
            refresh_every: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
            guard: GuardSettings {
                max_loss_percent: 20,
                max_reassigned_percent: 20,
                adopt_after: 10,
            },
            root_groups_grant: false,
            store: None,
            shared: None,
        };
        let client = HttpClient::new().unwrap();
        let error = load_once(&settings, &client).await.unwrap_err().to_string();
        assert!(error.contains(want), "{file}: {error}");
    }
}
