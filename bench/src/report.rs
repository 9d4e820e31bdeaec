//! Figures as tables, as JSON, and as bars.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// A figure that was measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure(Vec<f64>);

impl Figure {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.least(), "max": self.most() })
    }

    fn text(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median(), self.least(), self.most())
    }
}

/// Rows of figures under one heading.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// A word for the file, the markers and the plot.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// Each with its digits after the point.
    pub(crate) columns: Vec<(&'static str, usize)>,
    pub(crate) rows: Vec<(String, Vec<Figure>)>,
}

impl Table {
    pub(crate) fn new(name: &'static str, title: &str, columns: &[(&'static str, usize)]) -> Self {
        Self { name, title: title.to_owned(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds one measurement to a row, which is made if it is new.
    pub(crate) fn add(&mut self, row: &str, values: &[f64]) {
        let at = self.rows.iter().position(|(name, _)| name == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), vec![Figure::default(); self.columns.len()]));
            self.rows.len() - 1
        });
        if let Some((_, figures)) = self.rows.get_mut(at) {
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.add(*value));
        }
    }

    pub(crate) fn figure(&self, row: &str, column: usize) -> Result<&Figure> {
        let found = self.rows.iter().find(|(name, _)| name == row);
        found.and_then(|(_, figures)| figures.get(column)).with_context(|| format!("no `{row}`"))
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| {} |", self.title);
        for (name, _) in &self.columns {
            let _ = write!(text, " {name} |");
        }
        text.push_str("\n| --- |");
        text.push_str(&" ---: |".repeat(self.columns.len()));
        text.push('\n');
        for (name, figures) in &self.rows {
            let _ = write!(text, "| {name} |");
            for (figure, (_, digits)) in figures.iter().zip(&self.columns) {
                let _ = write!(text, " {} |", figure.text(*digits));
            }
            text.push('\n');
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Map<String, Value> = self
            .rows
            .iter()
            .map(|(name, figures)| {
                let cells = self.columns.iter().zip(figures);
                let cells =
                    cells.map(|((column, _), figure)| ((*column).to_owned(), figure.json()));
                (name.clone(), Value::Object(cells.collect()))
            })
            .collect();
        json!({ "title": self.title, "rows": rows })
    }

    /// The first column as bars, with the spread of each as a line. Legible on light and on
    /// dark ground.
    pub(crate) fn svg(&self) -> String {
        const LEFT: f64 = 330.0;
        const WIDTH: f64 = 340.0;
        const ROW: f64 = 26.0;
        let figure = |figures: &[Figure]| figures.first().cloned().unwrap_or_default();
        let most = self.rows.iter().map(|(_, figures)| figure(figures).most()).fold(0.0, f64::max);
        let scale = WIDTH / most.max(f64::MIN_POSITIVE);
        let rows = u32::try_from(self.rows.len()).unwrap_or_default();
        let height = ROW.mul_add(f64::from(rows), 44.0);
        let (column, digits) = self.columns.first().copied().unwrap_or_default();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 780 {height}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<style>text{{fill:#24292f}}.bar{{fill:#4f7cac}}\
             .spread{{stroke:#c0504d;stroke-width:2}}@media(prefers-color-scheme:dark)\
             {{text{{fill:#e6edf3}}.bar{{fill:#6ea8dc}}}}</style>\n<text x=\"10\" y=\"22\" \
             font-weight=\"bold\">{}: {column}</text>\n",
            escape(&self.title)
        );
        for ((name, figures), at) in self.rows.iter().zip(0_u32..) {
            let figure = figure(figures);
            let y = ROW.mul_add(f64::from(at), 36.0);
            let (low, high) = (figure.least() * scale + LEFT, figure.most() * scale + LEFT);
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect class=\"bar\" \
                 x=\"{LEFT}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"18\"/><line class=\"spread\" \
                 x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{mid:.0}\" y2=\"{mid:.0}\"/><text \
                 x=\"{:.0}\" y=\"{:.0}\">{:.digits$}</text>",
                LEFT - 8.0,
                y + 14.0,
                escape(name),
                figure.median() * scale,
                high + 6.0,
                y + 14.0,
                figure.median(),
                mid = y + 9.0,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Puts each table between its markers in a page, and its plot beside it.
pub(crate) fn write_docs(root: &Path, tables: &[Table], machine: &str) -> Result<()> {
    let page = root.join("docs/performance.md");
    let mut text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let plots = root.join("docs/images/performance");
    fs::create_dir_all(&plots)?;
    for table in tables {
        text = between(&text, table.name, &table.markdown())?;
        // Ratios and counts are for reading.
        let for_reading = table.name.contains('-') && !table.name.starts_with("growth");
        if !for_reading && table.name != "allocations" {
            fs::write(plots.join(format!("{}.svg", table.name)), table.svg())?;
        }
    }
    text = between(&text, "machine", &format!("{machine}\n"))?;
    fs::write(page, text)?;
    let all: Map<String, Value> =
        tables.iter().map(|table| (table.name.to_owned(), table.json())).collect();
    let file = root.join("docs/performance.json");
    // What was not measured this time stays as it was.
    let mut before: Map<String, Value> = match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Map::new(),
    };
    before.insert("machine".to_owned(), machine.into());
    before.extend(all);
    fs::write(file, serde_json::to_string_pretty(&before)? + "\n")?;
    Ok(())
}

fn between(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no {end}"))?;
    Ok(format!("{before}{begin}{content}{end}{after}"))
}
