//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A place for lines, unbuffered: what was written is out of our hands.
pub(super) trait Sink: Write + Send + 'static {
    /// Opens it anew, where it has a name that may by now stand for another file.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Told before so many bytes of whole lines are written, where lines end: the moment to
    /// go over to another file. After an error writing goes on where it was.
    fn make_room(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    /// Whether lines are kept anywhere.
    fn keeps(&self) -> bool {
        true
    }
}

/// Nowhere.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn keeps(&self) -> bool {
        false
    }
}

impl Write for Nowhere {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, past the standard library's buffer: a failed write must say
/// how much was written.
#[derive(Debug)]
pub(super) struct Stdout(File);

impl Stdout {
    pub(super) fn open() -> io::Result<Self> {
        io::stdout().as_fd().try_clone_to_owned().map(|fd| Self(File::from(fd)))
    }
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct Appending {
    path: PathBuf,
    file: File,
}

impl Appending {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append_to(path)? })
    }
}

/// Records name people, so a file that we make is not for everybody.
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Sink for Stdout {}

impl Sink for Appending {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

impl Write for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Appending {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.file.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
