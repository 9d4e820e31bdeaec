//! Results as JUnit XML: a `testsuite` for each file, a `testcase` for each case.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::report::what_came;
use super::{Outcome, Played};

/// The whole document.
///
/// # Errors
/// None that a buffer in memory can give.
pub(super) fn write(all: &[Played]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let counted = |played: &[Played]| {
        let results = || played.iter().flat_map(|played| &played.results);
        (results().count(), results().filter(|outcome| !outcome.passed()).count())
    };
    let start = element("testsuites", &[("name", "stagedoor policy test")], Some(counted(all)));
    writer.write_event(Event::Start(start))?;
    for played in all {
        let name = played.file.display().to_string();
        let counts = counted(std::slice::from_ref(played));
        writer.write_event(Event::Start(element("testsuite", &[("name", &name)], Some(counts))))?;
        for outcome in &played.results {
            case(&mut writer, &name, outcome)?;
        }
        writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn case(writer: &mut Writer<Vec<u8>>, file: &str, outcome: &Outcome) -> io::Result<()> {
    let line = outcome.case.line.to_string();
    let attributes =
        [("classname", file), ("name", &outcome.case.name), ("file", file), ("line", &line)];
    let start = element("testcase", &attributes, None);
    if outcome.passed() {
        return writer.write_event(Event::Empty(start));
    }
    writer.write_event(Event::Start(start))?;
    let message = outcome.differences.join("; ");
    let failure = element("failure", &[("type", "decision"), ("message", &message)], None);
    writer.write_event(Event::Start(failure))?;
    let rows = what_came(outcome).into_iter().map(|(name, value)| format!("{name}: {value}"));
    let text = rows.collect::<Vec<_>>().join("\n");
    writer.write_event(Event::Text(BytesText::new(&legal(&text))))?;
    writer.write_event(Event::End(BytesEnd::new("failure")))?;
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

fn element<'a>(
    name: &'a str,
    attributes: &[(&str, &str)],
    counts: Option<(usize, usize)>,
) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (name, value) in attributes {
        start.push_attribute((*name, &*legal(value)));
    }
    if let Some((tests, failures)) = counts {
        start.push_attribute(("tests", &*tests.to_string()));
        start.push_attribute(("failures", &*failures.to_string()));
    }
    start
}

/// Without the characters that XML 1.0 has no way to write.
fn legal(text: &str) -> String {
    let illegal = |c: char| {
        (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|c| if illegal(c) { '\u{fffd}' } else { c }).collect()
}
