//! Floor 0: the decision's own words.
//!
//! Everything here is a value: nothing async, no clock, no network. The floors
//! above turn the outside world into these words and back.

mod contact;
mod decision;
mod entity_ref;
mod group_table;
mod host;
mod identity;
mod ids;
mod location;
mod method;
mod opaque;
mod path;
mod plain;
mod principal;
mod reason;
mod request;
mod spiffe;
mod target;
mod trace;

pub use contact::{Contact, Email, Link};
pub use decision::{
    Challenge, Decision, DecisionId, Denial, Grant, Notes, Notice, Owner, Owners, Permit,
    Remembered, Shadow, ShadowSet, Verdict, Versions, Wait, Waited,
};
pub use entity_ref::{EntityRef, EntityRefError};
pub use host::{Host, HostError};
pub use identity::{Identity, Shelf, Standing, StandingFacts};
pub use ids::{ClientId, GroupId, IdError, ObjectId, TenantId};
pub use location::climbs;
pub use method::Method;
pub use opaque::OpaqueId;
pub(crate) use path::without_parameters;
pub use path::{Path, PathError};
pub use plain::plain;
pub use principal::{ClientAuth, GroupName, Holder, IdentityKind, Principal, TokenFacts};
pub use reason::{Fault, Reason};
pub use request::{Credentials, Request, RequestLine};
pub use spiffe::SpiffeId;
pub(crate) use spiffe::is_spiffe;
pub use target::{Action, Demands, Gate, Target};
pub use trace::{B3, TraceContext, TraceIds};
