//! The headers of a reply, for the upstream and for the client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::denial::{Denials, Rendered};
use super::proto::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use super::settings::{AnswerSettings, IdentityHeaders};
use crate::domain::{Challenge, Decision, Denial, Reason, Request};

/// What replies are made with: prepared once, from the configuration.
#[derive(Clone, Debug)]
pub struct Answer {
    names: IdentityHeaders,
    remove_authorization: bool,
    /// The identity headers with `_` for some or all `-`: many backends read both as
    /// one name.
    underscored: Vec<String>,
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
        let underscored =
            [&names.subject, &names.tenant, &names.kind, &names.entity, &names.decision_id]
                .into_iter()
                .flat_map(|name| underscored(name))
                .collect();
        Self {
            names,
            remove_authorization: settings.remove_authorization,
            underscored,
            authorization_uri: authorization_uri.map(ToString::to_string),
            denials: Denials::default(),
        }
    }

    /// The same, with denials that are told like this.
    #[must_use]
    pub fn with_denials(self, denials: Denials) -> Self {
        Self { denials, ..self }
    }

    /// What an allow sets for the upstream, and what it takes away. Every identity
    /// header is in exactly one of the two, so none that the client sent survives;
    /// Envoy removes after it sets, so none may be in both.
    pub(super) fn upstream_headers(
        &self,
        decision: &Decision,
    ) -> (Vec<HeaderValueOption>, Vec<String>) {
        let identity = decision.principal.identity();
        let entity = decision.target.as_ref().and_then(|target| target.resource.as_ref());
        let fields = [
            (&self.names.subject, identity.map(|identity| identity.object.to_string())),
            (&self.names.tenant, identity.map(|identity| identity.tenant.to_string())),
            (&self.names.kind, Some(decision.principal.kind().to_owned())),
            (&self.names.entity, entity.map(ToString::to_string)),
            (&self.names.decision_id, Some(decision.id.to_string())),
        ];
        let mut headers = Vec::with_capacity(fields.len());
        let mut remove = self.underscored.clone();
        for (name, value) in fields {
            match value {
                Some(value) => headers.push(set(name, &value)),
                None => remove.push(name.clone()),
            }
        }
        if self.remove_authorization {
            remove.push("authorization".to_owned());
        }
        (headers, remove)
    }

    /// The headers and the body of a denial, for the client.
    pub(super) fn denial(
        &self,
        decision: &Decision,
        denial: &Denial,
        request: Option<&Request<'_>>,
    ) -> (Vec<HeaderValueOption>, String) {
        let mut headers = self.denial_headers(decision, denial);
        // Envoy gives a gRPC client its own content type.
        if request.is_some_and(Request::is_grpc) {
            return (headers, plain(decision, denial));
        }
        let Rendered { body, headers: of_body } = self.denials.render(decision, denial, request);
        headers.extend(of_body.iter().map(|(name, value)| set(name, value)));
        (headers, body)
    }

    fn denial_headers(&self, decision: &Decision, denial: &Denial) -> Vec<HeaderValueOption> {
        let mut headers = vec![
            set(&self.names.decision_id, &decision.id.to_string()),
            set("cache-control", "no-store"),
        ];
        if denial.reason.status() == 401 || denial.reason == Reason::TokenScopeMissing {
            headers.push(set("www-authenticate", &self.challenge(denial)));
        }
        headers
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
fn plain(decision: &Decision, denial: &Denial) -> String {
    format!("{}: {} (decision {})", denial.reason.code(), denial.reason.sentence(), decision.id)
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

/// A header that replaces whatever stands there.
pub(super) fn set(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}
