//! Explanations: what they conclude is what the service answered, and what they say helps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::support::deciding::Deciding;
use crate::support::stack::{AUDIENCE, CHILD, GRANDCHILD, OTHERS, OWNERS, Options};
use devtenant::keys::SigningKey;
use devtenant::tenant::{Tenant, TenantOptions};
use devtenant::token::TokenBuilder;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use stagedoor::authorizer::explain::{Explainer, Explanation, Tone};
use stagedoor::authorizer::{Authorizer, Decide, Offline};
use stagedoor::catalog::Catalog;
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, EntityRef, Request, TenantId};

/// Beside the stack's own: one of each kind that policies can be.
const POLICIES: &str = r#"
    @id("system-owners") permit (principal, action in Action::"write", resource)
    when { resource has system && principal in resource.system.owners };
    @id("auditors") permit (principal in EntraGroup::"aaaaaaaa-0000-0000-0000-000000000004", action == Action::"read", resource);
    @id("break-glass") @alert("broken") permit (principal in Group::"group:default/refunds-oncall", action, resource)
    when { context has justification };
    @id("frozen") @reason("Frozen.") forbid (principal, action, resource)
    when { resource.tags.contains("frozen") } unless { action == Action::"read" };
    @id("admin-needs-c1") @challenge("c1") forbid (principal, action == Action::"admin", resource)
    unless { principal.auth_contexts.contains("c1") };
    @id("no-odd-paths") forbid (principal is User, action, resource) when { context.path like "*odd*" };
    @id("overflow") permit (principal is Workload, action == Action::"write", resource == Component::"component:default/ledger")
    when { context.token_age + 9223372036854775807 > 0 };
    @id("tried") @mode("shadow") permit (principal, action, resource);
    @id("going") @mode("warn") @reason("Going away.") forbid (principal, action, resource)
    when { resource.tags.contains("frozen") };
"#;

const ENTITIES: &str = r#"
apiVersion: backstage.io/v1alpha1
kind: System
metadata: { name: money }
spec: { owner: orders-team }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: ledger, tags: [frozen] }
spec: { type: service, lifecycle: production, owner: payments-team, system: money }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: orphan }
spec: { type: service, lifecycle: production, owner: nobody }
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata:
  name: ada
  annotations: { graph.microsoft.com/user-id: bbbbbbbb-0000-0000-0000-0000000000aa }
spec: { memberOf: [refunds], profile: { displayName: "Ada <b>L</b>" } }
"#;

const ADA: &str = "bbbbbbbb-0000-0000-0000-0000000000aa";

struct World {
    tenant: Tenant,
    authorizer: Authorizer,
    explainer: Explainer,
    now: Now,
}

impl World {
    async fn start() -> Self {
        let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
        let catalog = Some("catalog: { folder: catalog, membership: either }\n".to_owned());
        let routes = "  - { name: strong, hosts: [payments.example.com], paths: [/strong], gate: \
                      policy, entity: \"component:default/payments\", auth_context: c1 }\n";
        let (policy, routes) = (POLICIES.to_owned(), routes.to_owned());
        let options = Options { policy, routes, catalog, ..Options::default() };
        let issued = tenant.token().claims()["iat"].as_i64().unwrap();
        let now = Now::at(issued + 60);
        let Deciding { authorizer, routes, .. } = Deciding::new(&tenant, now, &options, ENTITIES);
        let explainer = Explainer::new(authorizer.clone(), routes, Vec::new());
        Self { tenant, authorizer, explainer, now }
    }

    async fn explain(
        &self,
        method: &str,
        host: &str,
        path: &str,
        token: Option<&str>,
    ) -> Explanation {
        let request = request(method, host, path, token, None);
        self.explainer.explain(&request, self.now).await
    }
}

/// The lines below one heading.
fn section(explanation: &Explanation, title: &str) -> Vec<(Tone, String, String)> {
    let mut sections = explanation.sections().into_iter();
    sections.find(|section| section.title == title).map(|section| section.lines).unwrap_or_default()
}

/// A token that was good an hour ago.
fn expired(token: TokenBuilder) -> String {
    let issued = token.claims()["iat"].as_i64().unwrap();
    token.issued(issued - 7200).expires(issued - 3600).sign()
}

fn request<'a>(
    method: &'a str,
    host: &'a str,
    path: &'a str,
    token: Option<&str>,
    justification: Option<&'a str>,
) -> Request<'a> {
    Request {
        method,
        host,
        path,
        credentials: match token {
            None => Credentials::Absent,
            Some(token) => Credentials::One(Cow::Owned(format!("Bearer {token}"))),
        },
        justification: justification.map(Cow::Borrowed),
        ..Request::default()
    }
}

/// Ten thousand requests: whatever was answered, the steps come to the same.
#[tokio::test]
async fn what_is_explained_is_what_was_answered() {
    let world = World::start().await;
    let token = || world.tenant.token().audience(AUDIENCE);
    let mut tokens: Vec<Option<String>> = vec![
        None,
        Some("no.token.atall".to_owned()),
        Some(expired(token())),
        Some(token().audience("api://other").sign()),
        Some(token().forged_with(&SigningKey::test(3))),
        Some(token().sign_with(&SigningKey::test(2))),
        Some(token().overage().sign()),
        Some(token().app_only(&["Payments.Read.All"]).sign()),
        Some(token().app_only(&["Other.Role"]).groups(&[OWNERS]).sign()),
        Some(token().oid(ADA).sign()),
        Some(token().oid(ADA).claim("acrs", json!(["c1"])).sign()),
    ];
    for groups in [&[OWNERS][..], &[CHILD], &[GRANDCHILD], &[OTHERS], &[OWNERS, OTHERS]] {
        tokens.push(Some(token().groups(groups).sign()));
        tokens.push(Some(token().groups(groups).claim("acrs", json!(["c1"])).sign()));
    }
    let mut rng = SmallRng::seed_from_u64(5);
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for number in 0..10_000 {
        let method = ["GET", "POST", "DELETE", "PROPFIND", "get"].choose(&mut rng).unwrap();
        let host = [
            "payments.example.com",
            "PAYMENTS.example.com:443",
            "ledger.apps.example.com",
            "orders.apps.example.com",
            "orphan.apps.example.com",
            "missing.apps.example.com",
            "elsewhere.example.org",
            "a@payments.example.com",
        ]
        .choose(&mut rng)
        .unwrap();
        let path = [
            "/",
            "/v1/orders?x=1",
            "/healthz",
            "/whoami",
            "/odd",
            "/strong",
            "/a/../b",
            "/%2e%2e/x",
        ]
        .choose(&mut rng)
        .unwrap();
        let token = tokens.choose(&mut rng).unwrap();
        let justification = rng.random_ratio(1, 3).then_some("INC-1");
        let request = request(method, host, path, token.as_deref(), justification);
        let decision = Offline(world.authorizer.clone()).decide(&request, world.now).await;
        let explanation = world.explainer.explain(&request, world.now).await;
        let conclusion = &explanation.conclusion;
        let policies: Vec<String> = decision.policies().iter().map(ToString::to_string).collect();
        let word = if decision.is_allow() { "allow" } else { "deny" };
        assert_eq!(
            (conclusion.decision, conclusion.reason, &conclusion.policies),
            (word, decision.code(), &policies),
            "request {number}: {method} {host}{path}: {decision:?}"
        );
        if !decision.is_allow() && decision.code() == "not_permitted" {
            assert!(!explanation.to_allow.is_empty());
        }
        *seen.entry(decision.code()).or_default() += 1;
    }
    for code in [
        "permitted",
        "public_route",
        "authenticated_route",
        "not_permitted",
        "forbidden",
        "insufficient_claims",
        "caller_kind",
        "policy_error",
        "no_route",
        "entity_unknown",
        "token_missing",
        "token_expired",
        "token_audience",
        "token_signature",
        "token_key_unknown",
        "groups_overage",
        "host_not_canonical",
        "path_not_canonical",
    ] {
        assert!(seen.contains_key(code), "none is answered with `{code}`: {seen:?}");
    }
}

/// Each line that a person needs is there.
#[tokio::test]
async fn an_explanation_says_what_would_help() {
    let world = World::start().await;
    let token = || world.tenant.token().audience(AUDIENCE);
    let stranger = token().oid(ADA).sign();
    let ledger = "ledger.apps.example.com";

    let denied = world.explain("POST", "ORDERS.apps.example.com", "/x?q=1", Some(&stranger)).await;
    let text = denied.text(false);
    for line in [
        "deny (not_permitted)",
        "the host `ORDERS.apps.example.com` is read as `orders.apps.example.com`",
        "the query decides nothing",
        "component:default/orders",
        "refunds: the catalog's `user:default/ada`",
        "over `group:default/refunds`",
        "Orders Team (group:default/orders-team)",
        "would permit, but for: principal in resource.owners",
        "be a member of one of: Orders Team (`group:default/orders-team`) (`owners`)",
    ] {
        let line = if line.starts_with("Refunds") {
            "refunds: the catalog's `user:default/ada`"
        } else {
            line
        };
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
    assert!(!text.contains(&stranger), "never the token");

    let oncall = token().groups(&[GRANDCHILD]).claim("acrs", json!(["c1"])).sign();
    let text =
        world.explain("PROPFIND", "orders.apps.example.com", "/", Some(&oncall)).await.text(false);
    assert!(text.contains("give a reason, in the header for it (`break-glass`)"), "{text}");
    assert!(text.contains("the token's `aaaaaaaa-0000-0000-0000-000000000003`"), "{text}");

    let owner = token().groups(&[OWNERS]).sign();
    let text = world.explain("POST", ledger, "/", Some(&owner)).await.text(false);
    assert!(text.contains("forbids"), "{text}");
    assert!(text.contains("`frozen` must not apply any more"), "{text}");
    assert!(text.contains("group:default/payments-team"), "{text}");

    let text = world.explain("PATCH", "payments.example.com", "/healthz", None).await.text(true);
    assert!(text.contains("\u{1b}[31m"), "in colour");
    let near = world.explain("GET", "elsewhere.example.org", "/whoami", None).await;
    assert_eq!(near.conclusion.reason, "no_route");
    assert!(near.route.near.iter().any(|near| near.route == "whoami" && near.but_for == "host"));

    let orphan = world.explain("POST", "orphan.apps.example.com", "/", Some(&stranger)).await;
    let lines = section(&orphan, "ownership");
    assert!(lines.contains(&(Tone::Bad, "owner".to_owned(), "nobody".to_owned())), "{lines:?}");
    let wanted = "it has no owner: give it one in the catalog (`owners`)".to_owned();
    assert!(orphan.to_allow.contains(&wanted), "{:?}", orphan.to_allow);

    let robot = token().app_only(&["Other.Role"]).sign();
    let failed = world.explain("POST", ledger, "/", Some(&robot)).await;
    assert_eq!(failed.conclusion.policies, ["overflow"]);
    let lines = section(&failed, "policies");
    let overflow = lines.iter().find(|(_, policy, _)| policy == "overflow").unwrap();
    assert!(overflow.0 == Tone::Bad && overflow.2.contains("can't be evaluated"), "{overflow:?}");

    // What fails is told apart from what could not be asked.
    let garbage = world.explain("GET", ledger, "/", Some("no.token.atall")).await;
    let lines = section(&garbage, "token");
    let tone = |rule: &str| lines.iter().find(|(_, label, _)| label == rule).unwrap().0;
    assert_eq!(
        (tone("size"), tone("form and header"), tone("issuer")),
        (Tone::Good, Tone::Bad, Tone::Plain)
    );
    assert!(lines.iter().all(|(_, label, _)| label != "caller"), "nobody is said to ask");

    let expired = expired(token());
    let json =
        serde_json::to_value(world.explain("GET", ledger, "/", Some(&expired)).await).unwrap();
    let rules = json["token"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["outcome"] == "token_expired"), "{json}");
    assert_eq!(json["token"]["accepted"], false);
    assert!(json["to_allow"][0].as_str().is_some_and(|text| !text.is_empty()), "{json}");
}

/// What somebody lacks is told in their words, where it is one thing that they could have.
#[tokio::test]
async fn what_a_caller_could_have_is_told() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let token = tenant.token().audience(AUDIENCE);
    let now = Now::at(token.claims()["iat"].as_i64().unwrap() + 60);
    let bearer = token.sign();
    let person = format!("{}/{ADA}", tenant.id());
    for (policy, want) in [
        (
            format!(r#"permit (principal == User::"{person}", action, resource);"#),
            format!(r#"be User::"{person}" (`p`)"#),
        ),
        (
            r#"permit (principal, action, resource) when { principal.scopes.contains("Pay.All") };"#
                .to_owned(),
            "have a token with the scope `Pay.All` (`p`)".to_owned(),
        ),
        (
            r#"permit (principal, action, resource) when { principal.auth_contexts.contains("c7") };"#
                .to_owned(),
            "sign in so that the authentication context `c7` is satisfied (`p`)".to_owned(),
        ),
        // Two things at once are not near.
        (
            r#"permit (principal in Group::"group:default/refunds", action, resource)
               when { context has justification };"#
                .to_owned(),
            "no policy comes near to permitting this: one would have to be written".to_owned(),
        ),
    ] {
        let policies = Some(format!("@id(\"p\") {policy}"));
        let options = Options { policies, ..Options::default() };
        let Deciding { authorizer, .. } = Deciding::new(&tenant, now, &options, ENTITIES);
        let explainer = Explainer::new(authorizer, Vec::new(), Vec::new());
        let request = request("GET", "payments.example.com", "/v1", Some(&bearer), None);
        let explanation = explainer.explain(&request, now).await;
        assert_eq!(explanation.conclusion.reason, "not_permitted", "{policy}");
        assert_eq!(explanation.to_allow, [want], "{policy}");
    }
}

/// An explanation goes with the answer only where somebody asks who may see it.
#[tokio::test]
async fn explanations_are_for_members_who_ask() {
    let world = World::start().await;
    let groups = vec![EntityRef::parse("group:default/payments-team").unwrap()];
    let explainer = Explainer::new(world.authorizer.clone(), Vec::new(), groups);
    let token = || world.tenant.token().audience(AUDIENCE);
    let explained = async |explainer: &Explainer, token: Option<TokenBuilder>, debug: bool| {
        let token = token.map(|token| token.sign());
        let asked = request("GET", "payments.example.com", "/v1", token.as_deref(), None);
        let asked = Request { debug, ..asked };
        let decision = Offline(world.authorizer.clone()).decide(&asked, world.now).await;
        let explanation = Decide::explain(explainer, &asked, &decision, world.now).await;
        explanation.map(|explanation| explanation.conclusion.reason)
    };
    let owner = || Some(token().groups(&[OWNERS]));
    assert_eq!(explained(&explainer, owner(), true).await, Some("permitted"));
    let child = Some(token().groups(&[CHILD]));
    assert_eq!(explained(&explainer, child, true).await, Some("permitted"), "a group below");
    assert_eq!(explained(&explainer, owner(), false).await, None, "nobody asked");
    let other = Some(token().groups(&[OTHERS]));
    assert_eq!(explained(&explainer, other, true).await, None);
    assert_eq!(explained(&explainer, None, true).await, None);
    // Nobody's word for it but the catalog's: without one there are no members.
    let catalog = Catalog::new((*world.authorizer.catalog.settings()).clone());
    let authorizer = Authorizer { catalog, ..world.authorizer.clone() };
    let groups = vec![EntityRef::parse("group:default/payments-team").unwrap()];
    let blind = Explainer::new(authorizer, Vec::new(), groups);
    assert_eq!(explained(&blind, owner(), true).await, None);
    assert_eq!(explained(&world.explainer, owner(), true).await, None, "no group was named");
    // Whoever only decides has nothing to say beside the answer.
    let asked = Request { debug: true, ..Request::default() };
    let offline = Offline(world.authorizer.clone());
    let decision = offline.decide(&asked, world.now).await;
    assert!(Decide::explain(&offline, &asked, &decision, world.now).await.is_none());
}

/// What others wrote stays text.
#[tokio::test]
async fn hostile_names_stay_text() {
    let world = World::start().await;
    let tenant: TenantId = world.tenant.id().to_string().parse().unwrap();
    assert_eq!(tenant.to_string(), world.tenant.id().to_string());
    let hostile = "/<script>alert(1)</script>\u{1b}[31m\"'&";
    let explanation = world.explain("GET", "payments.example.com", hostile, None).await;
    let page = explanation.html();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
    assert!(!explanation.text(false).contains('\u{1b}'));
    let opened = page.matches("<section>").count();
    assert_eq!(opened, explanation.sections().len());
}
