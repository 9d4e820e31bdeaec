//! Identifiers as Entra writes them: GUIDs in their hyphenated form.
//!
//! Each is a type of its own, so a tenant can't stand where a group is meant.
//! Letter case carries no meaning in a GUID: `TenantId`s that differ only by
//! case are equal, and all print in lower case.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 8-4-4-4-12 hexadecimal digits.
    #[error("expected a GUID like `11111111-2222-3333-4444-555555555555`")]
    NotAGuid,
    /// The GUID of nothing: it names no object, so it must never match one.
    #[error("the zero GUID names nothing")]
    Zero,
}

fn parse(text: &str) -> Result<Uuid, IdError> {
    // `Uuid` also reads braces, URNs and plain hex: spellings Entra never sends,
    // and a second spelling of one identity is a way around a comparison.
    if text.len() != 36 {
        return Err(IdError::NotAGuid);
    }
    let id = Uuid::try_parse(text).map_err(|_| IdError::NotAGuid)?;
    if id.is_nil() { Err(IdError::Zero) } else { Ok(id) }
}

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The sixteen bytes, in the order in which the text shows them.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// As `Display` writes it, into a place that is there already.
            pub fn write<'b>(&self, place: &'b mut [u8; 36]) -> &'b str {
                self.0.as_hyphenated().encode_lower(place)
            }

            /// Of the sixteen bytes; nothing of the zero GUID.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
                let id = Uuid::from_bytes(bytes);
                (!id.is_nil()).then_some(Self(id))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

guid!(
    /// An Entra tenant: the `tid` claim.
    TenantId
);
guid!(
    /// An object of a tenant's directory: the `oid` claim. With [`TenantId`] the
    /// only identity a decision uses; e-mail, UPN and names can be reassigned.
    ObjectId
);
guid!(
    /// A group of a tenant's directory: an entry of the `groups` claim.
    GroupId
);
guid!(
    /// An application registration: `azp` or `appid`.
    ClientId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_up_to_case() {
        let lower: TenantId = "abcdef01-2222-3333-4444-555555555555".parse().expect("guid");
        let upper: TenantId = "ABCDEF01-2222-3333-4444-555555555555".parse().expect("guid");
        assert_eq!(lower, upper);
        assert_eq!(upper.to_string(), "abcdef01-2222-3333-4444-555555555555");
        for other in [
            "{abcdef01-2222-3333-4444-555555555555}",
            "urn:uuid:abcdef01-2222-3333-4444-555555555555",
            "abcdef01222233334444555555555555",
            "abcdef01-2222-3333-4444-55555555555",
            "abcdef01-2222-3333-4444-55555555555g",
            " bcdef01-2222-3333-4444-555555555555",
            "",
        ] {
            assert_eq!(other.parse::<TenantId>(), Err(IdError::NotAGuid), "{other}");
        }
        assert_eq!("00000000-0000-0000-0000-000000000000".parse::<ObjectId>(), Err(IdError::Zero));
    }
}
