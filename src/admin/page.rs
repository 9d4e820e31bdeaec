//! The page of the admin port: one document that needs nothing else.
//!
//! It holds no data: its script fetches what `/status` says, and puts every text of it in
//! place as text.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The document, and what a browser may do with it.
static BUILT: LazyLock<(String, String)> = LazyLock::new(|| {
    let page = PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    // Texts of others are never parsed: the browser itself refuses to.
    let policy = format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    (page, policy)
});

/// The page.
pub(super) fn page() -> Response {
    let (page, policy) = &*BUILT;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, page.as_str()).into_response()
}

fn hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}
