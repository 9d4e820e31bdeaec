//! An entity as Backstage writes it, as far as Stagedoor reads it.
//!
//! From the catalog API or from a YAML file. Everything is read defensively: what is
//! not of the expected form is left out, because a catalog author may have written
//! anything.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lenient::{Items, Text, ignore_others};

/// An entity.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RawEntity<'a> {
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
    #[serde(default, borrow)]
    pub(super) spec: Spec<'a>,
    #[serde(default, borrow)]
    pub(super) relations: Items<Relation<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    /// Set by Backstage, never by who writes the entity.
    #[serde(default, borrow)]
    pub(super) uid: Text<'a>,
    #[serde(default, borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(default, borrow)]
    pub(super) title: Text<'a>,
    #[serde(default, borrow)]
    pub(super) annotations: Annotations<'a>,
    #[serde(default, borrow)]
    pub(super) tags: Items<Text<'a>>,
    #[serde(default, borrow)]
    pub(super) links: Items<RawLink<'a>>,
}

/// The annotations that mean something here.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotations<'a> {
    /// `backstage.io/managed-by-location`.
    pub(super) location: Text<'a>,
    /// `backstage.io/managed-by-origin-location`.
    pub(super) origin: Text<'a>,
    /// `graph.microsoft.com/group-id`.
    pub(super) group_id: Text<'a>,
    /// `graph.microsoft.com/user-id`.
    pub(super) user_id: Text<'a>,
    /// `graph.microsoft.com/tenant-id`.
    pub(super) tenant_id: Text<'a>,
    /// `stagedoor.dev/hosts`.
    pub(super) hosts: Text<'a>,
    /// `stagedoor.dev/paths`.
    pub(super) paths: Text<'a>,
    /// `stagedoor.dev/workloads`.
    pub(super) workloads: Text<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    #[serde(default, borrow, rename = "type")]
    pub(super) spec_type: Text<'a>,
    #[serde(default, borrow)]
    pub(super) lifecycle: Text<'a>,
    #[serde(default, borrow)]
    pub(super) owner: Text<'a>,
    #[serde(default, borrow)]
    pub(super) system: Text<'a>,
    #[serde(default, borrow)]
    pub(super) domain: Text<'a>,
    #[serde(default, borrow)]
    pub(super) subcomponent_of: Text<'a>,
    #[serde(default, borrow)]
    pub(super) subdomain_of: Text<'a>,
    #[serde(default, borrow)]
    pub(super) parent: Text<'a>,
    #[serde(default, borrow)]
    pub(super) children: Items<Text<'a>>,
    #[serde(default, borrow)]
    pub(super) member_of: Items<Text<'a>>,
    #[serde(default, borrow)]
    pub(super) members: Items<Text<'a>>,
    #[serde(default, borrow)]
    pub(super) profile: Profile<'a>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Profile<'a> {
    pub(super) display_name: Text<'a>,
    pub(super) email: Text<'a>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawLink<'a> {
    pub(super) url: Text<'a>,
    pub(super) title: Text<'a>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Relation<'a> {
    pub(super) relation: Text<'a>,
    pub(super) target_ref: Text<'a>,
}

/// Reads the members of an object that have a field, and ignores the rest; an object that
/// is none has none of them.
macro_rules! fields_of {
    ($name:ident { $($key:literal => $field:ident),+ $(,)? }) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> Visitor<'de> for Members {
                    type Value = $name<'de>;

                    ignore_others!("an object", $name::default());

                    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_seq<A: SeqAccess<'de>>(
                        self,
                        mut seq: A,
                    ) -> Result<Self::Value, A::Error> {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        Ok($name::default())
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key::<Text<'de>>()? {
                            match key.as_deref() {
                                $(Some($key) => read.$field = map.next_value()?,)+
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(read)
                    }
                }

                deserializer.deserialize_any(Members)
            }
        }
    };
}

fields_of!(Annotations {
    "backstage.io/managed-by-location" => location,
    "backstage.io/managed-by-origin-location" => origin,
    "graph.microsoft.com/group-id" => group_id,
    "graph.microsoft.com/user-id" => user_id,
    "graph.microsoft.com/tenant-id" => tenant_id,
    "stagedoor.dev/hosts" => hosts,
    "stagedoor.dev/paths" => paths,
    "stagedoor.dev/workloads" => workloads,
});

fields_of!(Profile { "displayName" => display_name, "email" => email });

fields_of!(RawLink { "url" => url, "title" => title });

fields_of!(Relation { "type" => relation, "targetRef" => target_ref });
