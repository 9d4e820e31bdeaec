//! What is measured on the way, beside what was aimed at. Nothing is asserted of it: a row
//! is good by its answers, however busy the machine was.

use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Times;
use crate::run::Row;

/// One figure; of several rows that have it, the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Answers that Envoy had to make up while Stagedoor ran and was to answer.
    MadeUp,
    /// The slowest answer to who is known, in milliseconds, and to anybody.
    HangingKnown,
    HangingAll,
    /// Fetches of a document in an interval.
    Fetches,
    /// The most memory, in MiB.
    Memory,
    /// How much of what known callers got before they got under overload, in percent.
    Goodput,
    /// How long it took to turn somebody away, in milliseconds.
    Shed,
    /// Until everybody was served again, in milliseconds.
    AfterOverload,
    AfterSilence,
    AfterDescriptors,
    /// Processors that were busy while there were no descriptors, the requests' share included.
    Descriptors,
    /// From SIGTERM to `NOT_SERVING`, and to the end, in milliseconds.
    NotServing,
    Exit,
    /// From a start to the first right answer to the owner, in milliseconds.
    Restart,
}

use Figure::*;

const ALL: [Figure; 14] = [
    MadeUp,
    HangingKnown,
    HangingAll,
    Fetches,
    Memory,
    Goodput,
    Shed,
    AfterOverload,
    AfterSilence,
    Descriptors,
    AfterDescriptors,
    NotServing,
    Exit,
    Restart,
];

impl Figure {
    /// What it is, and the aim.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            MadeUp => ("denials that reach Envoy as an error of the check, over all rows", "0"),
            HangingKnown => ("everything else hangs: 99 % of answers to who is known", "150 ms"),
            HangingAll => ("everything else hangs: 99 % of all answers", "150 ms"),
            Fetches => ("made-up key ids: fetches of a document in an interval", "1, and 1 extra"),
            Memory => ("the most memory in any row", "128 MiB"),
            Goodput => ("overload: known callers get of what they got before", "80 %"),
            Shed => ("overload: half of those turned away know it within", "10 ms"),
            AfterOverload => ("overload: everybody is served after it within", "2,000 ms"),
            AfterSilence => {
                ("silent connections: everybody is served after them within", "1,000 ms")
            }
            Descriptors => ("no descriptors: processors busy, with the requests that go on", "0.1"),
            AfterDescriptors => ("no descriptors: everybody is served after it within", "1,000 ms"),
            NotServing => ("SIGTERM: health says `NOT_SERVING` within", "100 ms"),
            Exit => ("SIGTERM, with peers that don't react: the end within", "10,000 ms"),
            Restart => ("restart with tenant and Backstage down: first right answer", "2,000 ms"),
        }
    }

    fn worse(self, one: f64, other: f64) -> bool {
        if self == Goodput { one < other } else { one > other }
    }

    fn show(self, value: f64) -> String {
        match self {
            MadeUp => format!("{value:.0}"),
            Fetches | Descriptors => format!("{value:.2}"),
            Memory => format!("{value:.0} MiB"),
            Goodput => format!("{value:.0} %"),
            _ => format!("{value:.0} ms"),
        }
    }
}

/// In milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The time within which this part of them came; nothing where there are none.
pub(crate) fn within(part: f64, mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let at = (part * times.len() as f64).ceil() as usize;
    times.get(at.clamp(1, times.len().max(1)) - 1).copied()
}

/// The times of some answers.
pub(crate) fn of(
    times: &Times,
    wanted: impl Fn(crate::callers::Caller, &str) -> bool,
) -> Vec<Duration> {
    let wanted = times.iter().filter(|((caller, outcome), _)| wanted(*caller, outcome));
    wanted.flat_map(|(_, times)| times).copied().collect()
}

/// What came after `before`.
pub(crate) fn since(before: &Times, now: &Times) -> Times {
    let later = now.iter().map(|(key, times)| {
        let seen = before.get(key).map_or(0, Vec::len).min(times.len());
        (key.clone(), times[seen..].to_vec())
    });
    later.collect()
}

/// The figures of these rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | aim | measured | in |\n| --- | --- | ---: | --- |\n");
    for figure in ALL {
        let (what, aim) = figure.text();
        let noted = rows.iter().flat_map(|row| {
            let of_figure = row.figures.iter().filter(|(noted, _)| *noted == figure);
            of_figure.map(move |(_, value)| (*value, row))
        });
        let worst =
            noted.reduce(|worst, other| if figure.worse(other.0, worst.0) { other } else { worst });
        let (value, row) = match worst {
            Some((0.0, _)) => (figure.show(0.0), String::new()),
            Some((value, row)) => {
                (figure.show(value), format!("{}, {}", row.name, row.state.name()))
            }
            None => ("-".to_owned(), String::new()),
        };
        // Writing to a text never fails.
        let _ = writeln!(text, "| {what} | {aim} | {value} | {row} |");
    }
    text
}
