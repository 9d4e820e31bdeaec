//! One YAML file becomes the settings of every part, or a list of all its mistakes.
//!
//! A file is judged twice: its shape by the schema that [`schema()`] shows, and what
//! its values mean by rules of our own. Both name the place of each mistake and what
//! is expected there. Nothing is taken on trust: an unknown key is a mistake, and
//! each relaxation has a name of its own.

mod bounds;
mod check;
mod document;
mod fixed;
mod language;
mod load;
mod problem;
mod schema;
mod structure;
mod values;
mod warnings;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use bounds::MemoryBound;
pub use fixed::Fixed;
pub use problem::{Problem, Problems};
pub use schema::schema;

use crate::audit::AuditSettings;
use crate::catalog::{CatalogSettings, Membership};
use crate::domain::EntityRef;
use crate::entra::EntraSettings;
use crate::ext_authz::{AnswerSettings, CheckSettings, Denials, Dialect, IdentityHeaders};
use crate::policy::PolicySettings;
use crate::routing::{Delegations, RouteSettings, RouteTable};
use crate::serve::ServeSettings;
use crate::telemetry::TelemetrySettings;
use crate::tls::{Authorities, TlsSettings};

/// Everything a file says, checked, with its defaults filled in and its relative
/// paths resolved against its folder. Holds no secret: those stay in their files.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where health, readiness and metrics are.
    pub admin: SocketAddr,
    /// What the admin port shows, if it has TLS.
    pub admin_tls: Option<TlsSettings>,
    /// The file with the token that the admin port asks for.
    pub admin_token_file: Option<PathBuf>,
    /// The listeners that are asked for decisions.
    pub serve: ServeSettings,
    /// How those of them are asked that don't speak gRPC, if there are any.
    pub http: Option<Dialect>,
    /// What those of them show that have TLS.
    pub tls: Option<TlsSettings>,
    /// The same for those that don't speak gRPC.
    pub http_tls: Option<TlsSettings>,
    /// Who is trusted beside the system's authorities.
    pub authorities: Authorities,
    /// Which tokens are accepted.
    pub entra: EntraSettings,
    /// Where the groups come from that a token doesn't list.
    pub overage: OverageFrom,
    /// Where ownership comes from.
    pub catalog: CatalogSettings,
    /// Which side says who is in a group.
    pub membership: Membership,
    /// Which requests are for which entity.
    pub routes: Vec<RouteSettings>,
    /// The same, ready to be asked.
    pub route_table: RouteTable,
    /// What the catalog may add to it.
    pub delegations: Delegations,
    /// Where policies come from.
    pub policy: PolicySettings,
    /// Whose members get explanations with their answers.
    pub debug_groups: Vec<EntityRef>,
    /// What an answer tells the upstream.
    pub answer: AnswerSettings,
    /// What a denied caller reads.
    pub denials: Denials,
    /// Limits of one check.
    pub check: CheckSettings,
    /// Where decisions are recorded.
    pub audit: AuditSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// When the file is read again.
    pub reload: ReloadSettings,
    /// Which file it was read from, if from one.
    pub origin: Option<Origin>,
    /// What of it takes effect at a start only.
    pub fixed: Fixed,
}

/// When the file is read again, beside when somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// How often it is looked at for changes; nothing is never.
    pub watch: Option<Duration>,
}

/// The file that a configuration was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where it is.
    pub file: PathBuf,
    /// Names its text: a hash of it.
    pub version: Arc<str>,
}

impl Origin {
    /// What names the text that stands in a file now.
    ///
    /// # Errors
    /// It can't be read.
    pub fn version_of(file: &Path) -> Result<Arc<str>, String> {
        load::read(file).map(|text| load::version(&text))
    }
}

/// Where the groups come from that a token doesn't list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverageFrom {
    /// Nowhere: such a token is refused.
    Nowhere,
    /// The catalog's own User.
    Catalog,
    /// Microsoft Graph.
    Graph,
}

/// What Envoy's side must fit where no configuration is at hand: the default deadline and
/// the default names of the identity headers.
#[must_use]
pub fn seen_by_envoy() -> (Duration, IdentityHeaders) {
    let names = document::Headers::default();
    let headers = IdentityHeaders {
        subject: names.subject,
        tenant: names.tenant,
        kind: names.kind,
        entity: names.entity,
        decision_id: names.decision_id,
    };
    (document::Check::default().deadline.0, headers)
}

impl Config {
    /// Reads a file. Relative paths in it start at its folder.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        load::load(file)
    }

    /// Reads a text. Relative paths in it start at `base_dir`; problems are shown with
    /// `config` for the file's name.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, Problems> {
        load::parse(text, base_dir)
    }
}
