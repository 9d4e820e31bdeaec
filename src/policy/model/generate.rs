//! The shipped schema and the tables of the documentation.

use std::fmt::Write as _;

use super::vocabulary::{
    ACTIONS, Attribute, CONTEXT, ENTITIES, EntityType, PART, PRINCIPAL, PRINCIPALS, RESOURCE,
    RESOURCES, VERSION,
};

/// The schema, as a file of Cedar's.
#[must_use]
pub fn schema() -> String {
    let mut text = format!(
        "// The entity model that policies are written against and checked by, version {VERSION}.\n\
         // Generated: see src/policy/model/vocabulary.rs.\n\
         //\n\
         // Ids are full entity refs in lower case (Group::\"group:default/payments-team\"), object ids\n\
         // (EntraGroup::\"11111111-2222-3333-4444-555555555555\") or, of callers, tenant and object id\n\
         // (User::\"<tid>/<oid>\").\n"
    );
    for entity in ENTITIES {
        entity_type(&mut text, entity);
    }
    text.push_str("\n// What a policy may look at in the request.\ntype RequestContext = {\n");
    members(&mut text, CONTEXT);
    text.push_str(
        "};\n\n// Who may administer may write, and who may write may read: a permit on\n\
         // `action in Action::\"write\"` covers reading.\n",
    );
    for (at, action) in ACTIONS.iter().enumerate() {
        let above = at.checked_sub(1).and_then(|above| ACTIONS.get(above));
        let within = above.map(|above| format!(" in [{above}]")).unwrap_or_default();
        let _ = write!(
            text,
            "action {action}{within} appliesTo {{\n  principal: [{}],\n  resource: [{}],\n  \
             context: RequestContext,\n}};\n",
            PRINCIPALS.join(", "),
            RESOURCES.join(", "),
        );
    }
    text
}

/// Every type and every attribute of the model on a line of its own, in no particular
/// words: to hold one edition against another.
#[must_use]
pub fn edition() -> Vec<String> {
    let line = |owner: &str, attribute: &Attribute| {
        let mark = if attribute.optional { "?" } else { "" };
        format!("{owner}.{}{mark}: {}", attribute.name, attribute.kind.name())
    };
    let mut lines: Vec<String> = Vec::new();
    for entity in ENTITIES {
        for name in entity.names {
            lines.push(format!("{name} in {}", entity.parents.join(", ")));
            let attributes = entity.attributes.iter().flat_map(|attributes| attributes.iter());
            lines.extend(attributes.map(|attribute| line(name, attribute)));
        }
    }
    lines.extend(CONTEXT.iter().map(|attribute| line("context", attribute)));
    lines.extend(ACTIONS.map(|action| format!("action {action}")));
    lines
}

/// The tables of the documentation, in Markdown.
#[must_use]
pub fn tables() -> String {
    let mut text = String::new();
    let _ = writeln!(text, "This is version {VERSION} of the model.\n");
    let _ = writeln!(text, "| type | is in | stands for |\n| --- | --- | --- |");
    for entity in ENTITIES {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} |",
            entity.names.join("`, `"),
            entity.parents.join("`, `"),
            entity.doc
        );
    }
    for (heading, attributes) in [
        ("Attributes of a principal, `User` or `Workload`:", PRINCIPAL),
        ("Attributes of a resource:", RESOURCE),
        ("Those of a component, API, resource or template beyond these:", PART),
        ("Members of `context`:", CONTEXT),
    ] {
        let _ = writeln!(text, "\n{heading}\n\n| name | type | |\n| --- | --- | --- |");
        for attribute in attributes {
            let mark = if attribute.optional { "?" } else { "" };
            let kind = attribute.kind.name();
            let _ = writeln!(text, "| `{}{mark}` | `{kind}` | {} |", attribute.name, attribute.doc);
        }
    }
    text
}

fn entity_type(text: &mut String, entity: &EntityType) {
    text.push('\n');
    comment(text, "", entity.doc);
    let _ = write!(text, "entity {} in [{}]", entity.names.join(", "), entity.parents.join(", "));
    if entity.attributes.is_empty() {
        text.push_str(";\n");
        return;
    }
    text.push_str(" {\n");
    for attributes in entity.attributes {
        members(text, attributes);
    }
    text.push_str("};\n");
}

fn members(text: &mut String, attributes: &[Attribute]) {
    for attribute in attributes {
        comment(text, "  ", attribute.doc);
        let mark = if attribute.optional { "?" } else { "" };
        let name = attribute.name;
        // `type` is a word of the schema's own.
        let quote = if name == "type" { "\"" } else { "" };
        let _ = writeln!(text, "  {quote}{name}{quote}{mark}: {},", attribute.kind.name());
    }
}

/// Comment lines of at most 90 characters.
fn comment(text: &mut String, indent: &str, words: &str) {
    const WIDTH: usize = 90;
    let mut line = format!("{indent}//");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}//");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
