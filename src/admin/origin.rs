//! Who may have sent a request: a browser on this machine reaches the port as well, and
//! does there what any page on the web tells it.
//!
//! A page can send a request to any address. It can't keep the browser from saying where the
//! page is from (`origin`, Fetch Metadata), and where a name of its own is made to mean this
//! machine (DNS rebinding), that name is the request's host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Admin;

type Refusal = (StatusCode, String);

/// Whether a request is not made by a page from elsewhere: by none, or by this port's own.
///
/// # Errors
/// The refusal.
pub(super) fn not_by_a_page(headers: &HeaderMap) -> Result<(), Refusal> {
    // Both would have to be spoofed, and a page can set neither.
    if is_by_elsewhere(headers) {
        let text = "not for a page in a browser that is from elsewhere\n";
        return Err((StatusCode::FORBIDDEN, text.to_owned()));
    }
    Ok(())
}

fn is_by_elsewhere(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let sites = sites.any(|site| site != "same-origin" && site != "none");
    let mut origins = headers.get_all(header::ORIGIN).iter();
    sites || origins.any(|origin| !origin.to_str().is_ok_and(|origin| is_own(origin, headers)))
}

/// Whether an origin is the one that the request was sent to.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = only_host(headers) else { return false };
    match origin.split_once("://") {
        // Whose name it is says no certificate here, so a name is not enough.
        Some(("http", authority)) => authority == host && is_of_no_dns(host),
        Some(("https", authority)) => authority == host,
        _ => false,
    }
}

/// Refuses what was sent to a name that only DNS knows. Where the port is on loopback, its
/// callers are trusted because they are on this machine, and a page under such a name is not.
pub(super) async fn no_other_name(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    if admin.access.is_loopback && !only_host(request.headers()).is_some_and(is_of_no_dns) {
        let text = "ask for an address such as `127.0.0.1`, or for `localhost`: under another \
                    name a page from elsewhere could ask too\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    next.run(request).await
}

/// The host, if the request has one and no second.
fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether a host, with its port, is an address or this machine's own name: nobody can have
/// DNS say what it means.
fn is_of_no_dns(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn only_its_own_page_is_let_do_something() {
        let here = "127.0.0.1:9192";
        for (pairs, passes) in [
            (&[("host", here)][..], true),
            (&[("host", "anything")], true),
            (&[("host", here), ("origin", "http://127.0.0.1:9192")], true),
            (&[("host", here), ("sec-fetch-site", "same-origin")], true),
            (&[("host", here), ("sec-fetch-site", "none")], true),
            (&[("host", "[::1]:1"), ("origin", "http://[::1]:1")], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true),
            (&[("host", "a.example"), ("origin", "https://a.example")], true),
            (&[("host", here), ("origin", "http://127.0.0.1:80")], false),
            (&[("host", here), ("origin", "http://localhost:9192")], false),
            (&[("host", here), ("origin", "https://127.0.0.1")], false),
            (&[("host", here), ("origin", "null")], false),
            (&[("host", here), ("origin", "")], false),
            (&[("host", here), ("origin", "https://evil.example")], false),
            (&[("host", here), ("sec-fetch-site", "cross-site")], false),
            (&[("host", here), ("sec-fetch-site", "same-site")], false),
            (&[("host", here), ("sec-fetch-site", "Same-Origin")], false),
            // DNS rebinding: the page's own name is the host.
            (&[("host", "evil.example:9192"), ("origin", "http://evil.example:9192")], false),
            (
                &[
                    ("host", "evil.example:9192"),
                    ("origin", "http://evil.example:9192"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            // One of two is never enough.
            (&[("host", here), ("origin", "http://127.0.0.1:9192"), ("origin", "http://b")], false),
            (
                &[("host", here), ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (&[("host", here), ("host", here), ("origin", "http://127.0.0.1:9192")], false),
            (&[("origin", "http://127.0.0.1:9192")], false),
        ] {
            assert_eq!(not_by_a_page(&headers(pairs)).is_ok(), passes, "{pairs:?}");
        }
    }

    #[test]
    fn names_of_dns_are_told_from_addresses() {
        for host in
            ["127.0.0.1", "127.0.0.1:9192", "[::1]:9192", "[::1]", "localhost:1", "LocalHost"]
        {
            assert!(is_of_no_dns(host), "{host}");
        }
        for host in [
            "",
            ":9192",
            "evil.example",
            "evil.example:9192",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            "127.0.0.1:9192:evil",
            "127.0.0.1@evil.example",
            "::1",
            "[::1",
            "2130706433",
            "0x7f.1",
            "127.1",
        ] {
            assert!(!is_of_no_dns(host), "{host}");
        }
    }
}
