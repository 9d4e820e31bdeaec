//! The issuers of a configuration, and what a changed one keeps of them.
//!
//! An issuer's keys outlive a change of the rules that its tokens are judged by, so the two
//! are apart: an [`Issuer`] is handed on from one configuration to the next, and its seat
//! says by which entry it is judged there. A seat has a number, which a verified token is
//! remembered with. It keeps the number for as long as its rules stay as they are; with other
//! rules it gets another, and what was verified under the old one is nobody's any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::SettingsError;
use super::issuer::Issuer;
use super::rules::Version;
use super::settings::{EntraSettings, TenantSettings};

/// An issuer, and by what its tokens are judged.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) issuer: Arc<Issuer>,
    /// Whose entry it is, by its place in the configuration.
    pub(super) tenant_index: usize,
    /// Whether no configuration before had the issuer.
    pub(super) is_new: bool,
    number: usize,
}

/// The issuers of a configuration, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Seats {
    list: Vec<Seat>,
    /// Where each number is, sorted by the numbers.
    places: Vec<(usize, usize)>,
    /// The next number, of this configuration and all that follow upon it.
    next: Arc<AtomicUsize>,
}

impl Seats {
    /// The issuers of these settings. Those `before` keep their keys, and their numbers
    /// where their rules are the same.
    pub(super) fn of(
        settings: &EntraSettings,
        before: Option<(&Self, &EntraSettings)>,
    ) -> Result<Self, SettingsError> {
        let next = before.map_or_else(Arc::default, |(seats, _)| Arc::clone(&seats.next));
        let mut list: Vec<Seat> = Vec::new();
        // Who is named by an entry of their own is judged by that one.
        let mut entries: Vec<_> = settings.tenants.iter().enumerate().collect();
        entries.sort_by_key(|(_, tenant)| tenant.tenants.are_several());
        for (tenant_index, tenant) in entries {
            for (version, name) in
                [(Version::V1, &tenant.issuer_v1), (Version::V2, &tenant.issuer_v2)]
            {
                let Some(name) = name else { continue };
                if list.iter().any(|other| other.issuer.name == *name) {
                    return Err(SettingsError::IssuerTwice(name.clone()));
                }
                let directory = tenant.tenants.directory();
                let kept = before.and_then(|(seats, old)| {
                    let kept = seats.list.iter().find(|seat| {
                        let issuer = &seat.issuer;
                        issuer.name == *name
                            && issuer.version == version
                            && issuer.directory == directory
                            && issuer.authority == tenant.authority
                    })?;
                    let judged_by = old.tenants.get(kept.tenant_index)?;
                    let same = same_rules((old, judged_by), (settings, tenant));
                    Some((Arc::clone(&kept.issuer), same.then_some(kept.number)))
                });
                let is_new = kept.is_none();
                let (issuer, number) = kept.unwrap_or_else(|| {
                    let authority = tenant.authority.clone();
                    (Arc::new(Issuer::new(name.clone(), version, directory, authority)), None)
                });
                let number = number.unwrap_or_else(|| next.fetch_add(1, Ordering::Relaxed));
                list.push(Seat { issuer, tenant_index, is_new, number });
            }
        }
        if list.is_empty() {
            return Err(SettingsError::NoTenant);
        }
        let mut places: Vec<_> =
            list.iter().enumerate().map(|(place, seat)| (seat.number, place)).collect();
        places.sort_unstable();
        Ok(Self { list, places, next })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.list.iter()
    }

    /// All issuers.
    pub(super) fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.list.iter().map(|seat| &*seat.issuer)
    }

    /// The seat at a place of the list.
    pub(super) fn at(&self, place: usize) -> Option<&Seat> {
        self.list.get(place)
    }

    /// The seat of this number: none where the rules are others by now.
    pub(super) fn numbered(&self, number: usize) -> Option<&Seat> {
        let found = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.at(self.places.get(found)?.1)
    }
}

impl Seat {
    /// What its tokens are remembered with.
    pub(super) fn number(&self) -> usize {
        self.number
    }
}

/// Whether a token of an issuer comes to the same end by both settings, but for what is
/// asked anew of a token that was verified: time, keys and what was revoked.
fn same_rules(
    (old, judged_by): (&EntraSettings, &TenantSettings),
    (new, tenant): (&EntraSettings, &TenantSettings),
) -> bool {
    // Named one by one: a rule that is added has to be thought about here.
    let EntraSettings {
        tenants,
        max_token_lifetime,
        overage,
        clock_skew: _,
        max_token_age: _,
        max_token_bytes: _,
        graph: _,
        cache: _,
        verification: _,
        keys: _,
        key_store: _,
        distrusted_keys: _,
        revocations: _,
    } = new;
    // Whom another entry names more closely is judged by that one.
    let named = |all: &[TenantSettings]| -> Vec<_> {
        all.iter().map(|entry| entry.tenants.clone()).collect()
    };
    old.max_token_lifetime == *max_token_lifetime
        && old.overage == *overage
        && named(&old.tenants) == named(tenants)
        && judged_by == tenant
}
