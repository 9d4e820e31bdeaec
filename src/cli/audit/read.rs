//! Records out of files.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::audit::{form::RecordForm, sibling};

/// No record is longer; what is would be a foreign file's.
const MAX_LINE: u64 = 4 << 20;
/// Of lines that are no records, so many are named one by one.
const MAX_NAMED: usize = 10;

/// Where the records are.
#[derive(Clone, Debug, Args)]
pub(super) struct Source {
    /// The file that the records are in; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Also the files that were full before: `FILE.1`, `FILE.2` and so on, oldest first.
    #[arg(long)]
    pub(super) all: bool,
}

impl Source {
    pub(super) fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    /// The files that were full before, oldest first.
    pub(super) fn before(&self) -> Vec<PathBuf> {
        if !self.all || self.is_stdin() {
            return Vec::new();
        }
        let siblings = (1..).map(|number| sibling(&self.file, number));
        let mut siblings: Vec<_> = siblings.take_while(|path| path.exists()).collect();
        siblings.reverse();
        siblings
    }

    /// Tells every record, with the line that it is on.
    pub(super) fn each(
        &self,
        strange: &mut Strange,
        mut tell: impl FnMut(&[u8], RecordForm<'static>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.is_stdin() {
            let name = Path::new("standard input");
            return Lines::new(name, io::stdin().lock()).each(strange, &mut tell);
        }
        let mut files = self.before();
        files.push(self.file.clone());
        // All are opened before the first is read: one that is renamed meanwhile is neither
        // missed nor read twice.
        let opened: Vec<_> = files
            .into_iter()
            .map(|path| {
                let file = File::open(&path).with_context(|| format!("`{}`", path.display()))?;
                Ok((path, file))
            })
            .collect::<anyhow::Result<_>>()?;
        for (path, file) in opened {
            Lines::new(&path, BufReader::new(file)).each(strange, &mut tell)?;
        }
        Ok(())
    }
}

/// A file's lines, counted.
struct Lines<'p, R> {
    path: &'p Path,
    reader: R,
}

impl<'p, R: BufRead> Lines<'p, R> {
    fn new(path: &'p Path, reader: R) -> Self {
        Self { path, reader }
    }

    fn each(
        mut self,
        strange: &mut Strange,
        tell: &mut impl FnMut(&[u8], RecordForm<'static>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            let read = read.with_context(|| format!("`{}`", self.path.display()))?;
            if read == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE {
                self.reader.skip_until(b'\n')?;
            }
            if let Some(record) = strange.read(self.path, number, &line) {
                tell(line.trim_ascii_end(), record)?;
            }
        }
        Ok(())
    }
}

/// Lines that are no records: torn ones, or somebody else's.
#[derive(Debug, Default)]
pub(super) struct Strange {
    count: u64,
    named: Vec<String>,
}

impl Strange {
    /// The record on a line; nothing where there is none, or nothing at all.
    pub(super) fn read(
        &mut self,
        path: &Path,
        number: u64,
        line: &[u8],
    ) -> Option<RecordForm<'static>> {
        // What ends a torn line may leave an empty one behind.
        if line.trim_ascii().is_empty() {
            return None;
        }
        match serde_json::from_slice(line) {
            Ok(record) => Some(record),
            Err(_) => {
                self.count += 1;
                if self.named.len() < MAX_NAMED {
                    self.named.push(format!("{}:{number}", path.display()));
                }
                None
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.count == 1 { "line is no record" } else { "lines are no records" };
        write!(f, "{} {what}: {}", self.count, self.named.join(", "))?;
        if self.count > self.named.len() as u64 {
            f.write_str(" and more")?;
        }
        Ok(())
    }
}
