//! How much a denial tells, and to whom.

/// Who is told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    Never,
    /// Who proved who they are.
    Known,
    /// Everybody who can send a request.
    Everyone,
}

/// What is told to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tell {
    /// What the request was for: the entity, its page in Backstage, and the action.
    pub entity: Audience,
    /// Who owns that.
    pub owners: Audience,
    /// How to reach them; only where the owners are told as well.
    pub contacts: Audience,
    /// Who the caller is by their own token.
    pub caller: Audience,
    /// What the policies say that denied it.
    pub advice: Audience,
    /// Which policies these are.
    pub policies: Audience,
}

impl Default for Tell {
    fn default() -> Self {
        Self {
            entity: Audience::Known,
            owners: Audience::Known,
            contacts: Audience::Known,
            caller: Audience::Known,
            advice: Audience::Known,
            policies: Audience::Never,
        }
    }
}

impl Audience {
    /// Whether somebody is among them of whom it is `known` who they are.
    pub(super) fn includes(self, known: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Known => known,
            Self::Everyone => true,
        }
    }
}
