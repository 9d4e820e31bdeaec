//! What the borrowing decoder is held to, on any bytes.

use prost::Message as _;
use stagedoor::domain::Request;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::CheckRequest;
use stagedoor::ext_authz::{read, request};

/// Headers in which a caller gives a reason: one of its own, and one that is read anyway.
const REASONS: [&str; 3] = ["x-reason", "accept", "X-Stagedoor-Debug"];

/// What is read of the bytes is what the generated types read of them. Returns whether these
/// read anything at all.
pub(crate) fn check(data: &[u8]) -> bool {
    let reference = CheckRequest::decode(data);
    for reason in REASONS {
        let Some(borrowed) = read(data, reason) else { continue };
        let reference = reference.as_ref().expect("what is read is a message");
        assert_eq!(borrowed.map(sorted), request(reference, reason).map(sorted));
    }
    reference.is_ok()
}

/// A map has no order.
fn sorted(mut request: Request<'_>) -> Request<'_> {
    request.context_extensions.sort_unstable();
    request
}
