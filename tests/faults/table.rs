//! What came of it, for people.

use std::fmt::Write as _;

use crate::run::Row;

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| family | fault | state | requests | let in wrongly | refused wrongly | recovered in ms |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let recovered = match (&row.error, row.recovered) {
            (None, Some(recovered)) => recovered.as_millis().to_string(),
            _ => "**never**".to_owned(),
        };
        // Writing to a text never fails.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {recovered} |",
            row.family,
            row.name,
            row.state.name(),
            row.requests,
            row.wrongs.admitted,
            row.wrongs.refused + row.wrongs.odd,
        );
    }
    text
}

/// A line with the sums.
pub(crate) fn sums(rows: &[Row]) -> String {
    let mut faults: Vec<_> = rows.iter().map(|row| (row.family, row.name)).collect();
    faults.dedup();
    let requests: u64 = rows.iter().map(|row| row.requests).sum();
    let admitted: usize = rows.iter().map(|row| row.wrongs.admitted).sum();
    let refused: usize = rows.iter().map(|row| row.wrongs.refused + row.wrongs.odd).sum();
    format!(
        "{} faults in {} rows, {requests} requests: {admitted} let in wrongly, {refused} refused \
         wrongly.",
        faults.len(),
        rows.len(),
    )
}
