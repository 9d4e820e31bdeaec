//! A set of policies: parsed, checked against the schema, ready to decide.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::engine::Engine;
use super::error::{PolicyError, PolicyErrors};
use super::memory::MemoryStats;
use super::model::{self, Names};
use super::parse::parse;
use super::rule::{Mode, PolicyInfo, Rule};
use super::settings::PolicySettings;
use super::source::{self, PolicySource, Read};
use super::stats::PolicyStats;
use crate::domain::{GroupId, ShadowSet};

/// The policy that decides where none is configured: owners, and nobody else.
const BUILTIN: &str = include_str!("builtin.cedar");

/// An immutable, checked policy set.
#[derive(Debug)]
pub struct PolicySet {
    pub(super) names: Names,
    /// What decides.
    pub(super) enforced: Engine,
    /// What warns those who may.
    pub(super) warnings: Option<Engine>,
    /// What is evaluated beside.
    pub(super) shadows: Vec<(ShadowSet, Engine)>,
    pub(super) shadow_sample: u8,
    pub(super) stats: Arc<PolicyStats>,
    /// Policies of the files in force, in the order of the files.
    pub(super) rules: Vec<Arc<Rule>>,
    odd: Vec<PolicyError>,
    entra_groups: Box<[GroupId]>,
    version: Arc<str>,
}

impl PolicySet {
    /// Reads and checks the configured files; the built-in policy where there are none.
    ///
    /// # Errors
    /// Every mistake in every file. A set with a mistake is never used.
    pub fn load(settings: &PolicySettings) -> Result<Self, PolicyErrors> {
        Self::of_read(source::read_all(settings), settings, Arc::default())
    }

    /// A set of what was read.
    pub(super) fn of_read(
        [files, shadow]: Read,
        settings: &PolicySettings,
        stats: Arc<PolicyStats>,
    ) -> Result<Self, PolicyErrors> {
        match (files, shadow) {
            (Ok(files), Ok(shadow)) => Self::build(&files, &shadow, settings, stats),
            // What can be read is judged all the same, so that one run tells everything.
            (files, shadow) => {
                let mut errors = Vec::new();
                for read in [files, shadow] {
                    match read {
                        Ok(sources) if sources.is_empty() => {}
                        Ok(sources) => {
                            errors.extend(
                                parse(&sources).err().map(|more| more.0).unwrap_or_default(),
                            );
                        }
                        Err(unreadable) => errors.extend(unreadable.0),
                    }
                }
                Err(PolicyErrors(errors))
            }
        }
    }

    /// Checks the given texts; the built-in policy where there are none.
    ///
    /// # Errors
    /// Every mistake in every text.
    pub fn of(sources: &[PolicySource]) -> Result<Self, PolicyErrors> {
        Self::build(sources, &[], &PolicySettings::default(), Arc::default())
    }

    /// Checks the given texts, and those of a set in the shadow.
    ///
    /// # Errors
    /// Every mistake in every text.
    pub fn with_shadow(
        sources: &[PolicySource],
        shadow: &[PolicySource],
        settings: &PolicySettings,
    ) -> Result<Self, PolicyErrors> {
        Self::build(sources, shadow, settings, Arc::default())
    }

    fn build(
        sources: &[PolicySource],
        shadow: &[PolicySource],
        settings: &PolicySettings,
        stats: Arc<PolicyStats>,
    ) -> Result<Self, PolicyErrors> {
        let builtin = [PolicySource { file: "builtin".into(), text: BUILTIN.to_owned() }];
        let sources = if sources.is_empty() { &builtin } else { sources };
        let names = Names::new().map_err(|cause| {
            PolicyErrors(vec![PolicyError::plain(
                "stagedoor.cedarschema".as_ref(),
                cause.to_string(),
            )])
        })?;
        let parsed = parse(sources);
        let other = if shadow.is_empty() { Ok(Default::default()) } else { parse(shadow) };
        let ((rules, mut odd), (other, more)) = match (parsed, other) {
            (Ok(parsed), Ok(other)) => (parsed, other),
            (Err(mut errors), Err(more)) => {
                errors.0.extend(more.0);
                return Err(errors);
            }
            (Err(errors), _) | (_, Err(errors)) => return Err(errors),
        };
        odd.extend(more);
        let of_mode = |rules: &[Arc<Rule>], modes: &[Mode]| -> Vec<Arc<Rule>> {
            rules.iter().filter(|rule| modes.contains(&rule.info.mode)).cloned().collect()
        };
        let engine = |rules: Vec<Arc<Rule>>| Engine::new(rules, settings.memory);
        let some = |rules: Vec<Arc<Rule>>| (!rules.is_empty()).then(|| engine(rules));
        let mut shadows = Vec::new();
        if rules.iter().any(|rule| rule.info.mode == Mode::Shadow) {
            let together = of_mode(&rules, &[Mode::Enforce, Mode::Shadow]);
            shadows.push((ShadowSet::Mode, engine(together)));
        }
        if !shadow.is_empty() {
            shadows.push((ShadowSet::Files, engine(of_mode(&other, &[Mode::Enforce]))));
        }
        Ok(Self {
            names,
            enforced: engine(of_mode(&rules, &[Mode::Enforce])),
            warnings: some(of_mode(&rules, &[Mode::Warn])),
            shadows,
            shadow_sample: settings.shadow_sample,
            stats,
            entra_groups: entra_groups(rules.iter().chain(&other)),
            odd,
            version: version(sources, shadow),
            rules,
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

    /// Whether a policy reads this member of the context.
    #[must_use]
    pub fn reads(&self, member: &str) -> bool {
        let mut read = self.rules.iter().flat_map(|rule| rule.reads.context.iter());
        read.any(|read| read.name() == member)
    }

    /// What is known of each policy, in the order of the files.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyInfo> {
        self.rules.iter().map(|rule| &rule.info)
    }

    /// What is no mistake, but can't be meant: as Cedar sees it.
    #[must_use]
    pub fn odd(&self) -> &[PolicyError] {
        &self.odd
    }

    /// The number of policies, those that don't decide among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none. A loaded set never is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is counted of this set and those before it.
    #[must_use]
    pub fn stats(&self) -> &Arc<PolicyStats> {
        &self.stats
    }

    /// How often an answer was remembered.
    #[must_use]
    pub fn memory(&self) -> MemoryStats {
        self.enforced.stats()
    }
}

/// The literals `EntraGroup::"<object id>"`. One that is no id names no group.
fn entra_groups<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Box<[GroupId]> {
    let mut ids: Vec<GroupId> =
        rules.flat_map(|rule| rule.reads.entra_groups.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into()
}

fn version(sources: &[PolicySource], shadow: &[PolicySource]) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    // Each text with its length before it, so that moving a line from one file to
    // the next is another version.
    let schema = model::schema();
    let texts = |sources: &'_ [PolicySource]| {
        sources.iter().map(|source| source.text.clone()).collect::<Vec<_>>()
    };
    for texts in [vec![schema], texts(sources), texts(shadow)] {
        context.update(&(texts.len() as u64).to_be_bytes());
        for text in texts {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
    }
    let hash = context.finish();
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
