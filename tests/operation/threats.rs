//! The page of threats names what proves the answer to each: it leaves none out, and what it
//! names is there.

use std::path::Path;

/// The cells of a row: number, threat, proof.
fn cells(line: &str) -> Option<[&str; 3]> {
    let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<&str> = line.splitn(3, " | ").collect();
    cells.try_into().ok()
}

/// The rows of the page.
fn rows(page: &str) -> Vec<[&str; 3]> {
    let is_row = |[number, ..]: &[&str; 3]| !number.is_empty() && *number != "---";
    page.lines().filter_map(cells).filter(is_row).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backquotes.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_threat_is_answered() {
    let page = std::fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let rows = rows(&page);
    let numbers = |prefix: &str, from: usize, to: usize| -> Vec<String> {
        (from..=to).map(|number| format!("{prefix}{number}")).collect()
    };
    let all =
        [numbers("R", 0, 10), numbers("T", 1, 11), numbers("C", 1, 7), numbers("", 1, 45)].concat();
    let found: Vec<String> = rows.iter().map(|[number, ..]| (*number).to_owned()).collect();
    assert_eq!(found, all);

    let faults: String = std::fs::read_dir(root().join("tests/faults"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for [number, _, proof] in rows {
        let mut named = 0;
        for span in spans(proof) {
            let Some((file, test)) = span.split_once(": ") else { continue };
            named += 1;
            if file == "faults" {
                assert!(faults.contains(&format!("\"{test}\"")), "{number}: no fault `{test}`");
                continue;
            }
            let text = std::fs::read_to_string(root().join(file));
            let text = text.unwrap_or_else(|error| panic!("{number}: `{file}`: {error}"));
            let found = [format!("fn {test}("), format!("fn {test}<")];
            assert!(
                found.iter().any(|name| text.contains(name)),
                "{number}: no `{test}` in `{file}`"
            );
        }
        assert!(
            named > 0 || proof.contains("Not proven"),
            "{number} has no proof and says nothing of it"
        );
    }
}
