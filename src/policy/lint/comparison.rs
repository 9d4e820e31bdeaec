//! Attributes compared with texts: those that never are equal.

use serde_json::Value;

use crate::domain::{ClientAuth, Host, IdentityKind, TenantId};
use crate::nearest::nearest;
use crate::policy::model::ResourceType;

/// An attribute or a member of the context, as policies write it: `principal.kind`.
pub(super) type Path = String;

/// The path that an expression is, where it is one right below a variable.
pub(super) fn path(expression: &Value) -> Option<Path> {
    let access = expression.get(".")?;
    let variable = access.get("left")?.get("Var")?.as_str()?;
    Some(format!("{variable}.{}", access.get("attr")?.as_str()?))
}

/// The text that an expression is.
pub(super) fn text(expression: &Value) -> Option<&str> {
    expression.get("Value")?.as_str()
}

/// A path and the texts of which it has to be one for the expression to be true.
pub(super) fn texts(expression: &Value) -> Option<(Path, Vec<&str>)> {
    if let Some(sides) = expression.get("==") {
        let (left, right) = (sides.get("left")?, sides.get("right")?);
        return match (path(left), text(right)) {
            (Some(path), Some(text)) => Some((path, vec![text])),
            _ => Some((path(right)?, vec![text(left)?])),
        };
    }
    let sides = expression.get("contains")?;
    let items = sides.get("left")?.get("Set")?.as_array()?;
    let texts: Option<Vec<&str>> = items.iter().map(text).collect();
    Some((path(sides.get("right")?)?, texts?))
}

/// Why a path never is this text.
pub(super) fn never(path: &str, text: &str) -> Option<String> {
    let among = |known: &[&str]| {
        if known.contains(&text) {
            return None;
        }
        Some(match nearest(text, known) {
            Some(near) => format!("`{path}` never is `{text}`; did you mean `{near}`?"),
            None => format!("`{path}` never is `{text}`, but one of `{}`", known.join("`, `")),
        })
    };
    match path {
        "principal.kind" => among(&IdentityKind::ALL.map(IdentityKind::as_str)),
        "principal.client_auth" => {
            let ways = [ClientAuth::Public, ClientAuth::Secret, ClientAuth::Certificate];
            among(&ways.map(ClientAuth::as_str))
        }
        "resource.kind" => among(&ResourceType::ALL.map(ResourceType::kind)),
        "principal.tenant"
        | "principal.object"
        | "principal.client"
        | "principal.agent_parent"
        | "principal.home_tenant" => {
            // Every id has the spelling of a tenant's.
            match text.parse::<TenantId>() {
                Ok(id) if id.to_string() == text => None,
                Ok(id) => Some(format!("`{path}` is in lower case: write `{id}`")),
                Err(error) => Some(format!("`{path}` never is `{text}`: {error}")),
            }
        }
        "resource.name" | "resource.namespace" => {
            let lower = text.to_lowercase();
            (lower != text).then(|| format!("`{path}` is in lower case: write `{lower}`"))
        }
        "context.host" => match Host::parse(text) {
            Ok(host) if host.as_str() == text => None,
            Ok(host) => {
                let host = host.as_str();
                Some(format!("`context.host` is in lower case and has no port: write `{host}`"))
            }
            Err(error) => Some(format!("`context.host` never is `{text}`: {error}")),
        },
        _ => None,
    }
}
