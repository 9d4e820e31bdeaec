//! What becomes of one token: remembered, or verified by every rule.

use std::sync::Arc;

use super::cache::{Entry, TokenHash};
use super::jwt::Jwt;
use super::rules::Lifetime;
use super::seats::Seat;
use super::{Proven, Rejected, Shared, TenantSettings, Tenants, holder, rules};
use crate::clock::Now;
use crate::domain::{Denial, Identity, Reason, TenantId};

/// For the operator, who may wonder about an `exp` that is still to come.
const EXPIRED_BEFORE: &str = "it was over when it was asked about before; if its `exp` is still to \
                              come, the clock of this machine was ahead then";

impl Shared {
    pub(super) async fn judge(&self, token: &str, now: Now) -> Result<Proven, Rejected> {
        let hash = self.hash(token)?;
        if let Some(known) = self.recall(&hash, now, self.cache.find(&hash)) {
            return Ok(Proven { identity: known?, remembered: true });
        }
        // Not a part of the future of those who are known.
        let _turn = Box::pin(self.turns.take(self.settings.verification)).await?;
        // Meanwhile somebody else may have come with the same token, and gone first.
        if let Some(known) = self.recall(&hash, now, self.cache.peek(&hash)) {
            return Ok(Proven { identity: known?, remembered: true });
        }
        self.learn(hash, token, now)
    }

    /// As [`Shared::judge`], without waiting for anybody.
    pub(super) fn judge_here(&self, token: &str, now: Now) -> Result<Proven, Rejected> {
        let hash = self.hash(token)?;
        match self.recall(&hash, now, self.cache.find(&hash)) {
            Some(known) => Ok(Proven { identity: known?, remembered: true }),
            None => self.learn(hash, token, now),
        }
    }

    fn hash(&self, token: &str) -> Result<TokenHash, Denial> {
        // Size first: not even a hash of what is too large.
        if token.len() > self.settings.max_token_bytes {
            return Err(Reason::TokenTooLarge.into());
        }
        self.cache.hash(token).ok_or_else(|| Reason::Internal.into())
    }

    fn learn(&self, hash: TokenHash, token: &str, now: Now) -> Result<Proven, Rejected> {
        self.turns.count();
        let entry = self.verify(token, now).inspect_err(|rejected| {
            if rejected.denial.reason == Reason::TokenExpired {
                self.cache.end_unproven(&hash);
            }
        })?;
        let identity = Arc::clone(&entry.identity);
        self.cache.insert(hash, entry);
        Ok(Proven { identity, remembered: false })
    }

    /// What becomes of a token that was verified before, or nothing where it wasn't, or is
    /// to be judged anew. Allocates nothing, and waits for nobody but another thread that
    /// looks at the same part of the cache.
    fn recall(
        &self,
        hash: &TokenHash,
        now: Now,
        found: Option<Entry>,
    ) -> Option<Result<Arc<Identity>, Denial>> {
        let Some(entry) = found else {
            let ended = || Denial::with_detail(Reason::TokenExpired, EXPIRED_BEFORE);
            return self.cache.has_ended(hash).then(|| Err(ended()));
        };
        let Some(stands) = self.stands(&entry, now) else {
            // Judged anew, which says why.
            self.cache.remove(hash);
            return None;
        };
        if stands.as_ref().is_err_and(|denial| denial.reason == Reason::TokenExpired) {
            self.cache.end(hash);
        }
        Some(stands.map(|()| entry.identity))
    }

    /// Whether a token that was verified is still good, or nothing where its key is no longer
    /// its issuer's, or where it was judged by other rules.
    fn stands(&self, entry: &Entry, now: Now) -> Option<Result<(), Denial>> {
        let revoked = self.revocations.load();
        let seat = entry.identity.facts.issuer.and_then(|number| self.seats.numbered(number))?;
        let max_age = self.settings.keys.max_age;
        let key = seat.issuer.vouches(entry.key, max_age, now, |key| revoked.key(&key.id))?;
        let (skew, age) = (self.settings.clock_skew, self.settings.max_token_age);
        let stands = entry
            .lifetime()
            .covers(now.unix, skew, age)
            .and(key)
            .and_then(|()| revoked.holder(&entry.identity));
        Some(stands)
    }

    /// The issuer that a token names: its place, its seat, its entry of the settings, and the
    /// tenant that the name says.
    pub(super) fn issuer_named(
        &self,
        named: &str,
    ) -> Option<(usize, &Seat, &TenantSettings, TenantId)> {
        self.seats.iter().enumerate().find_map(|(index, seat)| {
            let settings = self.settings.tenants.get(seat.tenant_index)?;
            let one = match settings.tenants {
                Tenants::One(tenant) => Some(tenant),
                Tenants::Listed(_) | Tenants::Any => None,
            };
            let tenant = seat.issuer.tenant_of(named, one)?;
            // Whom another entry names is for that one to judge, also where it accepts less.
            let elsewhere = self.settings.tenants.iter().enumerate().any(|(at, other)| {
                at != seat.tenant_index && other.tenants.name(tenant, &settings.tenants)
            });
            (!elsewhere).then_some((index, seat, settings, tenant))
        })
    }

    fn verify(&self, token: &str, now: Now) -> Result<Entry, Rejected> {
        let jwt = Jwt::parse(token)?;
        // What needs no key comes first: it is cheap, and a token for Microsoft Graph,
        // whose signature nobody else can verify, is told what it is.
        rules::not_for_graph(&jwt.claims)?;
        let named = rules::issuer(&jwt.claims)?;
        let (index, seat, settings, tenant) =
            self.issuer_named(named).ok_or_else(|| Denial::from(Reason::TokenIssuer))?;
        let issuer = &*seat.issuer;
        rules::origin(&jwt.claims, issuer.version, tenant)?;
        if !settings.tenants.accept(tenant) {
            return Err(Denial::from(Reason::TokenTenantNotAllowed).into());
        }
        rules::audience(&jwt.claims, settings)?;
        let lifetime = Lifetime::of(&jwt.claims, self.settings.max_token_lifetime)?;
        lifetime.covers(now.unix, self.settings.clock_skew, self.settings.max_token_age)?;
        let revoked = self.revocations.load();
        revoked.key(&jwt.key_id)?;
        // Counted before the key is looked up: a fetch that ends in between is seen.
        let attempts = issuer.attempts();
        let (number, key) =
            issuer.key(&jwt.key_id, self.settings.keys.max_age, now).map_err(|denial| {
                Rejected {
                    unknown_key: (denial.reason == Reason::TokenKeyUnknown)
                        .then_some((index, attempts)),
                    denial,
                }
            })?;
        rules::key_issuer(key.issuer.as_deref(), &issuer.name, issuer.version, tenant)?;
        if !key.verifies(jwt.signed, &jwt.signature) {
            return Err(Denial::from(Reason::TokenSignature).into());
        }
        // Proven from here on: only now is anybody somebody.
        let overage = self.settings.overage;
        let mut holder =
            holder::holder(&jwt.claims, issuer.version, lifetime, tenant, settings, overage)?;
        holder.facts.issuer = Some(seat.number());
        let entry = self.cache.entry(holder, &lifetime, number);
        revoked.holder(&entry.identity)?;
        Ok(entry)
    }
}
