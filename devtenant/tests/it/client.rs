//! One request on a connection of its own, and what came back.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The token of a good answer.
    pub(crate) fn token(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.json["access_token"].as_str().unwrap()
    }

    /// The status, OAuth's word and Entra's number of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str, u64) {
        let code = self.json["error_codes"][0].as_u64().unwrap();
        let description = self.json["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        (self.status, self.json["error"].as_str().unwrap(), code)
    }

    /// The status and code of an error of Graph.
    pub(crate) fn error(&self) -> (u16, &str) {
        assert!(self.json["error"]["innerError"]["request-id"].is_string(), "{self:?}");
        (self.status, self.json["error"]["code"].as_str().unwrap())
    }
}

/// Asks for an absolute address.
pub(crate) async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut request = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, json: serde_json::from_str(body).unwrap_or_default() }
}

pub(crate) async fn get(url: &str) -> Answer {
    ask("GET", url, &[], "").await
}

/// Sends a form.
pub(crate) async fn form(url: &str, fields: &[(&str, &str)]) -> Answer {
    // Colons and slashes may stand for themselves here; nothing else odd is sent.
    let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    ask("POST", url, &headers, &body.join("&")).await
}

/// Asks Graph with a token, with a body if it isn't null.
pub(crate) async fn graph(method: &str, url: &str, token: &str, body: Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(method, url, &headers, &body).await
}
