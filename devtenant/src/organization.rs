//! The organization, its users and its groups, as Microsoft Graph lists them: what
//! Backstage's Microsoft Graph module reads.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::graph::{bad_request, error};
use crate::people::{Group, Kind, Person};
use crate::tenant::{Reply, Shared};

/// At most so many objects a page may be asked for.
const LARGEST_PAGE: usize = 999;
/// As many come where the request does not say.
const USUAL_PAGE: usize = 100;

/// The answer to a GET of these segments, or nothing where something else is meant.
pub(crate) fn reply(shared: &Shared, parts: &[&str], uri: &Uri) -> Option<Result<Reply, Reply>> {
    let listed = match *parts {
        ["organization", id] => return Some(organization(shared, id)),
        // Nobody here has a picture.
        ["users", _, "photos"] => return Some(Err(not_found("ImageNotFound", "The photo"))),
        ["users"] => Ok(users(shared).map(user).collect()),
        ["groups"] => Ok(shared.people.groups.iter().map(group).collect()),
        ["groups", id, "members"] => members(shared, id),
        ["groups", id, "members", "microsoft.graph.user"] => members(shared, id).map(|members| {
            let is_user = |member: &Value| {
                member.get("@odata.type").is_some_and(|kind| kind == "#microsoft.graph.user")
            };
            members.into_iter().filter(is_user).collect()
        }),
        _ => return None,
    };
    Some(listed.and_then(|objects| collection(shared, &parts.join("/"), objects, uri)))
}

fn organization(shared: &Shared, id: &str) -> Result<Reply, Reply> {
    let own = shared.id.to_string();
    if !id.eq_ignore_ascii_case(&own) {
        return Err(not_found("Request_ResourceNotFound", &format!("Resource '{id}'")));
    }
    Ok(Reply::ok(json!({ "id": own, "displayName": "Contoso" })))
}

/// The users that were not removed.
fn users(shared: &Shared) -> impl Iterator<Item = &Person> {
    let there = |person: &&Person| shared.directory.groups(Kind::User, &person.oid).is_some();
    shared.people.people.iter().filter(there)
}

/// What is directly in a group, each with its type.
fn members(shared: &Shared, id: &str) -> Result<Vec<Value>, Reply> {
    let found = shared.people.groups.iter().find(|group| group.id.eq_ignore_ascii_case(id));
    let found =
        found.ok_or_else(|| not_found("Request_ResourceNotFound", &format!("Resource '{id}'")))?;
    let object = |oid: &String| {
        let is = |known: &str| known.eq_ignore_ascii_case(oid);
        let groups = shared.people.groups.iter().filter(|group| is(&group.id));
        let people = shared.people.people.iter().filter(|person| is(&person.oid));
        let groups = groups.map(|found| typed("group", group(found)));
        groups.chain(people.map(|person| typed(kind(person), user(person)))).next()
    };
    Ok(found.members.iter().filter_map(object).collect())
}

fn kind(person: &Person) -> &'static str {
    match person.kind {
        Kind::User => "user",
        Kind::Workload => "servicePrincipal",
    }
}

fn typed(kind: &str, mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert("@odata.type".to_owned(), format!("#microsoft.graph.{kind}").into());
    }
    object
}

fn user(person: &Person) -> Value {
    json!({
        "id": person.oid,
        "displayName": person.display_name.as_ref().unwrap_or(&person.name),
        "mail": person.mail,
        "userPrincipalName": format!("{}@contoso.example", person.name),
        "accountEnabled": !person.disabled,
    })
}

fn group(group: &Group) -> Value {
    json!({
        "id": group.id,
        "displayName": group.display_name,
        "mailNickname": group.mail_nickname,
        "mailEnabled": group.mail_only,
        "securityEnabled": !group.mail_only,
    })
}

/// One page of these objects: `$filter`, `$select`, `$top`, `$count`, and nothing besides.
fn collection(
    shared: &Shared,
    path: &str,
    mut objects: Vec<Value>,
    uri: &Uri,
) -> Result<Reply, Reply> {
    let query = Query::<HashMap<String, String>>::try_from_uri(uri).map(|query| query.0);
    let mut query = query.map_err(|_| bad_request("The query is malformed."))?;
    let known = ["$filter", "$select", "$top", "$count", "$skiptoken"];
    if let Some(other) = query.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(bad_request(&format!("The query option '{other}' is not supported.")));
    }
    if let Some(filter) = query.get("$filter") {
        for clause in filter.split(" and ") {
            let clause = Clause::parse(clause)
                .ok_or_else(|| bad_request(&format!("Invalid filter clause: '{clause}'.")))?;
            objects.retain(|object| clause.holds(object));
        }
    }
    if let Some(select) = query.get("$select") {
        let selected: Vec<&str> = select.split(',').collect();
        for object in objects.iter_mut().filter_map(Value::as_object_mut) {
            only(object, &selected);
        }
    }
    let top = match query.get("$top").map(|top| top.parse()) {
        None => USUAL_PAGE,
        Some(Ok(top)) if (1..=LARGEST_PAGE).contains(&top) => top,
        Some(_) => return Err(bad_request("Invalid page size specified. Must be 1 to 999.")),
    };
    let skipped = match query.remove("$skiptoken").map(|token| token.parse::<usize>()) {
        None => 0,
        Some(Ok(skipped)) => skipped,
        Some(Err(_)) => return Err(bad_request("The skip token is malformed.")),
    };
    // Graph may always give fewer than it was asked for.
    let size = top.min(shared.directory.groups_at_once());
    let after = skipped.saturating_add(size);
    let more = after < objects.len();
    let value: Vec<_> = objects.into_iter().skip(skipped).take(size).collect();
    let mut document = json!({ "value": value });
    if let (true, Some(members)) = (more, document.as_object_mut()) {
        let rest: String = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && !is_skip_token(pair))
            .fold(String::new(), |rest, pair| rest + pair + "&");
        let next = format!("{}/v1.0/{path}?{rest}$skiptoken={after}", shared.graph_url());
        members.insert("@odata.nextLink".to_owned(), next.into());
    }
    Ok(Reply::ok(document))
}

fn is_skip_token(pair: &str) -> bool {
    pair.starts_with("$skiptoken=") || pair.starts_with("%24skiptoken=")
}

fn only(object: &mut Map<String, Value>, selected: &[&str]) {
    object.retain(|name, _| name.starts_with('@') || selected.contains(&name.as_str()));
}

/// What can be asked of a property.
enum Clause<'q> {
    Is(&'q str, Value),
    StartsWith(&'q str, String),
}

impl<'q> Clause<'q> {
    /// `name eq 'text'`, `name eq true`, `startswith(name,'text')`.
    fn parse(text: &'q str) -> Option<Self> {
        let text = text.trim();
        if let Some(inner) = text.strip_prefix("startswith(").and_then(|t| t.strip_suffix(')')) {
            let (name, start) = inner.split_once(',')?;
            return Some(Self::StartsWith(name.trim(), quoted(start.trim())?));
        }
        let (name, value) = text.split_once(" eq ")?;
        let value = match value.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => Value::String(quoted(text)?),
        };
        Some(Self::Is(name.trim(), value))
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Is(name, value) => match (object.get(name), value) {
                // Texts are compared without regard to case.
                (Some(Value::String(has)), Value::String(asked)) => has.eq_ignore_ascii_case(asked),
                (has, asked) => has == Some(asked),
            },
            Self::StartsWith(name, start) => object
                .get(name)
                .and_then(Value::as_str)
                .is_some_and(|has| has.to_lowercase().starts_with(&start.to_lowercase())),
        }
    }
}

/// A text between quotes, in which two stand for one.
fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
}

fn not_found(code: &str, what: &str) -> Reply {
    error(StatusCode::NOT_FOUND, code, &format!("{what} does not exist."))
}
