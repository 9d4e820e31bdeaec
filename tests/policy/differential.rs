//! The engine against plain Cedar: whatever is left out of a question, narrowed down or
//! remembered, the answer and the policies behind it are those of Cedar with every policy
//! and every entity in its hands.
//!
//! Catalogs, callers, policies and requests are generated; the seed of a case that fails is
//! printed, and fails again.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Request,
    RestrictedExpression as Value,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use stagedoor::domain::{
    Action, EntityRef, GroupId, Holder, Identity, IdentityKind, Reason, TokenFacts,
};
use stagedoor::policy::{Facts, PolicySet, PolicySource, Question, RequestFacts, ResourceFacts};

/// Of each of the four tests: a hundred thousand questions in all.
const WORLDS: u64 = 125;
const QUESTIONS: usize = 200;

#[test]
fn as_plain_cedar_1() {
    run(1);
}

#[test]
fn as_plain_cedar_2() {
    run(2);
}

#[test]
fn as_plain_cedar_3() {
    run(3);
}

#[test]
fn as_plain_cedar_4() {
    run(4);
}

fn run(part: u64) {
    let mut seen = Seen::default();
    for world in 0..WORLDS {
        let seed = part * 1_000_000 + world;
        compare(seed, &mut seen);
    }
    // A generator that only makes one kind of answer proves nothing.
    let total = seen.permitted + seen.forbidden + seen.nothing + seen.failed;
    assert_eq!(total, usize::try_from(WORLDS).unwrap() * QUESTIONS);
    for (kind, count) in [
        ("permitted", seen.permitted),
        ("forbidden", seen.forbidden),
        ("not permitted", seen.nothing),
        ("failed", seen.failed),
        ("remembered", seen.remembered),
        ("by several policies", seen.several),
    ] {
        assert!(count * 100 > total, "only {count} of {total} answers are {kind}");
    }
}

#[derive(Default)]
struct Seen {
    permitted: usize,
    forbidden: usize,
    nothing: usize,
    failed: usize,
    remembered: usize,
    several: usize,
}

/// Asks both about one generated world.
fn compare(seed: u64, seen: &mut Seen) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::of(&mut rng);
    let text = policies(&mut rng, &world);
    let source = PolicySource { file: "generated.cedar".into(), text: text.clone() };
    let set = PolicySet::of(&[source])
        .unwrap_or_else(|errors| panic!("seed {seed}: a bad generator: {errors}\n{text}"));
    let plain = plain_policies(&text);
    let entities = world.entities();
    let version: Arc<str> = format!("world {seed}").into();
    for number in 0..QUESTIONS {
        let caller = world.callers.choose(&mut rng).unwrap();
        let resource = world.resources.choose(&mut rng).unwrap();
        let action = *Action::ALL.choose(&mut rng).unwrap();
        let request = RequestFacts {
            method: ["GET", "POST", "DELETE"].choose(&mut rng).unwrap(),
            host: ["a.example.com", "b.example.com"].choose(&mut rng).unwrap(),
            path: ["/", "/v1/x", "/v2/y"].choose(&mut rng).unwrap(),
            route: ["one", "two"].choose(&mut rng).unwrap(),
            source: [None, Some("spiffe://mesh/ns/a/sa/b")].choose(&mut rng).unwrap().to_owned(),
            destination: [None, Some("spiffe://mesh/ns/c/sa/d")]
                .choose(&mut rng)
                .unwrap()
                .to_owned(),
            justification: [None, Some("INC-1")].choose(&mut rng).unwrap().to_owned(),
            unix_time: 1_700_000_000 + i64::from(rng.random_range(0..10_u8)) * 86_400,
            token_age: i64::from(rng.random_range(0..3_u8)),
        };
        let want = ask_plain(&plain, &entities, caller, resource, action, &request);
        let facts = Known { world: &world, caller, resource };
        let question = Question {
            identity: &caller.identity,
            listed: caller.listed.as_ref(),
            action,
            entity: &resource.entity,
            request,
            facts: &facts,
            version: &version,
        };
        let judgement = set.judge(&question);
        if judgement.notes.remembered.decision {
            seen.remembered += 1;
        }
        let got = match &judgement.verdict {
            Ok(permit) => match permit.grant() {
                stagedoor::domain::Grant::Policies(ids) => (Answer::Permitted, names(ids)),
                other => panic!("{other:?}"),
            },
            Err(denial) => {
                let answer = match denial.reason {
                    Reason::NotPermitted => Answer::Nothing,
                    Reason::Forbidden => Answer::Forbidden,
                    Reason::PolicyError => Answer::Failed,
                    other => panic!("seed {seed}: {other}: {:?}", denial.detail),
                };
                (answer, names(&denial.policies))
            }
        };
        assert_eq!(
            got,
            want,
            "seed {seed}, question {number}: {action} {} by {} at {request:?}\n{text}",
            resource.entity,
            caller.uid()
        );
        match want.0 {
            Answer::Permitted => seen.permitted += 1,
            Answer::Forbidden => seen.forbidden += 1,
            Answer::Nothing => seen.nothing += 1,
            Answer::Failed => seen.failed += 1,
        }
        if want.1.len() > 1 {
            seen.several += 1;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Permitted,
    Forbidden,
    Nothing,
    Failed,
}

fn names(ids: &[Arc<str>]) -> BTreeSet<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn plain_policies(text: &str) -> cedar_policy::PolicySet {
    let parsed = cedar_policy::PolicySet::from_str(text).unwrap();
    let named = parsed
        .policies()
        .map(|policy| policy.new_id(cedar_policy::PolicyId::new(policy.annotation("id").unwrap())));
    cedar_policy::PolicySet::from_policies(named).unwrap()
}

/// Every policy and every entity in Cedar's own hands. Any failure is a denial.
fn ask_plain(
    policies: &cedar_policy::PolicySet,
    entities: &Entities,
    caller: &Caller,
    resource: &Thing,
    action: Action,
    facts: &RequestFacts<'_>,
) -> (Answer, BTreeSet<String>) {
    let text = |text: &str| Value::new_string(text.to_owned());
    let mut context = vec![
        ("method".to_owned(), text(facts.method)),
        ("host".to_owned(), text(facts.host)),
        ("path".to_owned(), text(facts.path)),
        ("route".to_owned(), text(facts.route)),
        ("token_age".to_owned(), Value::new_long(facts.token_age)),
        ("weekday".to_owned(), Value::new_long(facts.weekday())),
        (
            "time".to_owned(),
            Value::new_datetime(
                chrono::DateTime::from_timestamp(facts.unix_time, 0)
                    .unwrap()
                    .format("%Y-%m-%dT%H:%M:%SZ")
                    .to_string(),
            ),
        ),
    ];
    for (name, value) in [
        ("source", facts.source),
        ("destination", facts.destination),
        ("justification", facts.justification),
    ] {
        context.extend(value.map(|value| (name.to_owned(), text(value))));
    }
    let request = Request::new(
        caller.uid(),
        uid("Action", action.as_str()),
        resource.uid(),
        Context::from_pairs(context).unwrap(),
        None,
    )
    .unwrap();
    let response = Authorizer::new().is_authorized(&request, policies, entities);
    let diagnostics = response.diagnostics();
    let failed: BTreeSet<String> = diagnostics
        .errors()
        .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
            error.policy_id().to_string()
        })
        .collect();
    if !failed.is_empty() {
        return (Answer::Failed, failed);
    }
    let reasons: BTreeSet<String> = diagnostics.reason().map(ToString::to_string).collect();
    match response.decision() {
        Decision::Allow => (Answer::Permitted, reasons),
        Decision::Deny if reasons.is_empty() => (Answer::Nothing, reasons),
        Decision::Deny => (Answer::Forbidden, reasons),
    }
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_str(&format!("{kind}::\"{id}\"")).unwrap()
}

/// A generated catalog and its callers.
struct World {
    groups: Vec<EntityRef>,
    /// Direct parents, by place; always earlier ones.
    parents: Vec<Vec<usize>>,
    directory: Vec<GroupId>,
    /// The group that each of the directory's is bound to.
    bound: Vec<Option<usize>>,
    resources: Vec<Thing>,
    callers: Vec<Caller>,
}

struct Thing {
    entity: EntityRef,
    owners: Vec<usize>,
    /// Direct, by place; always earlier ones.
    within: Vec<usize>,
    spec_type: Option<&'static str>,
    lifecycle: Option<&'static str>,
    tags: Vec<&'static str>,
}

struct Caller {
    identity: Arc<Identity>,
    listed: Option<Arc<[GroupId]>>,
    /// Direct, by the catalog.
    groups: Vec<usize>,
}

impl Thing {
    fn kind(&self) -> &'static str {
        match self.entity.kind() {
            "component" => "Component",
            "api" => "API",
            "system" => "System",
            _ => "Domain",
        }
    }

    fn uid(&self) -> EntityUid {
        uid(self.kind(), self.entity.as_str())
    }
}

impl Caller {
    fn uid(&self) -> EntityUid {
        let kind = if self.identity.delegated { "User" } else { "Workload" };
        uid(kind, &format!("{}/{}", self.identity.tenant, self.identity.object))
    }

    fn entra_groups(&self) -> Cow<'_, [GroupId]> {
        self.listed.as_deref().map_or_else(|| self.identity.groups(), Cow::Borrowed)
    }
}

const TAGS: [&str; 3] = ["frozen", "pii", "agents-may-read"];
const ROLES: [&str; 3] = ["Reader", "Writer", "Admin"];

impl World {
    fn of(rng: &mut SmallRng) -> Self {
        let count = 8;
        let groups: Vec<_> =
            (0..count).map(|n| EntityRef::parse(&format!("group:default/g{n}")).unwrap()).collect();
        let parents =
            (0..count).map(|n| (0..n).filter(|_| rng.random_ratio(1, 5)).collect()).collect();
        let directory: Vec<GroupId> = (0..5)
            .map(|n| format!("aaaaaaaa-0000-0000-0000-00000000000{n}").parse().unwrap())
            .collect();
        let bound = directory
            .iter()
            .map(|_| rng.random_ratio(2, 3).then(|| rng.random_range(0..count)))
            .collect();
        let mut resources: Vec<Thing> = Vec::new();
        for (kind, count) in [("domain", 3), ("system", 3), ("component", 5), ("api", 2)] {
            for n in 0..count {
                let fits = |thing: &Thing| match kind {
                    "domain" | "system" => thing.entity.kind() == "domain",
                    _ => matches!(thing.entity.kind(), "domain" | "system"),
                };
                let all: Vec<usize> =
                    (0..resources.len()).filter(|at| fits(&resources[*at])).collect();
                // One system at most, and one domain: what Backstage lets an entity say.
                let mut within: Vec<usize> = Vec::new();
                for whole in ["domain", "system"] {
                    let of_kind: Vec<_> =
                        all.iter().filter(|at| resources[**at].entity.kind() == whole).collect();
                    if let Some(at) = of_kind.choose(rng)
                        && rng.random_ratio(1, 2)
                    {
                        within.push(**at);
                    }
                }
                resources.push(Thing {
                    entity: EntityRef::parse(&format!("{kind}:default/{kind}{n}")).unwrap(),
                    owners: (0..8).filter(|_| rng.random_ratio(1, 5)).collect(),
                    within,
                    spec_type: [None, Some("service"), Some("library")]
                        .choose(rng)
                        .unwrap()
                        .to_owned(),
                    lifecycle: [None, Some("production"), Some("deprecated")]
                        .choose(rng)
                        .unwrap()
                        .to_owned(),
                    tags: TAGS.into_iter().filter(|_| rng.random_ratio(1, 3)).collect(),
                });
            }
        }
        let callers = (0..6).map(|n| Self::caller(rng, n, &directory)).collect();
        Self { groups, parents, directory, bound, resources, callers }
    }

    fn caller(rng: &mut SmallRng, n: usize, directory: &[GroupId]) -> Caller {
        let mut some = || -> Vec<GroupId> {
            directory.iter().copied().filter(|_| rng.random_ratio(1, 4)).collect()
        };
        let (groups, listed) = (some(), some());
        let delegated = n.is_multiple_of(2);
        let kind = match (delegated, n) {
            (_, 4 | 5) => IdentityKind::Agent,
            (true, _) => IdentityKind::User,
            (false, _) => IdentityKind::Workload,
        };
        let holder = Holder {
            tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            object: format!("bbbbbbbb-0000-0000-0000-00000000000{n}").parse().unwrap(),
            kind,
            delegated,
            client: rng
                .random_ratio(1, 2)
                .then(|| "cccccccc-0000-0000-0000-000000000001".parse().unwrap()),
            groups: groups.into(),
            group_names: Box::new([]),
            groups_elsewhere: false,
            roles: ROLES.into_iter().filter(|_| rng.random_ratio(1, 3)).map(Into::into).collect(),
            scopes: Box::new([]),
            issued_at: 0,
            expires_at: 0,
            facts: TokenFacts {
                guest: rng.random_ratio(1, 4),
                auth_contexts: if rng.random_ratio(1, 2) {
                    ["c1".into()].into()
                } else {
                    [].into()
                },
                ..TokenFacts::default()
            },
        };
        Caller {
            identity: holder.into(),
            listed: rng.random_ratio(1, 3).then(|| listed.into()),
            groups: if delegated {
                (0..8).filter(|_| rng.random_ratio(1, 6)).collect()
            } else {
                vec![]
            },
        }
    }

    fn above(&self, group: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        for parent in &self.parents[group] {
            all.insert(*parent);
            all.extend(self.above(*parent));
        }
        all
    }

    fn wholes(&self, thing: &Thing) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        for whole in &thing.within {
            all.insert(*whole);
            all.extend(self.wholes(&self.resources[*whole]));
        }
        all
    }

    fn facts<'a>(&'a self, thing: &'a Thing) -> ResourceFacts<'a> {
        let of_kind = |thing: &'a Thing, kind: &str| {
            let mut within = thing.within.iter().map(|at| &self.resources[*at]);
            within.find(|whole| whole.entity.kind() == kind)
        };
        let system = of_kind(thing, "system");
        let domain = of_kind(thing, "domain").or_else(|| of_kind(system?, "domain"));
        ResourceFacts {
            entity: &thing.entity,
            owners: thing.owners.iter().map(|at| &self.groups[*at]).collect(),
            spec_type: thing.spec_type,
            lifecycle: thing.lifecycle,
            tags: thing.tags.clone(),
            system: system.map(|system| &system.entity),
            domain: domain.map(|domain| &domain.entity),
            part_of: self.wholes(thing).into_iter().map(|at| &self.resources[at].entity).collect(),
        }
    }

    /// Everything, with direct edges only: Cedar finds what follows from them.
    fn entities(&self) -> Entities {
        let group = |at: &usize| uid("Group", self.groups[*at].as_str());
        let mut all = Vec::new();
        for (at, parents) in self.parents.iter().enumerate() {
            all.push(Entity::new_no_attrs(group(&at), parents.iter().map(group).collect()));
        }
        for (id, bound) in self.directory.iter().zip(&self.bound) {
            let parents = bound.iter().map(group).collect();
            all.push(Entity::new_no_attrs(uid("EntraGroup", &id.to_string()), parents));
        }
        let texts = |texts: Vec<&str>| {
            Value::new_set(texts.into_iter().map(|text| Value::new_string(text.to_owned())))
        };
        let text = |text: &str| Value::new_string(text.to_owned());
        for thing in &self.resources {
            let facts = self.facts(thing);
            let owners = thing.owners.iter().map(|at| Value::new_entity_uid(group(at)));
            let mut attributes = HashMap::from([
                ("owners".to_owned(), Value::new_set(owners)),
                ("kind".to_owned(), text(thing.entity.kind())),
                ("namespace".to_owned(), text(thing.entity.namespace())),
                ("name".to_owned(), text(thing.entity.name())),
                ("tags".to_owned(), texts(thing.tags.clone())),
            ]);
            for (name, value) in [("type", thing.spec_type), ("lifecycle", thing.lifecycle)] {
                attributes.extend(value.map(|value| (name.to_owned(), text(value))));
            }
            if let Some(system) = facts.system {
                let system = Value::new_entity_uid(uid("System", system.as_str()));
                attributes.insert("system".to_owned(), system);
            }
            if let Some(domain) = facts.domain {
                let domain = Value::new_entity_uid(uid("Domain", domain.as_str()));
                attributes.insert("domain".to_owned(), domain);
            }
            let parents: HashSet<_> =
                thing.within.iter().map(|at| self.resources[*at].uid()).collect();
            all.push(Entity::new(thing.uid(), attributes, parents).unwrap());
        }
        for caller in &self.callers {
            let identity = &caller.identity;
            let listed = caller.entra_groups();
            let entra = listed.iter().map(|id| uid("EntraGroup", &id.to_string()));
            let parents = entra.chain(caller.groups.iter().map(group)).collect();
            let strings = |all: &[Box<str>]| texts(all.iter().map(|text| &**text).collect());
            let mut attributes = HashMap::from([
                ("tenant".to_owned(), text(&identity.tenant.to_string())),
                ("object".to_owned(), text(&identity.object.to_string())),
                ("kind".to_owned(), text(identity.kind.as_str())),
                ("agent".to_owned(), Value::new_bool(identity.kind == IdentityKind::Agent)),
                ("guest".to_owned(), Value::new_bool(identity.facts.guest)),
                ("scopes".to_owned(), strings(&identity.scopes)),
                ("roles".to_owned(), strings(&identity.roles)),
                ("directory_roles".to_owned(), strings(&identity.facts.directory_roles)),
                ("auth_contexts".to_owned(), strings(&identity.facts.auth_contexts)),
            ]);
            if let Some(client) = identity.client {
                attributes.insert("client".to_owned(), text(&client.to_string()));
            }
            all.push(Entity::new(caller.uid(), attributes, parents).unwrap());
        }
        for (at, action) in Action::ALL.iter().enumerate() {
            let above = Action::ALL.get(at + 1).map(|above| uid("Action", above.as_str()));
            all.push(Entity::new_no_attrs(
                uid("Action", action.as_str()),
                above.into_iter().collect(),
            ));
        }
        Entities::from_entities(all, None).unwrap()
    }
}

/// What the engine is told, worked out the slow way.
struct Known<'a> {
    world: &'a World,
    caller: &'a Caller,
    resource: &'a Thing,
}

impl Facts for Known<'_> {
    fn groups(&self) -> Vec<&EntityRef> {
        let world = self.world;
        let mut all: BTreeSet<usize> = self.caller.groups.iter().copied().collect();
        for id in self.caller.entra_groups().iter() {
            let at = world.directory.iter().position(|other| other == id).unwrap();
            all.extend(world.bound[at]);
        }
        let above: Vec<_> = all.iter().flat_map(|at| world.above(*at)).collect();
        all.extend(above);
        all.into_iter().map(|at| &world.groups[at]).collect()
    }

    fn target(&self) -> Option<ResourceFacts<'_>> {
        Some(self.world.facts(self.resource))
    }

    fn resource(&self, entity: &EntityRef) -> Option<ResourceFacts<'_>> {
        let thing = self.world.resources.iter().find(|thing| thing.entity == *entity)?;
        Some(self.world.facts(thing))
    }

    fn above(&self, group: &EntityRef) -> Vec<&EntityRef> {
        let Some(at) = self.world.groups.iter().position(|other| other == group) else {
            return Vec::new();
        };
        self.world.above(at).into_iter().map(|at| &self.world.groups[at]).collect()
    }

    fn bound(&self, id: &GroupId) -> Option<&EntityRef> {
        let at = self.world.directory.iter().position(|other| other == id)?;
        self.world.bound[at].map(|at| &self.world.groups[at])
    }
}

/// A generated set of policies.
fn policies(rng: &mut SmallRng, world: &World) -> String {
    let count = rng.random_range(1..=14);
    let mut text = String::new();
    for number in 0..count {
        let effect = if rng.random_ratio(2, 3) { "permit" } else { "forbid" };
        let scope = format!(
            "{}, {}, {}",
            principal_scope(rng, world),
            action_scope(rng),
            resource_scope(rng, world)
        );
        let mut conditions = String::new();
        for _ in 0..rng.random_range(0..=2) {
            let word = if rng.random_ratio(3, 4) { "when" } else { "unless" };
            conditions.push_str(&format!(" {word} {{ {} }}", condition(rng, world, 2)));
        }
        text.push_str(&format!("@id(\"p{number}\") {effect} ({scope}){conditions};\n"));
    }
    text
}

fn group(rng: &mut SmallRng, world: &World) -> String {
    // Some that nobody is in, and some that are no group at all.
    match rng.random_range(0..12) {
        0 => "Group::\"group:default/nobody\"".to_owned(),
        1 => "Group::\"Group:default/g1\"".to_owned(),
        _ => format!("Group::\"{}\"", world.groups.choose(rng).unwrap()),
    }
}

fn entra_group(rng: &mut SmallRng, world: &World) -> String {
    match rng.random_range(0..12) {
        0 => "EntraGroup::\"AAAAAAAA-0000-0000-0000-000000000001\"".to_owned(),
        1 => "EntraGroup::\"no id\"".to_owned(),
        _ => format!("EntraGroup::\"{}\"", world.directory.choose(rng).unwrap()),
    }
}

fn caller(rng: &mut SmallRng, world: &World) -> String {
    world.callers.choose(rng).unwrap().uid().to_string()
}

fn thing(rng: &mut SmallRng, world: &World) -> String {
    world.resources.choose(rng).unwrap().uid().to_string()
}

fn whole(rng: &mut SmallRng, world: &World) -> String {
    let wholes: Vec<_> = world
        .resources
        .iter()
        .filter(|thing| matches!(thing.entity.kind(), "system" | "domain"))
        .collect();
    wholes.choose(rng).unwrap().uid().to_string()
}

fn principal_scope(rng: &mut SmallRng, world: &World) -> String {
    match rng.random_range(0..9) {
        0..=2 => "principal".to_owned(),
        3 => format!("principal is {}", ["User", "Workload"].choose(rng).unwrap()),
        4 => format!("principal == {}", caller(rng, world)),
        5 | 6 => format!("principal in {}", group(rng, world)),
        7 => format!("principal in {}", entra_group(rng, world)),
        _ => format!("principal is User in {}", group(rng, world)),
    }
}

fn action_scope(rng: &mut SmallRng) -> String {
    let name = |rng: &mut SmallRng| Action::ALL.choose(rng).unwrap().as_str();
    match rng.random_range(0..5) {
        0 | 1 => "action".to_owned(),
        2 => format!("action == Action::\"{}\"", name(rng)),
        3 => format!("action in Action::\"{}\"", name(rng)),
        _ => format!("action in [Action::\"{}\", Action::\"{}\"]", name(rng), name(rng)),
    }
}

fn resource_scope(rng: &mut SmallRng, world: &World) -> String {
    match rng.random_range(0..9) {
        0..=3 => "resource".to_owned(),
        4 => format!(
            "resource is {}",
            ["Component", "API", "System", "Domain", "Template"].choose(rng).unwrap()
        ),
        5 | 6 => format!("resource == {}", thing(rng, world)),
        7 => format!("resource in {}", whole(rng, world)),
        _ => {
            // A type that can be in such a whole, or the set would not be accepted.
            format!("resource is Component in {}", whole(rng, world))
        }
    }
}

/// A condition that holds for every type that the variables can have.
fn condition(rng: &mut SmallRng, world: &World, depth: usize) -> String {
    if depth > 0 && rng.random_ratio(1, 3) {
        let left = condition(rng, world, depth - 1);
        let right = condition(rng, world, depth - 1);
        return match rng.random_range(0..4) {
            0 => format!("({left} || {right})"),
            1 => format!("!({left})"),
            2 => format!("(if {left} then {right} else {})", condition(rng, world, 0)),
            _ => format!("({left} && {right})"),
        };
    }
    let number = rng.random_range(0..24);
    match number {
        0 | 1 => "principal in resource.owners".to_owned(),
        2 => format!("principal in {}", group(rng, world)),
        3 => format!("principal in [{}, {}]", entra_group(rng, world), entra_group(rng, world)),
        4 => format!("resource.owners.contains({})", group(rng, world)),
        5 => format!("resource.owners.containsAny([{}, {}])", group(rng, world), group(rng, world)),
        6 => "resource.owners.isEmpty()".to_owned(),
        7 => format!("resource.tags.contains(\"{}\")", TAGS.choose(rng).unwrap()),
        8 => "(resource has lifecycle && resource.lifecycle == \"production\")".to_owned(),
        9 => format!("principal.roles.contains(\"{}\")", ROLES.choose(rng).unwrap()),
        10 => "principal.agent".to_owned(),
        11 => {
            "(principal has client && principal.client == \"cccccccc-0000-0000-0000-000000000001\")"
                .to_owned()
        }
        12 => "principal.auth_contexts.contains(\"c1\")".to_owned(),
        13 => "context.path like \"/v1/*\"".to_owned(),
        14 => "(context has source && context.source like \"spiffe://mesh/ns/a/*\")".to_owned(),
        15 => "context has justification".to_owned(),
        16 => format!("context.weekday > {}", rng.random_range(1..7)),
        17 => format!("context.token_age < {}", rng.random_range(0..4)),
        18 => "(resource has domain && principal in resource.domain.owners)".to_owned(),
        19 => format!("(resource has domain && resource.domain in {})", domain(rng, world)),
        20 => format!("{} in {}", group(rng, world), group(rng, world)),
        21 => format!("{} in {}", entra_group(rng, world), group(rng, world)),
        // Another entity than the one that is asked for, by its name.
        22 => {
            let thing = thing(rng, world);
            ["principal in T.owners", "T.tags.contains(\"pii\")"]
                .choose(rng)
                .unwrap()
                .replace('T', &thing)
        }
        // Fails for a token that is not quite fresh.
        _ => "context.token_age + 9223372036854775806 > 0".to_owned(),
    }
}

fn domain(rng: &mut SmallRng, world: &World) -> String {
    let domains: Vec<_> =
        world.resources.iter().filter(|thing| thing.entity.kind() == "domain").collect();
    domains.choose(rng).unwrap().uid().to_string()
}
