//! What the Check service is configured with.

use std::time::Duration;

use super::metadata::MetadataFields;

/// Names of the identity headers and what else a reply does.
#[derive(Clone, Debug)]
pub struct AnswerSettings {
    /// The headers that an allow sets for the upstream.
    pub headers: IdentityHeaders,
    /// Whether an allow takes `authorization` away from the upstream.
    pub remove_authorization: bool,
    /// Whether an allow takes away what some upstreams take for one of `headers`: the same
    /// name with `_` for some or all `-`.
    pub remove_look_alikes: bool,
    /// What Envoy is told of a decision.
    pub metadata: MetadataFields,
}

impl AnswerSettings {
    /// These headers, and everything else as it is by default.
    #[must_use]
    pub fn new(headers: IdentityHeaders) -> Self {
        Self {
            headers,
            remove_authorization: false,
            remove_look_alikes: true,
            metadata: MetadataFields::ALL,
        }
    }
}

/// Header names, lower case; each distinct.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    /// The principal: `oid`.
    pub subject: String,
    /// The tenant: `tid`.
    pub tenant: String,
    /// `user`, `workload` or `anonymous`.
    pub kind: String,
    /// The entity that the request was for.
    pub entity: String,
    /// The decision's id.
    pub decision_id: String,
}

/// Limits of one check, and what it reads.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// Checks that wait at a time, over all connections.
    pub max_concurrent: usize,
    /// How long a check that has to wait does so for its turn, before it is denied as
    /// overload.
    pub queue_timeout: Duration,
    /// A check that takes longer than this is denied. Less than Envoy's own
    /// timeout, which fails the way the operator of Envoy set.
    pub deadline: Duration,
    /// The request header in which a caller gives a reason, in lower case.
    pub justification_header: String,
}
