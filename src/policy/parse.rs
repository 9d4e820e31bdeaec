//! From texts to policies, with every mistake and its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, Schema, ValidationMode, Validator};

use super::error::{PolicyError, PolicyErrors, place};
use super::model;
use super::reads::Reads;
use super::rule::{Mode, PolicyInfo, Rule, annotations};
use super::source::PolicySource;

/// The policies of these texts, checked against the schema, and what Cedar finds odd.
///
/// # Errors
/// Every mistake in every text.
pub(super) fn parse(
    sources: &[PolicySource],
) -> Result<(Vec<Arc<Rule>>, Vec<PolicyError>), PolicyErrors> {
    let mut reader = Reader::default();
    for (index, source) in sources.iter().enumerate() {
        reader.read(index, source);
    }
    let mut odd = Vec::new();
    if reader.errors.is_empty() {
        odd = reader.validate(sources, schema()?);
    }
    if reader.errors.is_empty() && reader.rules.is_empty() {
        // Denying everybody is safe, but never what an empty file was meant to say.
        let file = sources.first().map_or(Path::new(""), |source| &source.file);
        reader.errors.push(PolicyError::plain(file, "no policy in any of the files"));
    }
    if reader.errors.is_empty() {
        Ok((reader.rules, odd))
    } else {
        Err(PolicyErrors(reader.errors))
    }
}

/// The schema that policies are checked by.
pub(super) fn schema() -> Result<Schema, PolicyErrors> {
    Schema::from_cedarschema_str(&model::schema()).map(|(schema, _)| schema).map_err(|cause| {
        // Not the operator's doing, but still an error and not a panic.
        let file = Path::new("stagedoor.cedarschema");
        PolicyErrors(vec![PolicyError::plain(file, cause.to_string())])
    })
}

#[derive(Default)]
struct Reader {
    cedar: cedar_policy::PolicySet,
    rules: Vec<Arc<Rule>>,
    /// Which source a policy came from.
    origin: BTreeMap<String, usize>,
    errors: Vec<PolicyError>,
}

impl Reader {
    fn read(&mut self, index: usize, source: &PolicySource) {
        let parsed = match cedar_policy::PolicySet::from_str(&source.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors = errors.iter();
                self.errors.extend(
                    errors.map(|error| PolicyError::cedar(&source.file, &source.text, error)),
                );
                return;
            }
        };
        for template in parsed.templates() {
            let message = format!("`{}` is a template: slots are not supported", template.id());
            self.errors.push(PolicyError::plain(&source.file, message));
        }
        let mut policies: Vec<_> =
            parsed.policies().map(|policy| (offset(policy, &source.text), policy)).collect();
        policies.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.id().cmp(y.id())));
        for (offset, policy) in policies {
            let place = offset.and_then(|offset| place(&source.text, offset));
            self.policy(index, source, policy, place);
        }
    }

    fn policy(
        &mut self,
        index: usize,
        source: &PolicySource,
        policy: &Policy,
        place: Option<(usize, usize)>,
    ) {
        let mut error = |message: String| {
            self.errors.push(PolicyError { file: source.file.clone(), place, message });
        };
        let id = match policy.annotation("id") {
            Some("") => return error("`@id` is empty".to_owned()),
            Some(id) => id.to_owned(),
            None => format!("{}#{}", source.file.display(), policy.id()),
        };
        if let Some(first) = self.origin.insert(id.clone(), index) {
            let place = if first == index { "in this file" } else { "in another file" };
            return error(format!("`@id(\"{id}\")` stands twice, once more {place}"));
        }
        let info = PolicyInfo {
            id: id.as_str().into(),
            file: source.file.clone(),
            place,
            effect: policy.effect(),
            mode: Mode::Enforce,
            reason: None,
            alert: None,
            challenge: None,
        };
        let info = match annotations(policy, info) {
            Ok(info) => info,
            Err(messages) => {
                return messages
                    .into_iter()
                    .for_each(|message| error(format!("`{id}`: {message}")));
            }
        };
        let cedar = policy.new_id(PolicyId::new(&id));
        if let Err(cause) = self.cedar.add(cedar.clone()) {
            return error(cause.to_string());
        }
        let reads = Reads::of(&cedar);
        self.rules.push(Arc::new(Rule { cedar, info, reads }));
    }

    /// Gives back what is no mistake, but can't be meant.
    fn validate(&mut self, sources: &[PolicySource], schema: Schema) -> Vec<PolicyError> {
        let result = Validator::new(schema).validate(&self.cedar, ValidationMode::Strict);
        let said = |id: &PolicyId, error: &dyn miette::Diagnostic| {
            let id: &str = id.as_ref();
            let source = self.origin.get(id).and_then(|&index| sources.get(index));
            match source {
                Some(source) => PolicyError::cedar(&source.file, &source.text, error),
                None => PolicyError::plain(Path::new(id), error.to_string()),
            }
        };
        let once = |mut found: Vec<PolicyError>| {
            // Cedar repeats a mistake for each type that a variable can have, in no
            // order: once for each place is enough.
            found.sort();
            found.dedup_by(|a, b| a.place.is_some() && (&a.file, a.place) == (&b.file, b.place));
            found
        };
        let errors = once(result.validation_errors().map(|e| said(e.policy_id(), e)).collect());
        let odd = once(result.validation_warnings().map(|w| said(w.policy_id(), w)).collect());
        self.errors.extend(errors);
        odd
    }
}

/// Where a policy begins in its file.
fn offset(policy: &Policy, text: &str) -> Option<usize> {
    policy.to_cedar().and_then(|own| text.find(own.trim()))
}
