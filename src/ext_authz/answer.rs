//! The headers of a reply, for the upstream and for the client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::denial::{Denials, Rendered};
use super::header::{append, set};
use super::metadata::MetadataFields;
use super::settings::{AnswerSettings, IdentityHeaders};
use super::warning::{self, warnings};
use super::wire::Back;
use crate::domain::{Challenge, Decision, Denial, Reason, Request};

// Fields of `OkHttpResponse` and `DeniedHttpResponse`; `headers` is the same in both.
const SET: u32 = 2;
const BODY: u32 = 3;
const REMOVE: u32 = 5;
const ADD: u32 = 6;

/// What replies are made with: prepared once, from the configuration.
#[derive(Clone, Debug)]
pub struct Answer {
    names: IdentityHeaders,
    /// What every allow takes away from the upstream, as fields of the answer:
    /// `authorization`, where it is to go, and the identity headers with `_` for some or all
    /// `-`, since many backends read both as one name, unless Envoy lets none of them through.
    remove: Box<[u8]>,
    metadata: MetadataFields,
    /// Where a client signs in, for the challenge.
    authorization_uri: Option<String>,
    denials: Denials,
}

impl Answer {
    /// Prepares replies. `authorization_uri` is told to clients without a valid
    /// token; it must be a URL, so that it can stand in a quoted string.
    #[must_use]
    pub fn new(settings: AnswerSettings, authorization_uri: Option<&url::Url>) -> Self {
        let names = settings.headers;
        let mut remove = Back::with_capacity(1024);
        if settings.remove_authorization {
            remove.text(REMOVE, "authorization");
        }
        let all = [&names.subject, &names.tenant, &names.kind, &names.entity, &names.decision_id];
        for name in all.into_iter().filter(|_| settings.remove_look_alikes) {
            underscored(name).iter().for_each(|name| remove.text(REMOVE, name));
        }
        Self {
            names,
            remove: remove.finish().as_ref().into(),
            metadata: settings.metadata,
            authorization_uri: authorization_uri.map(ToString::to_string),
            denials: Denials::default(),
        }
    }

    /// The same, with denials that are told like this.
    #[must_use]
    pub fn with_denials(self, denials: Denials) -> Self {
        Self { denials, ..self }
    }

    /// What Envoy is told of a decision.
    pub(super) fn metadata(&self) -> MetadataFields {
        self.metadata
    }

    /// The names of the identity headers.
    pub(super) fn names(&self) -> &IdentityHeaders {
        &self.names
    }

    /// Writes the fields of an `OkHttpResponse`: what an allow sets for the upstream, what it
    /// takes away, and what it adds to the upstream's answer. Every identity header is either
    /// set or taken away, so that a client can bring none of its own.
    pub(super) fn write_allow(
        &self,
        out: &mut Back,
        decision: &Decision,
        decision_id: &str,
        explanation: Option<(&str, &str)>,
    ) {
        if let Some((name, value)) = explanation {
            set(out, ADD, name, value);
        }
        for value in warnings(&decision.notes.warnings).rev() {
            append(out, ADD, warning::NAME, &value);
        }
        let identity = decision.principal.identity();
        let entity = decision.target.as_ref().and_then(|target| target.resource.as_ref());
        if entity.is_none() {
            out.text(REMOVE, &self.names.entity);
        }
        if identity.is_none() {
            out.text(REMOVE, &self.names.tenant);
            out.text(REMOVE, &self.names.subject);
        }
        out.bytes(&self.remove);
        set(out, SET, &self.names.decision_id, decision_id);
        if let Some(entity) = entity {
            set(out, SET, &self.names.entity, entity.as_str());
        }
        set(out, SET, &self.names.kind, decision.principal.kind());
        if let Some(identity) = identity {
            let mut id = [0; 36];
            set(out, SET, &self.names.tenant, identity.tenant.write(&mut id));
            set(out, SET, &self.names.subject, identity.object.write(&mut id));
        }
    }

    /// Writes the headers and the body of a `DeniedHttpResponse`, for the client.
    pub(super) fn write_denial(
        &self,
        out: &mut Back,
        (decision, denial): (&Decision, &Denial),
        decision_id: &str,
        request: Option<&Request<'_>>,
        explanation: Option<(&str, &str)>,
    ) {
        // Envoy gives a gRPC client its own content type.
        let rendered = if request.is_some_and(Request::is_grpc) {
            Rendered { body: plain(denial, decision_id), headers: Vec::new() }
        } else {
            self.denials.render((decision, decision_id), denial, request)
        };
        out.text(BODY, &rendered.body);
        if let Some((name, value)) = explanation {
            set(out, SET, name, value);
        }
        for (name, value) in rendered.headers.iter().rev() {
            set(out, SET, name, value);
        }
        if denial.reason.status() == 401 || denial.reason == Reason::TokenScopeMissing {
            set(out, SET, "www-authenticate", &self.challenge(denial));
        }
        set(out, SET, "cache-control", "no-store");
        set(out, SET, &self.names.decision_id, decision_id);
    }

    /// RFC 6750 section 3, with the address that Microsoft's client libraries read.
    fn challenge(&self, denial: &Denial) -> String {
        let reason = denial.reason;
        let mut challenge = "Bearer realm=\"\"".to_owned();
        if let Some(uri) = &self.authorization_uri {
            challenge.push_str(", authorization_uri=\"");
            challenge.push_str(uri);
            challenge.push('"');
        }
        // Who sent no credential is told only how to get one.
        if reason != Reason::TokenMissing {
            let error = match reason {
                Reason::CredentialsRepeated | Reason::CredentialsMalformed => "invalid_request",
                Reason::InsufficientClaims => "insufficient_claims",
                Reason::TokenScopeMissing => "insufficient_scope",
                _ => "invalid_token",
            };
            challenge.push_str(", error=\"");
            challenge.push_str(error);
            challenge.push_str("\", error_description=\"");
            challenge.push_str(&reason.sentence().replace('"', "'"));
            challenge.push('"');
        }
        if let Some(asked) = &denial.challenge {
            challenge.push_str(", claims=\"");
            challenge.push_str(&claims(asked));
            challenge.push('"');
        }
        challenge
    }
}

/// The body for gRPC clients: Envoy makes it the `grpc-message`, so it is one short line
/// of plain ASCII.
fn plain(denial: &Denial, decision_id: &str) -> String {
    format!("{}: {} (decision {decision_id})", denial.reason.code(), denial.reason.sentence())
}

/// The claims request that a client passes on to Entra, in base64.
fn claims(asked: &Challenge) -> String {
    let (name, value) = match asked {
        Challenge::AuthContext(context) => ("acrs", context.to_string()),
        Challenge::IssuedSince(second) => ("nbf", second.to_string()),
    };
    let wanted = serde_json::json!({
        "access_token": { name: { "essential": true, "value": value } },
    });
    STANDARD.encode(wanted.to_string())
}

/// Every spelling of a name that has `_` where the name has `-`, except its own. The
/// configuration allows few `-`, so these are few.
fn underscored(name: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for c in name.chars() {
        let other = (c == '-').then_some('_');
        spellings = spellings
            .iter()
            .flat_map(|start| {
                [Some(c), other].into_iter().flatten().map(move |c| format!("{start}{c}"))
            })
            .collect();
    }
    spellings.retain(|spelling| spelling != name);
    spellings
}
