//! A token laid open: what it says, and every rule it passes or fails.
//!
//! For people who want to know why. What decides is [`Authenticator::authenticate`]; here
//! each rule is asked by itself, also after one has failed, and also of tokens that are
//! nobody's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::holder;
use super::jwt::Jwt;
use super::rules::{self, Lifetime};
use super::seats::Seat;
use super::settings::{Overage, TenantSettings};
use super::{Authenticator, Shared, bearer, json};
use crate::clock::Now;
use crate::domain::{Credentials, Denial, Identity, Reason, TenantId};

/// What a token says and what becomes of it. Its signature is not in it.
#[derive(Debug)]
pub struct Inspection {
    /// The header's members, if they can be read.
    pub header: Option<Map<String, Value>>,
    /// The claims, if they can be read. Nothing of them is proven where a rule failed.
    pub claims: Option<Map<String, Value>>,
    /// The rules, in the order in which they decide.
    pub checks: Vec<Check>,
    /// The answer, as a request gets it.
    pub verdict: Result<(), Denial>,
    /// Who the holder is or claims to be, as far as the claims can be read.
    pub identity: Option<Identity>,
}

/// One rule, asked of one token.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is asked.
    pub rule: &'static str,
    /// The setting that decides.
    pub setting: String,
    /// What came out.
    pub outcome: Outcome,
    /// By how much, or against what.
    pub detail: String,
}

/// What a rule says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept.
    Passed,
    /// It is broken, with this reason.
    Failed(Reason),
    /// It can't be asked, for want of what an earlier one found missing.
    Unasked,
}

/// A time span as people say it.
#[must_use]
pub fn in_words(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

impl Authenticator {
    /// Lays the token open that these credentials are, if they are one.
    #[must_use]
    pub fn inspect_credentials(
        &self,
        credentials: &Credentials<'_>,
        now: Now,
    ) -> Option<Inspection> {
        Some(self.inspect(bearer::token(credentials).ok()?, now))
    }

    /// Lays a token open. Uses the keys that are there, and fetches none.
    #[must_use]
    pub fn inspect(&self, token: &str, now: Now) -> Inspection {
        let part = |at: usize| {
            let part = token.split('.').nth(at)?;
            json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
        };
        let (header, claims) = (part(0), part(1));
        let mut list = Checks::default();
        let shared = &*self.shared;
        let identity = shared.ask_all(token, claims.as_ref(), now, &mut list);
        let verdict = shared.judge_here(token, now).map(drop).map_err(|rejected| rejected.denial);
        Inspection { header, claims, checks: list.0, verdict, identity }
    }
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(
        &mut self,
        rule: &'static str,
        setting: impl Into<String>,
        result: Result<(), Denial>,
        detail: impl Into<String>,
    ) -> bool {
        let (outcome, detail) = match result {
            Ok(()) => (Outcome::Passed, detail.into()),
            Err(denial) => {
                let own = denial.detail.unwrap_or_else(|| denial.reason.sentence().to_owned());
                let detail: String = detail.into();
                let detail = if detail.is_empty() { own } else { detail };
                (Outcome::Failed(denial.reason), detail)
            }
        };
        self.0.push(Check { rule, setting: setting.into(), outcome, detail });
        outcome == Outcome::Passed
    }

    fn unasked(&mut self, rule: &'static str) {
        let (setting, detail) = (String::new(), String::new());
        self.0.push(Check { rule, setting, outcome: Outcome::Unasked, detail });
    }
}

impl Shared {
    fn ask_all(
        &self,
        token: &str,
        claims: Option<&Map<String, Value>>,
        now: Now,
        list: &mut Checks,
    ) -> Option<Identity> {
        let max = self.settings.max_token_bytes;
        let size = if token.len() > max { Err(Reason::TokenTooLarge.into()) } else { Ok(()) };
        let detail = format!("{} bytes, at most {max} are read", token.len());
        let readable = list.add("size", "entra.max_token_bytes", size, detail);
        let jwt = if readable { Some(Jwt::parse(token)) } else { None };
        match &jwt {
            Some(Ok(jwt)) => {
                let detail = format!("RS256, key `{}`", jwt.key_id);
                list.add("form and header", "", Ok(()), detail);
            }
            Some(Err(denial)) => {
                list.add("form and header", "", Err(denial.clone()), "");
            }
            None => list.unasked("form and header"),
        }
        let jwt = jwt.and_then(Result::ok);
        let Some(claims) = claims else {
            for rule in ["not for Graph", "issuer", "audience", "times", "key", "holder"] {
                list.unasked(rule);
            }
            return None;
        };
        list.add("not for Graph", "", rules::not_for_graph(claims), "");
        let lifetime = self.times(claims, now, list);
        let Some((index, tenant)) = self.issuer_of(claims, list) else {
            for rule in ["audience", "key", "holder"] {
                list.unasked(rule);
            }
            return None;
        };
        let seat = self.seats.at(index)?;
        let settings = self.settings.tenants.get(seat.tenant_index)?;
        let of = |name: &str| format!("entra.tenants[{}].{name}", seat.tenant_index);
        list.add(
            "audience",
            of("audiences"),
            rules::audience(claims, settings),
            named(claims, "aud"),
        );
        match &jwt {
            Some(jwt) => self.key(jwt, seat, tenant, now, list),
            None => list.unasked("key"),
        }
        let lifetime = lifetime?;
        self.holder(claims, seat, settings, tenant, lifetime, list)
    }

    fn times(&self, claims: &Map<String, Value>, now: Now, list: &mut Checks) -> Option<Lifetime> {
        let max = self.settings.max_token_lifetime;
        let lifetime = match Lifetime::of(claims, max) {
            Ok(lifetime) => lifetime,
            Err(denial) => {
                list.add("lifetime", "entra.max_token_lifetime", Err(denial), "");
                return None;
            }
        };
        let length = in_words(lifetime.expires_at - lifetime.issued_at);
        list.add("lifetime", "entra.max_token_lifetime", Ok(()), format!("{length} in all"));
        let (skew, age) = (self.settings.clock_skew, self.settings.max_token_age);
        let left = lifetime.expires_at.saturating_sub(now.unix);
        let detail = if left > 0 {
            format!("ends in {}", in_words(left))
        } else {
            format!("ended {} ago", in_words(left))
        };
        let young = lifetime.covers(now.unix, skew, None);
        list.add("valid now", "entra.clock_skew", young, detail);
        let old = now.unix.saturating_sub(lifetime.issued_at);
        let detail = format!("issued {} ago", in_words(old));
        let within = match lifetime.covers(now.unix, skew, age) {
            Err(denial) if denial.reason == Reason::TokenTooOld => Err(denial),
            _ => Ok(()),
        };
        list.add("age", "entra.max_token_age", within, detail);
        Some(lifetime)
    }

    /// Which issuer's it says to be, by its place, and of which tenant.
    fn issuer_of(
        &self,
        claims: &Map<String, Value>,
        list: &mut Checks,
    ) -> Option<(usize, TenantId)> {
        let found = rules::issuer(claims).and_then(|named| {
            self.issuer_named(named).ok_or_else(|| Denial::from(Reason::TokenIssuer))
        });
        let (index, seat, settings, tenant) = match found {
            Ok(found) => found,
            Err(denial) => {
                list.add("issuer", "entra.tenants", Err(denial), named(claims, "iss"));
                return None;
            }
        };
        let of = |name: &str| format!("entra.tenants[{}].{name}", seat.tenant_index);
        let one = if settings.tenants.are_several() { "allowed_tenants" } else { "id" };
        list.add("issuer", of(one), Ok(()), named(claims, "iss"));
        let origin = rules::origin(claims, seat.issuer.version, tenant);
        let said = format!("{}, {}", named(claims, "ver"), named(claims, "tid"));
        list.add("version and tenant", of("versions"), origin, said);
        if settings.tenants.are_several() {
            let allowed = if settings.tenants.accept(tenant) {
                Ok(())
            } else {
                Err(Reason::TokenTenantNotAllowed.into())
            };
            list.add("tenant is allowed", of("allowed_tenants"), allowed, tenant.to_string());
        }
        Some((index, tenant))
    }

    fn key(&self, jwt: &Jwt<'_>, seat: &Seat, tenant: TenantId, now: Now, list: &mut Checks) {
        let issuer = &*seat.issuer;
        let trusted = self.revocations.load().key(&jwt.key_id);
        list.add("key is trusted", "entra.keys.distrusted, entra.revocations_file", trusted, "");
        let key = match issuer.key(&jwt.key_id, self.settings.keys.max_age, now) {
            Ok((_, key)) => key,
            Err(denial) => {
                list.add("key is published", "entra.keys", Err(denial), "");
                return list.unasked("signature");
            }
        };
        list.add("key is published", "entra.keys", Ok(()), format!("by `{}`", issuer.name));
        let whose = key.issuer.as_deref().unwrap_or("whoever publishes it");
        let owner = rules::key_issuer(key.issuer.as_deref(), &issuer.name, issuer.version, tenant);
        list.add("key is the issuer's", "", owner, format!("for {whose}"));
        let signed = if key.verifies(jwt.signed, &jwt.signature) {
            Ok(())
        } else {
            Err(Reason::TokenSignature.into())
        };
        list.add("signature", "", signed, "");
    }

    fn holder(
        &self,
        claims: &Map<String, Value>,
        seat: &Seat,
        settings: &TenantSettings,
        tenant: TenantId,
        lifetime: Lifetime,
        list: &mut Checks,
    ) -> Option<Identity> {
        let of = |names: &[&str]| {
            let at = format!("entra.tenants[{}]", seat.tenant_index);
            names.iter().map(|name| format!("{at}.{name}")).collect::<Vec<_>>().join(", ")
        };
        let version = seat.issuer.version;
        let claim = match version {
            rules::Version::V1 => "appid",
            rules::Version::V2 => "azp",
        };
        let client = holder::client(claims, version, settings);
        let asked = client.as_ref().map(drop).map_err(Denial::clone);
        list.add("access token, client", of(&["clients"]), asked, named(claims, claim));
        let object = holder::object(claims).map(drop);
        list.add("object id", "", object, named(claims, "oid"));
        match holder::grants(claims) {
            Err(denial) => {
                list.add("grant", "", Err(denial), "");
            }
            Ok((scopes, roles)) => match holder::is_delegated(claims, &scopes) {
                Err(denial) => {
                    list.add("delegated or app-only", "", Err(denial), "");
                }
                Ok(delegated) => {
                    let (said, setting) = if delegated {
                        (named(claims, "scp"), "required_scopes")
                    } else {
                        (named(claims, "roles"), "required_roles")
                    };
                    let granted = holder::granted(delegated, &scopes, &roles, settings);
                    list.add("grant", of(&[setting]), granted, said);
                    if let Ok(client) = client {
                        let kind = holder::kind(claims, delegated, client, settings);
                        let said = kind.as_ref().map_or("", |kind| kind.as_str()).to_owned();
                        let accepted = kind.and_then(|kind| holder::accepted(kind, settings));
                        list.add("kind of holder", of(&["kinds"]), accepted, said);
                    }
                }
            },
        }
        let judge =
            |overage: Overage| holder::holder(claims, version, lifetime, tenant, settings, overage);
        let strict = judge(self.settings.overage).map(drop);
        match judge(Overage::Accept) {
            Ok(holder) => {
                let identity = Identity::from(holder);
                let detail = if identity.groups_elsewhere {
                    "it points to them instead of listing them".to_owned()
                } else {
                    format!("{} are listed", identity.group_count())
                };
                list.add("groups", "entra.overage", strict, detail);
                let revoked = self.revocations.load().holder(&identity);
                list.add("not revoked", "entra.revocations_file", revoked, "");
                Some(identity)
            }
            Err(denial) => {
                list.add("the other claims", "", Err(denial), "");
                None
            }
        }
    }
}

/// A claim and its value, short and on one line.
fn named(claims: &Map<String, Value>, name: &str) -> String {
    match claims.get(name) {
        None => format!("no `{name}`"),
        Some(value) => {
            let text: String = value.to_string().chars().take(120).collect();
            format!("`{name}` is {}", text.escape_debug().to_string().replace("\\\"", "\""))
        }
    }
}
