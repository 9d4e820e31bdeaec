//! What a route asks of its callers beyond its gate.

use crate::clock::Now;
use crate::domain::{Challenge, Demands, Denial, Identity, Reason};

/// Whether the caller is what the route asks for.
pub(super) fn check(demands: &Demands, identity: &Identity, now: Now) -> Result<(), Denial> {
    let kind = identity.kind;
    if !demands.kinds.is_empty() && !demands.kinds.contains(&kind) {
        return Err(Denial::with_detail(
            Reason::CallerKind,
            format_args!("the caller is of kind `{}`", kind.as_str()),
        ));
    }
    if let Some(name) = &demands.auth_context
        && !identity.facts.auth_contexts.contains(name)
    {
        if !identity.delegated {
            return Err(Denial::with_detail(
                Reason::CallerKind,
                format_args!("only who signs in can satisfy `{name}`"),
            ));
        }
        return Err(Denial {
            challenge: Some(Box::new(Challenge::AuthContext(name.clone()))),
            ..Denial::with_detail(
                Reason::InsufficientClaims,
                format_args!("the token does not satisfy `{name}`"),
            )
        });
    }
    if let Some(max) = demands.max_token_age {
        let age = now.unix.saturating_sub(identity.issued_at);
        let max = i64::try_from(max.as_secs()).unwrap_or(i64::MAX);
        if age > max {
            let detail = format!("the token is {age} s old, {max} are accepted here");
            return Err(Denial {
                challenge: Some(Box::new(Challenge::IssuedSince(now.unix))),
                ..Denial::with_detail(Reason::InsufficientClaims, detail)
            });
        }
    }
    Ok(())
}
