//! Why a request was denied: a closed list, with one code each.
//!
//! The codes are public API: the same text stands in response bodies, metrics,
//! audit records and documentation, so a code is added but never renamed.

use std::fmt;

/// Whose doing a denial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request or its credentials. Asking again the same way changes nothing.
    Caller,
    /// Something Stagedoor needs: a key set, the catalog, a group lookup.
    Dependency,
    /// Configuration, of Stagedoor or of Envoy's routes.
    Operator,
    /// Stagedoor itself.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $fault:ident, $sentence:literal;)*) => {
        /// Why a request was denied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status the client gets.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whose doing it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// One sentence for the person or program that was denied. It tells
            /// nothing that the caller can't know: details go to the audit record.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

reasons! {
    // The request line.

    /// The request has no HTTP attributes or no readable ones.
    RequestMalformed = "request_malformed", 400, Caller,
        "The request could not be read.";
    /// `:authority` is not a plain host: empty, userinfo, blanks, several.
    HostNotCanonical = "host_not_canonical", 400, Caller,
        "The host of the request is not in its canonical form.";
    /// `:path` has more than one reading.
    PathNotCanonical = "path_not_canonical", 400, Caller,
        "The path of the request is not in its canonical form.";

    // Routing.

    /// Nothing says which entity the request is for.
    NoRoute = "no_route", 403, Caller,
        "No route covers this request.";
    /// The Envoy route's context extensions are not what Stagedoor reads.
    RouteMisconfigured = "route_misconfigured", 503, Operator,
        "The route of this request is misconfigured.";
    /// The route names an entity that the catalog does not have.
    EntityUnknown = "entity_unknown", 403, Operator,
        "The entity that this request is for is not in the catalog.";

    // Credentials.

    /// No `authorization` header.
    TokenMissing = "token_missing", 401, Caller,
        "This needs a bearer token, and the request carries none.";
    /// More than one `authorization` header, or a comma in it.
    CredentialsRepeated = "credentials_repeated", 401, Caller,
        "The request carries more than one credential.";
    /// The `authorization` header is not `Bearer` and one token.
    CredentialsMalformed = "credentials_malformed", 401, Caller,
        "The authorization header is not of the form `Bearer` and a token.";

    // The token's form.

    /// Longer than a token may be.
    TokenTooLarge = "token_too_large", 401, Caller,
        "The token is too large.";
    /// Not three base64url parts in their one canonical spelling.
    TokenMalformed = "token_malformed", 401, Caller,
        "The token is not a signed JSON web token.";
    /// Header or claims are not a JSON object that has one reading.
    TokenJsonInvalid = "token_json_invalid", 401, Caller,
        "The token does not hold a plain JSON object.";
    /// A header member that changes how the token is to be read: `crit`, `b64`,
    /// `cty`, or a `typ` of another kind of token.
    TokenHeaderUnsupported = "token_header_unsupported", 401, Caller,
        "The token's header asks for something that is not supported.";
    /// `alg` is not the one algorithm that is accepted.
    TokenAlgorithm = "token_algorithm", 401, Caller,
        "The token is not signed with an accepted algorithm.";
    /// No `kid`, or one that no key set would carry.
    TokenKeyIdInvalid = "token_key_id_invalid", 401, Caller,
        "The token does not name its signing key.";

    // Who issued it, and for whom.

    /// `iss` is missing or is no issuer of a configured tenant.
    TokenIssuer = "token_issuer", 401, Caller,
        "The token was not issued by an accepted tenant.";
    /// `tid` is missing or is not the tenant of the issuer.
    TokenTenant = "token_tenant", 401, Caller,
        "The token's tenant does not match its issuer.";
    /// A multi-tenant application accepts tokens of listed tenants, and this one is not.
    TokenTenantNotAllowed = "token_tenant_not_allowed", 401, Caller,
        "The token was issued by a tenant that is not accepted here.";
    /// `ver` is missing or does not fit the issuer, or is not accepted.
    TokenVersion = "token_version", 401, Caller,
        "The token's version does not match its issuer or is not accepted.";
    /// The token's key is not among the issuer's.
    TokenKeyUnknown = "token_key_unknown", 401, Caller,
        "The token's signing key is not known.";
    /// The operator declared the signing key compromised.
    TokenKeyDistrusted = "token_key_distrusted", 401, Caller,
        "The token's signing key is no longer trusted. Sign in again.";
    /// The key was published for another issuer than the token's.
    TokenKeyIssuer = "token_key_issuer", 401, Caller,
        "The token's signing key belongs to another issuer.";
    /// The signature is not the key's.
    TokenSignature = "token_signature", 401, Caller,
        "The token's signature is not valid.";
    /// `aud` is missing, not a string, or not accepted.
    TokenAudience = "token_audience", 401, Caller,
        "The token was issued for another audience.";
    /// A token for Microsoft Graph: nobody else can verify one.
    TokenAudienceGraph = "token_audience_graph", 401, Caller,
        "The token was issued for Microsoft Graph. Ask for one for this API instead.";

    // When.

    /// A time is missing or is not a number of seconds.
    TokenTimesInvalid = "token_times_invalid", 401, Caller,
        "The token's times are missing or are not numbers of seconds.";
    /// `exp` has passed.
    TokenExpired = "token_expired", 401, Caller,
        "The token has expired.";
    /// `nbf` or `iat` lies ahead.
    TokenNotYetValid = "token_not_yet_valid", 401, Caller,
        "The token is not valid yet.";
    /// From `iat` to `exp` is longer than allowed.
    TokenLifetime = "token_lifetime", 401, Caller,
        "The token is valid for longer than is allowed.";

    /// Issued longer ago than is accepted, however long it is valid.
    TokenTooOld = "token_too_old", 401, Caller,
        "The token was issued too long ago. Sign in again.";
    /// The operator revoked the holder, the session, the token, or everything issued
    /// before some time.
    TokenRevoked = "token_revoked", 401, Caller,
        "The token was revoked. Sign in again.";

    // Who.

    /// Not an access token: it has the marks of an ID token, or lacks the client.
    TokenKind = "token_kind", 401, Caller,
        "The token is not an access token.";
    /// Neither `scp` nor `roles`: any application of the tenant can get such a
    /// token for any API, so it grants nothing.
    TokenWithoutGrant = "token_without_grant", 401, Caller,
        "The token carries neither a scope nor a role.";
    /// A delegated token without any of the scopes that the tenant's entry asks for.
    TokenScopeMissing = "token_scope_missing", 403, Caller,
        "The token does not carry a scope that this needs.";
    /// An app-only token without any of the roles that the tenant's entry asks for.
    TokenRoleMissing = "token_role_missing", 403, Caller,
        "The token does not carry an app role that this needs.";
    /// Users, workloads, managed identities or agents are not accepted of this tenant.
    TokenHolderKind = "token_holder_kind", 401, Caller,
        "Callers of this kind are not accepted here.";
    /// The client application is not on the tenant's list.
    TokenClient = "token_client", 401, Caller,
        "The token was issued to an application that is not accepted here.";
    /// `oid` is missing or is not a GUID.
    TokenObjectId = "token_object_id", 401, Caller,
        "The token does not identify its holder.";
    /// Another claim is not of the form Entra gives it.
    TokenClaimInvalid = "token_claim_invalid", 401, Caller,
        "A claim of the token is not of the form that is expected.";
    /// The token points to Microsoft Graph instead of listing the groups.
    GroupsOverage = "groups_overage", 503, Dependency,
        "The caller is in more groups than the token can list, and they could not be looked up.";
    /// The caller's groups were to be looked up, and could not be in time.
    GroupsUnavailable = "groups_unavailable", 503, Dependency,
        "The caller's groups could not be looked up in time.";
    /// The directory has no object of this id any more.
    PrincipalGone = "principal_gone", 401, Caller,
        "The token's holder does not exist any more.";

    // The decision.

    /// The route or a policy asks for an authentication context or a fresh sign-in, and
    /// the token has none.
    InsufficientClaims = "insufficient_claims", 401, Caller,
        "This needs a stronger or a fresh sign-in.";
    /// The route is not for callers of this kind.
    CallerKind = "caller_kind", 403, Caller,
        "This is not for callers of your kind.";
    /// No policy permits it.
    NotPermitted = "not_permitted", 403, Caller,
        "You are known, but nothing permits you to do this.";
    /// A policy forbids it.
    Forbidden = "forbidden", 403, Caller,
        "A policy forbids this.";
    /// A policy could not be evaluated; nothing is permitted by the others then.
    PolicyError = "policy_error", 403, Operator,
        "A policy could not be evaluated.";

    // What Stagedoor cannot know.

    /// No key set of the issuer was ever fetched.
    KeysUnavailable = "keys_unavailable", 503, Dependency,
        "The tenant's signing keys are not available yet.";
    /// The key set is older than its maximum age.
    KeysExpired = "keys_expired", 503, Dependency,
        "The tenant's signing keys could not be refreshed for too long.";
    /// No catalog snapshot was ever made.
    CatalogUnavailable = "catalog_unavailable", 503, Dependency,
        "The catalog is not available yet.";
    /// The snapshot is older than its maximum age.
    CatalogExpired = "catalog_expired", 503, Dependency,
        "The catalog could not be refreshed for too long.";
    /// More checks at a time than are allowed.
    Overloaded = "overloaded", 503, Internal,
        "Too many requests are being decided at the moment.";
    /// The decision took longer than it may.
    Timeout = "timeout", 503, Internal,
        "The decision took too long.";
    /// A defect.
    Internal = "internal", 503, Internal,
        "The decision failed.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_are_legal() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for reason in Reason::ALL {
            assert!(matches!(reason.status(), 400 | 401 | 403 | 503), "{reason}");
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            // What is a dependency's or our own doing is never the caller's 401 or 403.
            if matches!(reason.fault(), Fault::Dependency | Fault::Internal) {
                assert_eq!(reason.status(), 503, "{reason}");
            }
        }
    }
}
