//! What is written from now on, also when the file is begun anew meanwhile.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::read::{Source, Strange, is_same, older};
use super::show::Shown;

const PAUSE: Duration = Duration::from_millis(200);
/// More than this without a line's end is no record.
const MAX_LINE: usize = 4 << 20;

/// Shows what is there and what comes, until it is ended.
pub(super) fn follow<W: Write>(
    source: &Source,
    strange: &mut Strange,
    shown: &mut Shown<'_, W>,
) -> anyhow::Result<()> {
    let mut files = source.open()?;
    let path = &source.file;
    let Some((_, file)) = files.pop() else { return Ok(()) };
    for (path, file) in files {
        let mut older = Followed::new(path, file);
        older.drain(strange, shown)?;
        older.end(strange, shown)?;
    }
    let mut current = Followed::new(path.clone(), file);
    let mut moved = false;
    loop {
        let came = current.drain(strange, shown)?;
        shown.flush()?;
        // A writer may be slower to go over than whoever moved the file: what comes within
        // a pause of that is still read.
        if moved && !came {
            let mut next = after(path, &current.file)?;
            let last = next.pop();
            for mut between in next {
                between.drain(strange, shown)?;
                between.end(strange, shown)?;
            }
            if let Some(last) = last {
                current.end(strange, shown)?;
                current = last;
                moved = false;
                continue;
            }
        }
        moved = match std::fs::metadata(path) {
            Ok(there) => !is_same(&there, &current.file.metadata()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("`{}`", path.display())),
        };
        if !came {
            thread::sleep(PAUSE);
        }
    }
}

/// The files after the one that is being read, oldest first: it can have been moved more
/// than once meanwhile. None where the newest was moved just now, and the next is not there yet.
fn after(path: &Path, current: &File) -> anyhow::Result<Vec<Followed>> {
    let ours = current.metadata()?;
    let newest = match File::open(path) {
        Ok(newest) => newest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("`{}`", path.display())),
    };
    let met = newest.metadata()?;
    let mut newer = vec![Followed::new(path.to_owned(), newest)];
    for older in older(path, met) {
        let (path, file) = older?;
        if is_same(&file.metadata()?, &ours) {
            newer.reverse();
            return Ok(newer);
        }
        newer.push(Followed::new(path, file));
    }
    // It was moved elsewhere.
    newer.truncate(1);
    Ok(newer)
}

/// A file that is read as far as it goes.
struct Followed {
    path: PathBuf,
    file: File,
    /// What was read beyond the last whole line.
    rest: Vec<u8>,
    lines: u64,
}

impl Followed {
    fn new(path: PathBuf, file: File) -> Self {
        Self { path, file, rest: Vec::new(), lines: 0 }
    }

    /// Shows the lines that have become whole. Returns whether there was anything to read.
    fn drain<W: Write>(
        &mut self,
        strange: &mut Strange,
        shown: &mut Shown<'_, W>,
    ) -> anyhow::Result<bool> {
        if self.file.metadata()?.len() < self.file.stream_position()? {
            // It was emptied, and begins anew.
            self.end(strange, shown)?;
            self.lines = 0;
            self.file.rewind()?;
        }
        let mut any = false;
        let mut part = vec![0; 64 << 10];
        loop {
            let read = self.file.read(&mut part)?;
            if read == 0 {
                return Ok(any);
            }
            any = true;
            self.rest.extend_from_slice(part.get(..read).unwrap_or_default());
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.line(&line, strange, shown)?;
            }
            if self.rest.len() > MAX_LINE {
                // No record is so long: what follows is not one either, and is said to be.
                self.rest.truncate(1);
            }
        }
    }

    /// Nothing more will come: what is left is a line without its end, whole or torn.
    fn end<W: Write>(
        &mut self,
        strange: &mut Strange,
        shown: &mut Shown<'_, W>,
    ) -> anyhow::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        self.line(&rest, strange, shown)
    }

    fn line<W: Write>(
        &mut self,
        line: &[u8],
        strange: &mut Strange,
        shown: &mut Shown<'_, W>,
    ) -> anyhow::Result<()> {
        self.lines += 1;
        let before = strange.count();
        if let Some(record) = strange.read(&self.path, self.lines, line) {
            return shown.tell(line.trim_ascii_end(), &record);
        }
        if strange.count() > before {
            crate::cli::note(&format!("{}:{} is no record", self.path.display(), self.lines));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::sibling;

    /// However far whoever moves the files has come.
    #[test]
    fn what_is_being_moved_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let named = |number: u32| match number {
            0 => path.clone(),
            number => sibling(&path, number),
        };
        for (there, after_it, all) in [
            // All have moved, and the next one is there.
            (
                &[(0, "d"), (1, "c"), (2, "b"), (3, "a")][..],
                &["b", "c", "d"][..],
                &["a", "b", "c", "d"][..],
            ),
            // It is not there yet, and does not come.
            (&[(1, "c"), (2, "b"), (3, "a")], &[], &[]),
            // The oldest has moved, then the next.
            (&[(0, "c"), (1, "b"), (3, "a")], &["b", "c"], &["a", "b", "c"]),
            (&[(0, "c"), (2, "b"), (3, "a")], &["b", "c"], &["a", "b", "c"]),
            // To a name of somebody else's.
            (&[(0, "c"), (1, "b"), (9, "a")], &["c"], &["b", "c"]),
        ] {
            let files: Vec<PathBuf> = there.iter().map(|(number, _)| named(*number)).collect();
            for (file, (_, text)) in files.iter().zip(there) {
                std::fs::write(file, text).unwrap();
            }
            let current = File::open(files.last().unwrap()).unwrap();
            let read = |mut next: Followed| io::read_to_string(&mut next.file).unwrap();
            let found: Vec<String> =
                after(&path, &current).unwrap().into_iter().map(read).collect();
            assert_eq!(found, after_it, "{there:?}");
            let source = Source { file: path.clone(), all: true };
            // Without the newest file that is said, and no others are taken for all.
            let found: Vec<String> = source
                .open()
                .unwrap_or_default()
                .into_iter()
                .map(|(_, file)| io::read_to_string(file).unwrap())
                .collect();
            assert_eq!(found, all, "{there:?}");
            files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        }
    }
}
