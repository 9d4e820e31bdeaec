//! The form of a token, before anything in it is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use crate::domain::{Denial, Reason};

/// A token taken apart. Nothing of it is proven.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    /// What the signature is over: header and payload as sent.
    pub(super) signed: &'a str,
    /// The signature.
    pub(super) signature: Vec<u8>,
    /// The key it names.
    pub(super) key_id: String,
    /// Its claims.
    pub(super) claims: Map<String, Value>,
}

/// The one algorithm. It is ours to choose, not the token's.
const ALGORITHM: &str = "RS256";

impl<'a> Jwt<'a> {
    /// Takes a token apart whose size is known to be bounded.
    pub(super) fn parse(token: &'a str) -> Result<Self, Denial> {
        let malformed = || Denial::from(Reason::TokenMalformed);
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let header = decode(header).ok_or_else(malformed)?;
        let payload = decode(payload).ok_or_else(malformed)?;
        // The header before the signature: of `alg: none`, that is what is wrong.
        let key_id = check_header(&header)?;
        let signature =
            decode(signature).filter(|bytes| !bytes.is_empty()).ok_or_else(malformed)?;
        let claims = json::object(&payload).ok_or(Reason::TokenJsonInvalid)?;
        Ok(Self { signed, signature, key_id, claims })
    }
}

/// Canonical base64url: no padding, no other alphabet, no bits left over.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn check_header(bytes: &[u8]) -> Result<String, Denial> {
    let header = json::object(bytes).ok_or(Reason::TokenJsonInvalid)?;
    if header.get("alg").and_then(Value::as_str) != Some(ALGORITHM) {
        return Err(Reason::TokenAlgorithm.into());
    }
    // Members that change how the token is to be read. `jku`, `x5u`, `jwk` and `x5c`
    // are not looked at: the token is judged by our keys alone.
    for name in ["crit", "b64", "cty", "enc", "zip"] {
        if header.contains_key(name) {
            return Err(Denial::with_detail(
                Reason::TokenHeaderUnsupported,
                format_args!("the header has `{name}`"),
            ));
        }
    }
    let access_token = match header.get("typ") {
        None => true,
        Some(Value::String(typ)) => ["JWT", "at+jwt", "application/at+jwt"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(typ)),
        Some(_) => false,
    };
    if !access_token {
        return Err(Denial::with_detail(
            Reason::TokenHeaderUnsupported,
            "`typ` is no access token's",
        ));
    }
    header
        .get("kid")
        .and_then(Value::as_str)
        .filter(|id| is_key_id(id))
        .map(str::to_owned)
        .ok_or_else(|| Reason::TokenKeyIdInvalid.into())
}

/// Key ids are compared and nothing else; these are the characters that any has.
pub(super) fn is_key_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
