//! Whoever decides now.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::explain::Explainer;

/// The explainer, and with it the authorizer, that is in force. Cheap to clone; every clone
/// sees the same. For those who look on: a request has the one that it began with.
#[derive(Clone, Debug)]
pub struct Current {
    explainer: Arc<ArcSwap<Explainer>>,
}

impl Current {
    /// This one, until another takes its place.
    #[must_use]
    pub fn new(explainer: Explainer) -> Self {
        Self { explainer: Arc::new(ArcSwap::from_pointee(explainer)) }
    }

    /// The one in force.
    #[must_use]
    pub fn load(&self) -> Arc<Explainer> {
        self.explainer.load_full()
    }

    /// Puts another in its place.
    pub fn store(&self, explainer: Explainer) {
        self.explainer.store(Arc::new(explainer));
    }
}
