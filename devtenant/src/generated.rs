//! A catalog of any size, made up page by page, so that a large one costs no memory.

use std::collections::HashMap;
use std::fmt::Write as _;

/// How many entities of each kind there are. Groups stand below each other, ten to a
/// parent; each user is in three of them; each component and resource has one owner and is
/// part of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Components.
    pub components: usize,
    /// Resources.
    pub resources: usize,
    /// Users.
    pub users: usize,
    /// Groups.
    pub groups: usize,
    /// How many levels of groups there are.
    pub levels: usize,
    /// Another number makes for other owners of the first hundredth of the components.
    pub edition: usize,
}

/// So many systems there are for each thousand components, and one of them at least.
const SYSTEMS_PER_MILLE: usize = 20;

impl Generated {
    /// Half a million: what a large organisation has.
    #[must_use]
    pub fn large() -> Self {
        Self {
            components: 50_000,
            resources: 344_000,
            users: 100_000,
            groups: 5_000,
            levels: 8,
            edition: 0,
        }
    }

    fn systems(&self) -> usize {
        (self.components * SYSTEMS_PER_MILLE / 1000).max(1)
    }

    /// How many entities there are in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.systems() + self.components + self.resources + self.users + self.groups
    }

    /// The id of a group in the directory.
    #[must_use]
    pub fn group_id(group: usize) -> String {
        format!("aaaaaaaa-0000-0000-0000-{:012x}", group + 1)
    }

    /// The id of a user in the directory.
    #[must_use]
    pub fn user_id(user: usize) -> String {
        format!("bbbbbbbb-0000-0000-0000-{:012x}", user + 1)
    }

    /// The owner of a component or resource.
    #[must_use]
    pub fn owner(&self, number: usize) -> usize {
        let moved = if number < self.components / 100 { self.edition } else { 0 };
        (number.wrapping_mul(2_654_435_761) + moved) % self.groups
    }

    /// The group above a group: on the level before it, if there is one.
    #[must_use]
    pub fn parent(&self, group: usize) -> Option<usize> {
        let per_level = self.groups.div_ceil(self.levels);
        (group >= per_level).then(|| group - per_level)
    }

    /// One page, as the catalog API gives it.
    pub(crate) fn page(&self, query: &HashMap<String, String>) -> String {
        let from = query.get("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize);
        let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(200_usize);
        let to = (from + limit).min(self.total());
        let mut text = String::with_capacity(limit * 700);
        text.push_str("{\"items\":[");
        for at in from..to {
            if at > from {
                text.push(',');
            }
            self.entity(at, &mut text);
        }
        let _ = write!(text, "],\"totalItems\":{},\"pageInfo\":{{", self.total());
        if to < self.total() && limit > 0 {
            let _ = write!(text, "\"nextCursor\":\"{to}\"");
        }
        text.push_str("}}");
        text
    }

    fn entity(&self, at: usize, text: &mut String) {
        let mut number = at;
        let kinds = [self.components, self.resources, self.users, self.groups, self.systems()];
        let mut kind = 0;
        while let Some(count) = kinds.get(kind).filter(|count| number >= **count) {
            number -= count;
            kind += 1;
        }
        let uid = format!("eeeeeeee-0000-0000-0000-{at:012x}");
        let relation = |kind: &str, target: &str| {
            format!("{{\"type\":\"{kind}\",\"targetRef\":\"{target}\"}}")
        };
        let group = |group: usize| format!("group:default/team-{group:05}");
        let (kind, name, location, annotations, spec, relations) = match kind {
            0 | 1 => {
                let (kind, word) =
                    if kind == 0 { ("Component", "service") } else { ("Resource", "database") };
                let system = format!("system:default/system-{:04}", number % self.systems());
                (
                    kind,
                    format!("{word}-{number:06}"),
                    format!(
                        "url:https://github.com/contoso/{word}-{number:06}/blob/main/catalog-info.yaml"
                    ),
                    String::new(),
                    format!("{{\"type\":\"{word}\",\"lifecycle\":\"production\"}}"),
                    [
                        relation("ownedBy", &group(self.owner(number))),
                        relation("partOf", &system),
                        relation("dependsOn", &format!("resource:default/database-{number:06}")),
                    ]
                    .join(","),
                )
            }
            2 => {
                let id = Self::user_id(number);
                let member = |step: usize| {
                    relation("memberOf", &group((number * 7 + step * 1009) % self.groups))
                };
                (
                    "User",
                    format!("person-{number:06}_contoso.com"),
                    format!("msgraph:default/{id}"),
                    format!(",\"graph.microsoft.com/user-id\":\"{id}\""),
                    format!("{{\"profile\":{{\"displayName\":\"Person {number}\"}}}}"),
                    [member(0), member(1), member(2)].join(","),
                )
            }
            3 => {
                let id = Self::group_id(number);
                let parent = self.parent(number).map(|parent| relation("childOf", &group(parent)));
                (
                    "Group",
                    format!("team-{number:05}"),
                    format!("msgraph:default/{id}"),
                    format!(",\"graph.microsoft.com/group-id\":\"{id}\""),
                    format!(
                        "{{\"type\":\"team\",\"profile\":{{\"displayName\":\"Team {number}\"}}}}"
                    ),
                    parent.unwrap_or_default(),
                )
            }
            _ => (
                "System",
                format!("system-{number:04}"),
                format!(
                    "url:https://github.com/contoso/system-{number:04}/blob/main/catalog-info.yaml"
                ),
                String::new(),
                "{}".to_owned(),
                relation("ownedBy", &group(number % self.groups)),
            ),
        };
        let _ = write!(
            text,
            "{{\"kind\":\"{kind}\",\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"default\",\
             \"uid\":\"{uid}\",\"tags\":[\"go\",\"tier-{tier}\"],\"annotations\":{{\
             \"backstage.io/managed-by-location\":\"{location}\",\
             \"backstage.io/managed-by-origin-location\":\"{location}\",\
             \"backstage.io/source-location\":\"{location}\"{annotations}}}}},\
             \"spec\":{spec},\"relations\":[{relations}]}}",
            tier = number % 4,
        );
    }
}
