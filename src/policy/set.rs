//! A set of policies: parsed, checked against the schema, ready to decide.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use aws_lc_rs::digest;
use cedar_policy::{PolicyId, Schema, ValidationMode, Validator};

use super::error::{PolicyError, PolicyErrors};
use super::model::Model;
use super::settings::PolicySettings;
use crate::domain::GroupId;

/// The entity model, as policies are checked against it.
pub const SCHEMA: &str = include_str!("stagedoor.cedarschema");

/// The policy that decides where none is configured: owners, and nobody else.
const BUILTIN: &str = include_str!("builtin.cedar");

/// An immutable, checked policy set.
#[derive(Debug)]
pub struct PolicySet {
    pub(super) cedar: cedar_policy::PolicySet,
    pub(super) model: Model,
    pub(super) policies: HashMap<PolicyId, PolicyInfo>,
    entra_groups: Box<[GroupId]>,
    version: Arc<str>,
}

/// What is known of a policy beyond its rule.
#[derive(Clone, Debug)]
pub(super) struct PolicyInfo {
    pub(super) id: Arc<str>,
    /// `@reason`: what a denied person reads.
    pub(super) reason: Option<Arc<str>>,
    /// `@challenge` of a `forbid`: what a new token would have to say.
    pub(super) challenge: Option<Demand>,
}

/// What a new token would have to say for a `forbid` not to apply.
#[derive(Clone, Debug)]
pub(super) enum Demand {
    /// An authentication context.
    AuthContext(Box<str>),
    /// A fresh sign-in.
    SignIn,
}

/// A policy file that was read.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// Where it came from.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
}

impl PolicySet {
    /// Reads and checks the configured files; the built-in policy where there are
    /// none.
    ///
    /// # Errors
    /// Every mistake in every file. A set with a mistake is never used.
    pub fn load(settings: &PolicySettings) -> Result<Self, PolicyErrors> {
        let mut sources = Vec::new();
        let mut errors = Vec::new();
        for file in &settings.files {
            match std::fs::read_to_string(file) {
                Ok(text) => sources.push(PolicySource { file: file.clone(), text }),
                Err(cause) => {
                    errors.push(PolicyError::plain(file, format!("not readable: {cause}")))
                }
            }
        }
        if errors.is_empty() {
            return Self::of(&sources);
        }
        // What can be read is judged all the same, so that one run tells everything;
        // where nothing can, the built-in policy is not what was meant.
        if !sources.is_empty()
            && let Err(more) = Self::of(&sources)
        {
            errors.extend(more.0);
        }
        Err(PolicyErrors(errors))
    }

    /// Checks the given texts; the built-in policy where there are none.
    ///
    /// # Errors
    /// Every mistake in every text.
    pub fn of(sources: &[PolicySource]) -> Result<Self, PolicyErrors> {
        let builtin = [PolicySource { file: "builtin".into(), text: BUILTIN.to_owned() }];
        let sources = if sources.is_empty() { &builtin } else { sources };
        let schema = schema()?;
        let model = Model::new().map_err(|cause| PolicyErrors(vec![defect(&cause)]))?;

        let mut reader = Reader::default();
        for source in sources {
            reader.read(source);
        }
        if reader.errors.is_empty() {
            reader.validate(sources, schema);
        }
        if reader.errors.is_empty() && reader.policies.is_empty() {
            // Denying everybody is safe, but never what an empty file was meant to say.
            let file = sources.first().map_or_else(PathBuf::new, |source| source.file.clone());
            reader.errors.push(PolicyError::plain(&file, "no policy in any of the files"));
        }
        if !reader.errors.is_empty() {
            return Err(PolicyErrors(reader.errors));
        }
        Ok(Self {
            entra_groups: entra_groups(&reader.cedar),
            cedar: reader.cedar,
            model,
            policies: reader.policies,
            version: version(sources),
        })
    }

    /// Hash of the schema and of every policy text, in order.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The directory's groups that policies name, sorted: what must be known of a caller
    /// beyond the groups that the catalog binds.
    #[must_use]
    pub fn entra_groups(&self) -> &[GroupId] {
        &self.entra_groups
    }

    /// The entities that policies name: the policy's id, the type and the name of each.
    #[must_use]
    pub fn names(&self) -> Vec<(Arc<str>, String, String)> {
        let mut names = Vec::new();
        for policy in self.cedar.policies() {
            let Some(info) = self.policies.get(policy.id()) else { continue };
            for entity in policy.entity_literals() {
                let (kind, name) = (entity.type_name().to_string(), entity.id().unescaped());
                names.push((Arc::clone(&info.id), kind, name.to_owned()));
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// The ids of the policies, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<Arc<str>> {
        let mut ids: Vec<_> = self.policies.values().map(|info| Arc::clone(&info.id)).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are none. A loaded set never is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

fn schema() -> Result<Schema, PolicyErrors> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(cause) => Err(PolicyErrors(vec![defect(&cause)])),
    }
}

/// The shipped schema doesn't parse: not the operator's doing, but still an error
/// and not a panic.
fn defect(cause: &dyn std::fmt::Display) -> PolicyError {
    PolicyError::plain(Path::new("stagedoor.cedarschema"), cause.to_string())
}

#[derive(Default)]
struct Reader {
    cedar: cedar_policy::PolicySet,
    policies: HashMap<PolicyId, PolicyInfo>,
    /// Which source a policy came from.
    origin: BTreeMap<String, usize>,
    sources: usize,
    errors: Vec<PolicyError>,
}

impl Reader {
    fn read(&mut self, source: &PolicySource) {
        let index = self.sources;
        self.sources += 1;
        let parsed = match cedar_policy::PolicySet::from_str(&source.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                for error in errors.iter() {
                    self.errors.push(PolicyError::cedar(&source.file, &source.text, error));
                }
                return;
            }
        };
        for template in parsed.templates() {
            self.error(
                source,
                format!("`{}` is a template: slots are not supported", template.id()),
            );
        }
        for policy in parsed.policies() {
            // Enforcing what was meant to be tried out would be a surprise either way.
            if policy.annotation("mode").is_some() {
                self.error(
                    source,
                    format!("`{}` has `@mode`, which is not supported yet", policy.id()),
                );
            }
            let id = policy.annotation("id").map_or_else(
                || format!("{}#{}", source.file.display(), policy.id()),
                str::to_owned,
            );
            if let Some(first) = self.origin.insert(id.clone(), index) {
                let place = if first == index { "in this file" } else { "in another file" };
                self.error(source, format!("`@id(\"{id}\")` stands twice, once more {place}"));
                continue;
            }
            let challenge = match policy.annotation("challenge").map(|text| demand(policy, text)) {
                None => None,
                Some(Ok(demand)) => Some(demand),
                Some(Err(message)) => {
                    self.error(source, format!("`{id}`: {message}"));
                    None
                }
            };
            let info = PolicyInfo {
                challenge,
                id: id.as_str().into(),
                reason: policy.annotation("reason").filter(|text| !text.is_empty()).map(Into::into),
            };
            let policy_id = PolicyId::new(&id);
            if let Err(cause) = self.cedar.add(policy.new_id(policy_id.clone())) {
                self.error(source, cause.to_string());
                continue;
            }
            self.policies.insert(policy_id, info);
        }
    }

    fn validate(&mut self, sources: &[PolicySource], schema: Schema) {
        let result = Validator::new(schema).validate(&self.cedar, ValidationMode::Strict);
        let mut found = Vec::new();
        for error in result.validation_errors() {
            let id: &str = error.policy_id().as_ref();
            let source = self.origin.get(id).and_then(|&index| sources.get(index));
            if let Some(source) = source {
                found.push(PolicyError::cedar(&source.file, &source.text, error));
            } else {
                found.push(PolicyError::plain(Path::new(id), error.to_string()));
            }
        }
        // Cedar repeats a mistake for each type that a variable can have, in no
        // order: once for each place is enough.
        found.sort();
        found.dedup_by(|a, b| a.place.is_some() && (&a.file, a.place) == (&b.file, b.place));
        self.errors.append(&mut found);
    }

    fn error(&mut self, source: &PolicySource, message: String) {
        self.errors.push(PolicyError::plain(&source.file, message));
    }
}

/// What `@challenge` asks for.
fn demand(policy: &cedar_policy::Policy, text: &str) -> Result<Demand, &'static str> {
    if policy.effect() != cedar_policy::Effect::Forbid {
        return Err("`@challenge` is for a `forbid`, which a new token could lift");
    }
    let name = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    match text {
        "sign_in" => Ok(Demand::SignIn),
        context if name => Ok(Demand::AuthContext(context.into())),
        _ => Err("`@challenge` is an authentication context such as `c1`, or `sign_in`"),
    }
}

/// The literals `EntraGroup::"<object id>"`. One that is no id names no group.
fn entra_groups(policies: &cedar_policy::PolicySet) -> Box<[GroupId]> {
    let mut ids: Vec<GroupId> = policies
        .policies()
        .flat_map(cedar_policy::Policy::entity_literals)
        .filter(|literal| literal.type_name().to_string() == "EntraGroup")
        .filter_map(|literal| literal.id().unescaped().parse().ok())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into()
}

fn version(sources: &[PolicySource]) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    // Each text with its length before it, so that moving a line from one file to
    // the next is another version.
    for text in std::iter::once(SCHEMA).chain(sources.iter().map(|source| source.text.as_str())) {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
