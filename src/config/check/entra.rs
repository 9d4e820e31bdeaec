//! `entra`: which tenants' tokens are accepted, and for how long anything is kept.

use super::{Findings, graph, tenant};
use crate::bounded::Bounds;
use crate::config::document::{Check, Entra, Overage};
use crate::config::problem::below;
use crate::config::values::{ByteSize, Period};
use crate::entra::{self, EntraSettings, KeySettings, TenantSettings, VerificationSettings};

pub(super) fn settings(
    entra: &Entra,
    check: &Check,
    findings: &mut Findings<'_>,
) -> Option<EntraSettings> {
    let deadline = check.deadline;
    let (ms, m, h) = (Period::millis, Period::minutes, Period::hours);
    let (skew, lifetime) = (entra.clock_skew, entra.max_token_lifetime);
    let clock_skew = findings.period("/entra/clock_skew", skew, ms(0), m(5));
    let max_token_lifetime = findings.period("/entra/max_token_lifetime", lifetime, m(1), h(48));
    let max_token_bytes = findings.size(
        "/entra/max_token_bytes",
        entra.max_token_bytes,
        ByteSize::kib(1),
        ByteSize::kib(64),
    );
    let keys = keys(entra, deadline, findings);
    let cache = Bounds {
        max_entries: usize::try_from(entra.token_cache.max_entries).unwrap_or(usize::MAX),
        max_bytes: findings.size(
            "/entra/token_cache/max_bytes",
            entra.token_cache.max_bytes,
            ByteSize(0),
            ByteSize::mib(64 << 10),
        ),
    };
    let tenants: Vec<Option<TenantSettings>> = entra
        .tenants
        .iter()
        .enumerate()
        .map(|(index, given)| tenant::settings(&below("/entra/tenants", index), given, findings))
        .collect();
    tenant::apart(&tenants, findings);
    let max_token_age =
        entra.max_token_age.map(|age| findings.period("/entra/max_token_age", age, m(1), h(48)));
    let graph = graph::settings(entra, deadline, findings);
    let revocations = match &entra.revocations_file {
        Some(file) => findings.file("/entra/revocations_file", file).map(Some),
        None => Some(None),
    };
    let key_store = match &entra.keys.store {
        Some(folder) => findings.folder("/entra/keys/store", folder).map(Some),
        None => Some(None),
    };
    Some(EntraSettings {
        tenants: tenants.into_iter().collect::<Option<_>>()?,
        clock_skew,
        max_token_lifetime,
        max_token_age,
        max_token_bytes,
        overage: match entra.overage {
            Overage::Deny => entra::Overage::Deny,
            Overage::Catalog | Overage::Graph => entra::Overage::Accept,
        },
        graph: graph?,
        cache,
        verification: verification(entra, check, findings),
        keys,
        key_store: key_store?,
        distrusted_keys: entra.keys.distrusted.clone(),
        revocations: revocations?,
    })
}

fn verification(entra: &Entra, check: &Check, findings: &mut Findings<'_>) -> VerificationSettings {
    let verification = &entra.verification;
    let (queue, concurrent) = (verification.queue, check.max_concurrent);
    if queue.is_some_and(|queue| queue >= concurrent) {
        let message = format!("must be less than `check.max_concurrent` (`{concurrent}`)");
        findings.say_of("/entra/verification/queue", &["/check/max_concurrent"], message);
    }
    let (max_wait, deadline) = (verification.max_wait, check.deadline);
    if max_wait.is_some_and(|wait| wait >= deadline) {
        let message = format!("must be less than `check.deadline` (`{deadline}`)");
        findings.say_of("/entra/verification/max_wait", &["/check/deadline"], message);
    }
    VerificationSettings {
        queue: usize::try_from(queue.unwrap_or(concurrent / 2)).unwrap_or(usize::MAX),
        max_wait: max_wait.map_or(deadline.0 / 2, |wait| wait.0),
    }
}

fn keys(entra: &Entra, deadline: Period, findings: &mut Findings<'_>) -> KeySettings {
    let keys = &entra.keys;
    let (ms, s, m, h) = (Period::millis, Period::seconds, Period::minutes, Period::hours);
    let [refresh, min, age] =
        ["refresh_every", "min_refresh_interval", "max_age"].map(|name| below("/entra/keys", name));
    findings.at_most(
        &min,
        keys.min_refresh_interval,
        &refresh,
        keys.refresh_every,
        "refresh_every",
    );
    if keys.max_age < keys.refresh_every {
        let message = format!("must not be less than `refresh_every` (`{}`)", keys.refresh_every);
        findings.say_of(&age, &[&refresh], message);
    }
    let wait = below("/entra/keys", "unknown_key_wait");
    if keys.unknown_key_wait >= deadline {
        let message = format!("must be less than `check.deadline` (`{deadline}`)");
        findings.say_of(&wait, &["/check/deadline"], message);
    }
    KeySettings {
        refresh_every: findings.period(&refresh, keys.refresh_every, m(1), h(24)),
        min_refresh_interval: findings.period(&min, keys.min_refresh_interval, s(1), h(24)),
        max_age: findings.period(&age, keys.max_age, m(1), h(168)),
        unknown_key_wait: keys.unknown_key_wait.0,
        fetch_timeout: findings.period(
            &below("/entra/keys", "fetch_timeout"),
            keys.fetch_timeout,
            ms(100),
            m(1),
        ),
    }
}
