//! What a request needs on its way and doesn't find: each a denial of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::support::deciding::Deciding;
use crate::support::stack::{AUDIENCE, OTHERS, Options};
use devtenant::tenant::{Tenant, TenantOptions};
use stagedoor::authorizer::explain::Explainer;
use stagedoor::authorizer::{Authorizer, Decide as _, Offline, OverageSource, Rehearsal};
use stagedoor::catalog::{Catalog, Membership};
use stagedoor::clock::Now;
use stagedoor::domain::{
    Action, Credentials, EntityRef, Holder, Identity, IdentityKind, Reason, Request, TokenFacts,
};

const ADA: &str = "bbbbbbbb-0000-0000-0000-0000000000aa";

const ENTITIES: &str = r#"
apiVersion: backstage.io/v1alpha1
kind: User
metadata:
  name: ada
  annotations: { graph.microsoft.com/user-id: bbbbbbbb-0000-0000-0000-0000000000aa }
spec: { memberOf: [orders-team] }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: ledger
  annotations: { stagedoor.dev/hosts: ledger.teams.example.com }
spec: { type: service, lifecycle: production, owner: payments-team }
"#;

fn asked<'a>(host: &'a str, path: &'a str, token: Option<&str>) -> Request<'a> {
    let credentials = match token {
        None => Credentials::Absent,
        Some(token) => Credentials::One(Cow::Owned(format!("Bearer {token}"))),
    };
    Request { method: "GET", host, path, credentials, ..Request::default() }
}

/// The code of the decision.
async fn code(authorizer: &Authorizer, request: &Request<'_>, now: Now) -> &'static str {
    Offline(authorizer.clone()).decide(request, now).await.code()
}

async fn world(entra: &str, more: &str) -> (Tenant, Authorizer, Now) {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let now = Now::at(tenant.token().claims()["iat"].as_i64().unwrap() + 60);
    let options = Options { entra: entra.to_owned(), more: more.to_owned(), ..Options::default() };
    let Deciding { authorizer, .. } = Deciding::new(&tenant, now, &options, ENTITIES);
    (tenant, authorizer, now)
}

/// Where teams say for themselves what is theirs, nobody knows without the catalog; what the
/// operator wrote down needs none.
#[tokio::test]
async fn a_route_of_the_catalog_needs_the_catalog() {
    let more = "catalog_routes: { delegations: [{ hosts: [\"*.teams.example.com\"], namespace: \
                default }] }\n";
    let (_tenant, authorizer, now) = world("", more).await;
    authorizer.routes.adopt(&authorizer.catalog.snapshot().unwrap());
    let none = Catalog::new((*authorizer.catalog.settings()).clone());
    let without = Authorizer { catalog: none, ..authorizer.clone() };
    let year = Duration::from_secs(365 * 86_400);
    let late = Now { unix: now.unix, instant: now.instant + year };
    for (authorizer, now, want) in [
        (&authorizer, now, "token_missing"),
        (&without, now, "catalog_unavailable"),
        (&authorizer, late, "catalog_expired"),
    ] {
        let claimed = asked("ledger.teams.example.com", "/", None);
        assert_eq!(code(authorizer, &claimed, now).await, want);
        let open = asked("payments.example.com", "/healthz", None);
        assert_eq!(code(authorizer, &open, now).await, "public_route", "{want}");
        let elsewhere = asked("elsewhere.example.org", "/", None);
        assert_eq!(code(authorizer, &elsewhere, now).await, "no_route", "{want}");
    }
}

/// Groups that a token only points to have to come from somewhere: nobody is let in, and no
/// `forbid` passed over, for want of them.
#[tokio::test]
async fn groups_that_are_nowhere_are_a_denial() {
    let (tenant, authorizer, now) = world("  overage: catalog\n", "").await;
    let overage = |oid: &str| tenant.token().audience(AUDIENCE).oid(oid).overage().sign();
    let (ada, nobody) = (overage(ADA), overage("bbbbbbbb-0000-0000-0000-0000000000bb"));
    let host = "orders.apps.example.com";
    let from = |overage: OverageSource| Authorizer { overage, ..authorizer.clone() };
    let known = asked(host, "/", Some(&ada));
    let unknown = asked(host, "/", Some(&nobody));
    let (nowhere, catalog) = (from(OverageSource::Nowhere), from(OverageSource::Catalog));
    for (authorizer, request, want) in [
        (&nowhere, &known, "groups_overage"),
        (&catalog, &known, "permitted"),
        (&catalog, &unknown, "groups_overage"),
    ] {
        assert_eq!(code(authorizer, request, now).await, want);
        let explainer = Explainer::new(authorizer.clone(), Vec::new(), Vec::new());
        assert_eq!(explainer.explain(request, now).await.conclusion.reason, want);
    }
    // And whoever asks is told where they come from, for the token didn't list them.
    let explained = Explainer::new(catalog, Vec::new(), Vec::new()).explain(&known, now).await;
    let mut groups = explained.groups.iter();
    let team = groups.find(|part| part.group == "group:default/orders-team").unwrap();
    let from =
        [format!("the directory's `{OTHERS}`"), "the catalog's `user:default/ada`".to_owned()];
    assert_eq!(team.from, from);
}

/// A rehearsal asks for what a request would be asked for.
#[tokio::test]
async fn what_would_be_denied_is_denied_in_a_rehearsal() {
    let (_tenant, authorizer, now) = world("", "").await;
    let (snapshot, policy) = (authorizer.catalog.snapshot().unwrap(), authorizer.policy.current());
    let rehearsal =
        Rehearsal { snapshot: &snapshot, policy: &policy, membership: Membership::Token };
    let owner = Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: ADA.parse().unwrap(),
        kind: IdentityKind::User,
        delegated: true,
        client: None,
        groups: Box::new([OTHERS.parse().unwrap()]),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: Box::new([]),
        scopes: Box::new([]),
        issued_at: now.unix - 60,
        expires_at: now.unix + 3600,
        facts: TokenFacts::default(),
    };
    let elsewhere = Holder { groups_elsewhere: true, ..owner.clone() };
    let (host, orders) = ("orders.apps.example.com", "component:default/orders");
    for (holder, host, entity, want) in [
        (&owner, host, orders, Ok(())),
        (&elsewhere, host, orders, Err(Reason::GroupsOverage)),
        (&owner, "a@orders.apps.example.com", orders, Err(Reason::HostNotCanonical)),
        (&owner, host, "component:default/gone", Err(Reason::EntityUnknown)),
        (&owner, host, "component:default/payments", Err(Reason::NotPermitted)),
    ] {
        let identity: Arc<Identity> = holder.clone().into();
        let (request, entity) = (asked(host, "/", None), EntityRef::parse(entity).unwrap());
        let judgement = rehearsal.judge(&identity, Action::Read, &entity, &request, "r", now);
        let verdict = judgement.verdict.map(drop).map_err(|denial| denial.reason);
        assert_eq!(verdict, want, "{host} {entity}");
    }
}
