//! One policy, and what its annotations say.

use std::path::PathBuf;
use std::sync::Arc;

use cedar_policy::{Effect, Policy};

use super::reads::Reads;

/// A policy of a set.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) cedar: Policy,
    pub(super) info: PolicyInfo,
    pub(super) reads: Reads,
}

/// What is known of a policy beyond its rule.
#[derive(Clone, Debug)]
pub struct PolicyInfo {
    /// `@id`, or a name made of file and position.
    pub id: Arc<str>,
    /// The file it stands in.
    pub file: PathBuf,
    /// Line and column of its beginning, counted from 1.
    pub place: Option<(usize, usize)>,
    /// Whether it permits or forbids.
    pub effect: Effect,
    /// What its answer is for.
    pub mode: Mode,
    /// `@reason`: what a denied person reads.
    pub reason: Option<Arc<str>>,
    /// `@alert`: what is said out loud when it decides.
    pub alert: Option<Arc<str>>,
    /// `@challenge` of a `forbid`: what a new token would have to say.
    pub challenge: Option<Demand>,
}

/// What the answer of a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is evaluated, recorded and compared, and decides nothing.
    Shadow,
    /// It decides nothing, but whom it would forbid something is told so.
    Warn,
}

impl Mode {
    /// The name used in annotations and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Warn => "warn",
        }
    }
}

/// What a new token would have to say for a `forbid` not to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// An authentication context.
    AuthContext(Box<str>),
    /// A fresh sign-in.
    SignIn,
}

/// The annotations that mean something. Any other is a mistake: a misspelled `@mode`
/// would have a policy enforced that was to be tried out.
const KNOWN: [&str; 6] = ["id", "reason", "challenge", "mode", "alert", "description"];

/// Reads the annotations of a policy, except for its id.
///
/// # Errors
/// Each that is unknown, or does not say what it has to.
pub(super) fn annotations(policy: &Policy, info: PolicyInfo) -> Result<PolicyInfo, Vec<String>> {
    let mut errors = Vec::new();
    for (name, _) in policy.annotations() {
        if !KNOWN.contains(&name) {
            let near = crate::nearest::nearest(name, &KNOWN);
            let near = near.map(|near| format!(": did you mean `@{near}`?")).unwrap_or_default();
            errors.push(format!("`@{name}` is not known here{near}"));
        }
    }
    let text = |name: &str| policy.annotation(name).filter(|text| !text.is_empty()).map(Arc::from);
    let mode = mode(policy).unwrap_or_else(|error| {
        errors.push(error.to_owned());
        Mode::Enforce
    });
    let challenge = policy.annotation("challenge").map(|text| demand(policy, text)).transpose();
    let challenge = challenge.unwrap_or_else(|error| {
        errors.push(error.to_owned());
        None
    });
    if policy.annotation("alert") == Some("") {
        errors.push("`@alert` says what is to be said out loud".to_owned());
    }
    if mode == Mode::Warn && policy.annotation("reason").is_none_or(str::is_empty) {
        errors.push("`@mode(\"warn\")` needs a `@reason`: what is the caller told?".to_owned());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(PolicyInfo { mode, reason: text("reason"), alert: text("alert"), challenge, ..info })
}

fn mode(policy: &Policy) -> Result<Mode, &'static str> {
    match policy.annotation("mode") {
        None | Some("enforce") => Ok(Mode::Enforce),
        Some("shadow") => Ok(Mode::Shadow),
        Some("warn") if policy.effect() == Effect::Forbid => Ok(Mode::Warn),
        Some("warn") => Err("`@mode(\"warn\")` is for a `forbid`: it warns of what it would deny"),
        Some(_) => Err("`@mode` is `enforce`, `shadow` or `warn`"),
    }
}

/// What `@challenge` asks for.
fn demand(policy: &Policy, text: &str) -> Result<Demand, &'static str> {
    if policy.effect() != Effect::Forbid {
        return Err("`@challenge` is for a `forbid`, which a new token could lift");
    }
    let name = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    match text {
        "sign_in" => Ok(Demand::SignIn),
        context if name => Ok(Demand::AuthContext(context.into())),
        _ => Err("`@challenge` is an authentication context such as `c1`, or `sign_in`"),
    }
}
