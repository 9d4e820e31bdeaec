//! A caller's groups, from Microsoft Graph, where the token doesn't list them.
//!
//! The token says only that there are too many. What it points to is never asked: the
//! address is ours, made of the tenant's cloud and the object's id.

mod calls;
mod client;
mod credential;
mod directory;
#[cfg(test)]
mod fake;
mod resolver;
mod settings;

pub use credential::CredentialCertificate;
pub use directory::{DirectoryGroup, directory_groups};
pub use resolver::{GroupResolver, GroupStats};
pub use settings::{CredentialSettings, GraphSettings, IdentityEndpoint, MACHINE_ENDPOINT};
