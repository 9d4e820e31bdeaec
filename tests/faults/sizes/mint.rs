//! Tokens by the million, and the checks that carry them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use devtenant::tenant::Tenant;
use serde_json::{Value, json};

use super::cheap::CheapKey;
use super::site::{HOST, OWNERS};
use crate::message::message;
use crate::support::stack::AUDIENCE;

/// Stands for what is different in each token.
const MARK: &str = "NNNNNNNNNNNN";
/// Of a signature of 2,048 bits.
const SIGNATURE: usize = 342;

/// Makes tokens that differ in who they are for and what they are called, each of the same
/// length: of members of the owning team, who are in nineteen other groups as well.
#[derive(Clone)]
pub(super) struct Mint {
    claims: String,
}

impl Mint {
    pub(super) fn new(tenant: &Tenant) -> Self {
        let others: Vec<_> =
            (2..21).map(|number| format!("dddddddd-0000-0000-0000-{number:012}")).collect();
        let groups: Vec<_> =
            std::iter::once(OWNERS).chain(others.iter().map(String::as_str)).collect();
        let token = tenant
            .token()
            .audience(AUDIENCE)
            .groups(&groups)
            .oid(&format!("bbbbbbbb-0000-0000-0000-{MARK}"))
            .claim("uti", json!(format!("once-{MARK}")))
            .claim("rh", "x".repeat(300).into());
        Self { claims: Value::Object(token.claims().clone()).to_string() }
    }

    /// Header and claims.
    fn unsigned(&self, number: u64, kid: &str) -> String {
        let header = format!(r#"{{"typ":"JWT","alg":"RS256","kid":"{kid}"}}"#);
        let claims = self.claims.replace(MARK, &format!("{number:012}"));
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}")
    }

    /// A good one.
    pub(super) fn signed(&self, number: u64, kid: &str, key: &CheapKey) -> String {
        let unsigned = self.unsigned(number, kid);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(unsigned.as_bytes()));
        format!("{unsigned}.{signature}")
    }

    /// One that nobody signed, in the right form.
    pub(super) fn forged(&self, number: u64, kid: &str) -> String {
        // Less than any modulus, so that it is computed with to the end.
        let signature = format!("AA{number:016x}{}", "A".repeat(SIGNATURE - 18));
        format!("{}.{signature}", self.unsigned(number, kid))
    }
}

/// Checks as Envoy sends them, for tokens of one length.
#[derive(Clone)]
pub(super) struct Form {
    frame: Vec<u8>,
    at: usize,
    length: usize,
}

impl Form {
    /// For tokens that are as long as this one.
    pub(super) fn like(token: &str, path: &str) -> Self {
        let mark = "~".repeat(token.len());
        let message = message(&mark, HOST, path);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&[0], &length[..], &message].concat();
        let mark = mark.as_bytes();
        let at = frame.windows(mark.len()).position(|part| part == mark);
        Self { at: at.expect("the token is in it"), frame, length: token.len() }
    }

    /// The check with this token.
    pub(super) fn with(&self, token: &str) -> Bytes {
        assert_eq!(token.len(), self.length, "another token than was said");
        let mut frame = self.frame.clone();
        frame[self.at..self.at + self.length].copy_from_slice(token.as_bytes());
        frame.into()
    }
}

/// One check with this token.
pub(super) fn check(token: &str, path: &str) -> Bytes {
    Form::like(token, path).with(token)
}
