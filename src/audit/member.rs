//! The members of a record that can be left out.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A member that an operator may want nobody to read. What says who may what, and by what
/// it was decided, is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// `request_id`
    RequestId,
    /// `trace_id`
    TraceId,
    /// `source`
    Source,
    /// `destination`
    Destination,
    /// `method`
    Method,
    /// `host`
    Host,
    /// `path`
    Path,
    /// `detail`
    Detail,
    /// `principal.client`
    Client,
    /// `facts`
    Facts,
    /// `owners`
    Owners,
    /// `justification`
    Justification,
    /// `warnings`
    Warnings,
    /// `alerts`
    Alerts,
    /// `shadow`
    Shadow,
}

impl Member {
    /// Every member that can be left out.
    pub const ALL: [Self; 15] = [
        Self::RequestId,
        Self::TraceId,
        Self::Source,
        Self::Destination,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Detail,
        Self::Client,
        Self::Facts,
        Self::Owners,
        Self::Justification,
        Self::Warnings,
        Self::Alerts,
        Self::Shadow,
    ];

    /// Its name, as configured and as `masked` lists it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestId => "request_id",
            Self::TraceId => "trace_id",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Detail => "detail",
            Self::Client => "client",
            Self::Facts => "facts",
            Self::Owners => "owners",
            Self::Justification => "justification",
            Self::Warnings => "warnings",
            Self::Alerts => "alerts",
            Self::Shadow => "shadow",
        }
    }
}

impl JsonSchema for Member {
    fn schema_name() -> Cow<'static, str> {
        "Member".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_everywhere() {
        for member in Member::ALL {
            assert_eq!(serde_json::to_value(member).expect("a text"), member.as_str());
        }
    }
}
