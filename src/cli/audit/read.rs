//! Records out of files.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::audit::{form::RecordForm, sibling};

/// No record is longer; what is would be a foreign file's.
const MAX_LINE: u64 = 4 << 20;
/// Longer than there is no newest file while files are moved.
const PAUSE: Duration = Duration::from_millis(200);
/// Of lines that are no records, so many are named one by one.
const MAX_NAMED: usize = 10;

/// Where the records are.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Source {
    /// The file that the records are in; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Also the files that were full before: `FILE.1`, `FILE.2` and so on, oldest first.
    #[arg(long)]
    pub(in crate::cli) all: bool,
}

impl Source {
    pub(super) fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    /// The files, opened, oldest first; the last is the one that is written to.
    pub(super) fn open(&self) -> anyhow::Result<Vec<(PathBuf, File)>> {
        let mut newest = File::open(&self.file);
        if newest.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // It may have been moved just now, and the next is not there yet.
            thread::sleep(PAUSE);
            newest = File::open(&self.file);
        }
        let newest = newest.with_context(|| format!("`{}`", self.file.display()))?;
        let met = newest.metadata()?;
        let mut opened = vec![(self.file.clone(), newest)];
        if self.all {
            for older in older(&self.file, met) {
                opened.push(older?);
            }
        }
        opened.reverse();
        Ok(opened)
    }

    /// Tells every record, with the line that it is on.
    pub(in crate::cli) fn each(
        &self,
        strange: &mut Strange,
        mut tell: impl FnMut(&[u8], RecordForm<'static>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.is_stdin() {
            let name = Path::new("standard input");
            return Lines::new(name, io::stdin().lock()).each(strange, &mut tell);
        }
        for (path, file) in self.open()? {
            Lines::new(&path, BufReader::new(file)).each(strange, &mut tell)?;
        }
        Ok(())
    }
}

/// The files that were full before the newest one, opened, newest first.
///
/// They are opened from the newest on, as one that is full meanwhile becomes older: so it is
/// met twice, and left out once, rather than missed. Files are moved one after another, so one
/// name is nobody's meanwhile, and only after two such names is there nothing more.
pub(super) fn older(
    path: &Path,
    newest: Metadata,
) -> impl Iterator<Item = anyhow::Result<(PathBuf, File)>> {
    let mut met = vec![newest];
    let mut numbers = 1_u32..;
    let mut is_gap = false;
    std::iter::from_fn(move || {
        for number in numbers.by_ref() {
            let path = sibling(path, number);
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            match opened {
                Ok((this, file)) => {
                    is_gap = false;
                    if !met.iter().any(|other| is_same(other, &this)) {
                        met.push(this);
                        return Some(Ok((path, file)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if is_gap {
                        return None;
                    }
                    is_gap = true;
                }
                Err(error) => {
                    return Some(Err(error).with_context(|| format!("`{}`", path.display())));
                }
            }
        }
        None
    })
}

/// Whether both are of one file, whatever it is called by now.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
pub(in crate::cli) struct Strange {
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

    pub(in crate::cli) fn count(&self) -> u64 {
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
