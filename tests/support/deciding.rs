//! What decides, without anything around it: keys and catalog are at hand, and nothing waits.

use devtenant::tenant::Tenant;
use serde_json::json;
use stagedoor::authorizer::{Authorizer, OverageSource, Routes};
use stagedoor::catalog::{Catalog, load_folder};
use stagedoor::clock::Now;
use stagedoor::config::Config;
use stagedoor::entra::Authenticator;
use stagedoor::ext_authz::{AnswerSettings, CheckSettings};
use stagedoor::policy::Policies;
use stagedoor::routing::RouteSettings;

use super::stack::{Options, write_config};

/// It, and what else the configuration says.
pub(crate) struct Deciding {
    pub(crate) authorizer: Authorizer,
    pub(crate) routes: Vec<RouteSettings>,
    pub(crate) answer: AnswerSettings,
    pub(crate) check: CheckSettings,
}

impl Deciding {
    /// With these entities beside the usual ones.
    pub(crate) fn new(tenant: &Tenant, now: Now, options: &Options, entities: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = write_config(&folder, tenant, options).unwrap();
        std::fs::write(folder.path().join("catalog/more.yaml"), entities).unwrap();
        let config = Config::load(&file).unwrap();
        let authenticator = Authenticator::new(config.entra).unwrap();
        let keys = json!({ "keys": [tenant.signing_key().jwk(None)] }).to_string();
        authenticator.load_keys(keys.as_bytes(), now).unwrap();
        let catalog = Catalog::new(config.catalog);
        catalog.publish(load_folder(&folder.path().join("catalog"), false).unwrap(), now);
        let authorizer = Authorizer {
            authenticator,
            catalog,
            routes: Routes::new(config.route_table, config.delegations),
            policy: Policies::load(config.policy).unwrap(),
            membership: config.membership,
            overage: OverageSource::Nowhere,
        };
        let (routes, answer, check) = (config.routes, config.answer, config.check);
        Self { authorizer, routes, answer, check }
    }
}
