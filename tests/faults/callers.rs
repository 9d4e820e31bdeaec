//! Who asks, and who of them may be let in.

use devtenant::keys::SigningKey;
use devtenant::tenant::Tenant;
use devtenant::token::TokenBuilder;
use serde_json::json;

use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, request_of_many};

/// Whose object id is revoked.
pub(crate) const REVOKED: &str = "dddddddd-0000-0000-0000-000000000001";
/// Who is in too many groups for a token, and always the same.
pub(crate) const ADA: &str = "dddddddd-0000-0000-0000-000000000002";

/// One kind of request, sent over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// A member of the owning team, always with the same token.
    Owner,
    /// The same with a token that was never seen before.
    NewOwner,
    /// Of another team, where any valid token will do.
    Known,
    /// Without a token, where nobody needs one.
    Public,
    /// A member by Microsoft Graph, always the same one.
    Listed,
    /// A member by Microsoft Graph who was never seen before.
    NewListed,
    /// A member with a token by a clock that is half a minute ahead.
    Ahead,
    /// A member with a token of the tenant's second key.
    OldKey,
    /// A member with a token of a key that the tenant may publish later.
    NextKey,
    /// Of another team, always with the same token.
    Stranger,
    /// The same with a token that was never seen before.
    NewStranger,
    /// Of another team by Microsoft Graph, never seen before.
    ListedStranger,
    /// Who is in no directory any more.
    Gone,
    /// With a signature by another key than the one that is named.
    Forged,
    /// With a key that nobody published.
    UnknownKey,
    /// With a token that is over.
    Expired,
    /// The same, always with one token.
    Outlived,
    /// With a token that begins in ten minutes.
    Early,
    /// Who was revoked.
    Revoked,
    /// Without a token.
    Nobody,
    /// Without a token, by a public path that leads elsewhere.
    Smuggler,
}

use Caller::*;

/// All of them.
pub(crate) const ALL: [Caller; 21] = [
    Owner,
    NewOwner,
    Known,
    Public,
    Listed,
    NewListed,
    Ahead,
    OldKey,
    NextKey,
    Stranger,
    NewStranger,
    ListedStranger,
    Gone,
    Forged,
    UnknownKey,
    Expired,
    Outlived,
    Early,
    Revoked,
    Nobody,
    Smuggler,
];

/// Those who need keys.
pub(crate) const TOKENS: &[Caller] =
    &[Owner, NewOwner, Known, Listed, NewListed, Ahead, OldKey, NextKey];
/// Those who need the catalog and the policies.
pub(crate) const POLICY: &[Caller] = &[Owner, NewOwner, Listed, NewListed, Ahead, OldKey, NextKey];
/// Those whose groups Microsoft Graph has to say.
pub(crate) const GRAPH: &[Caller] = &[Listed, NewListed];
/// Those whose groups nobody has asked for before.
pub(crate) const NEW_GRAPH: &[Caller] = &[NewListed];

/// Those who wait for nothing.
pub(crate) const KNOWN: &[Caller] = &[Owner, Known, Public, Stranger];

/// Those whose token was never seen before, so that they wait for their turn at least.
pub(crate) const WAITING: &[Caller] = &[NewOwner, NewListed, Ahead, OldKey, NextKey];

/// Whether somebody may be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// They are to be let in.
    Yes,
    /// Never.
    No,
    /// It is changing.
    Either,
}

impl Caller {
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether they may at the beginning of each fault.
    pub(crate) fn may(self) -> May {
        match self {
            Owner | NewOwner | Known | Public | Listed | NewListed | Ahead | OldKey => May::Yes,
            NextKey | Stranger | NewStranger | ListedStranger | Gone | Forged | UnknownKey
            | Expired | Outlived | Early | Revoked | Nobody | Smuggler => May::No,
        }
    }

    /// Why they are denied where nothing is wrong.
    pub(crate) fn reasons(self) -> &'static [&'static str] {
        match self {
            Stranger | NewStranger | ListedStranger => &["not_permitted"],
            Gone => &["principal_gone"],
            Forged => &["token_signature"],
            NextKey | UnknownKey | OldKey => &["token_key_unknown"],
            Expired | Outlived => &["token_expired"],
            Early => &["token_not_yet_valid"],
            Revoked => &["token_revoked"],
            Nobody | Smuggler => &["token_missing"],
            Owner | NewOwner | Known | Public | Listed | NewListed | Ahead => &[],
        }
    }

    /// Whether the token is another one each time.
    pub(crate) fn is_new(self) -> bool {
        !matches!(self, Owner | Known | Listed | Stranger | Outlived)
    }

    fn token(self, tenant: &Tenant, old: &SigningKey, number: u64, ahead: i64) -> Option<String> {
        let now = now() + ahead;
        let good = || {
            let token = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
            let token =
                if ahead == 0 { token } else { token.issued(now).claim("exp", json!(now + 4200)) };
            if self.is_new() {
                token.claim("uti", json!(format!("{}-{number}", self.name())))
            } else {
                token
            }
        };
        let listed = |groups: Option<&[&str]>| -> TokenBuilder {
            let oid = format!("eeeeeeee-{:04x}-0000-0000-{number:012x}", self as u16);
            if let Some(groups) = groups {
                tenant.directory().user(&oid, groups);
            }
            good().oid(&oid).overage()
        };
        Some(match self {
            Public | Nobody | Smuggler => return None,
            Owner | NewOwner => good().sign(),
            Known | Stranger | NewStranger => good().groups(&[OTHERS]).sign(),
            Listed => good().oid(ADA).overage().sign(),
            NewListed => listed(Some(&[OWNERS])).sign(),
            ListedStranger => listed(Some(&[OTHERS])).sign(),
            Gone => listed(None).sign(),
            Ahead => good().issued(now + 30).sign(),
            OldKey => good().sign_with(old),
            NextKey => good().sign_with(&SigningKey::test(1)),
            UnknownKey => good().sign_with(&SigningKey::test(2)),
            Forged => good().forged_with(&SigningKey::test(3)),
            Expired | Outlived => good().expires(now - 3600).sign(),
            Early => good().issued(now + 600).sign(),
            Revoked => good().oid(REVOKED).sign(),
        })
    }

    /// The bytes of their request, the `number`-th of them, at a time that is so many seconds
    /// ahead.
    pub(crate) fn request(
        self,
        tenant: &Tenant,
        old: &SigningKey,
        kept: &mut Option<String>,
        number: u64,
        ahead: i64,
    ) -> Vec<u8> {
        let token = match kept {
            Some(token) => Some(token.clone()),
            None => self.token(tenant, old, number, ahead),
        };
        if !self.is_new() {
            kept.clone_from(&token);
        }
        let name = self.name();
        let mut headers = vec![("x-caller", name.as_str())];
        let bearer = token.map(|token| format!("Bearer {token}"));
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        let path = match self {
            Public => "/healthz",
            Known => "/whoami",
            Smuggler => "/healthz/../v1/orders",
            _ => "/v1/orders",
        };
        // What the owner may is another action each time, and none of them is remembered
        // for another.
        let method = if self == NewOwner && number.is_multiple_of(3) { "POST" } else { "GET" };
        request_of_many(method, "payments.example.com", path, &headers)
    }
}

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
