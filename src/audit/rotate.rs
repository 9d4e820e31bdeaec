//! A file that is begun anew when it is full.
//!
//! Files move by renaming, from the oldest on, and the writer goes over to a new one
//! between two batches of whole lines: nothing is copied, so nothing is lost or cut.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::settings::RotateSettings;
use super::sink::{Sink, append_to};

/// Appended to, and renamed to `.1` when it is full, which moves `.1` to `.2` and so on.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    settings: RotateSettings,
}

impl Rotating {
    pub(super) fn open(path: &Path, settings: RotateSettings) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append_to(path)?, settings })
    }

    fn rotate(&self) -> io::Result<()> {
        let is_ours = match fs::metadata(&self.path) {
            Ok(there) => {
                let ours = self.file.metadata()?;
                (there.dev(), there.ino()) == (ours.dev(), ours.ino())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        // Somebody else has moved it already, or we have and could not open the next one.
        // Moving once more would push the oldest out for nothing.
        if !is_ours {
            return Ok(());
        }
        let keep = self.settings.keep.max(1);
        for number in (1..keep).rev() {
            if_there(fs::rename(sibling(&self.path, number), sibling(&self.path, number + 1)))?;
        }
        fs::rename(&self.path, sibling(&self.path, 1))?;
        // What is beyond, from a time when more were kept.
        let mut beyond = keep + 1;
        while fs::remove_file(sibling(&self.path, beyond)).is_ok() {
            beyond += 1;
        }
        Ok(())
    }
}

/// The name of the file that was full so many files ago.
pub(crate) fn sibling(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

fn if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Sink for Rotating {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        // Asked of the file, which somebody may have emptied.
        let size = self.file.metadata()?.len();
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        if size == 0 || size.saturating_add(more) <= self.settings.max_size {
            return Ok(());
        }
        self.rotate()?;
        self.reopen()
    }
}

impl Write for Rotating {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.file.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        sink: Rotating,
    }

    impl Case {
        fn new(max_size: u64, keep: u32) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("audit");
            let sink = Rotating::open(&path, RotateSettings { max_size, keep }).expect("a file");
            Self { folder, sink }
        }

        fn write(&mut self, text: &str) {
            self.sink.make_room(text.len()).expect("room");
            self.sink.write_all(text.as_bytes()).expect("written");
        }

        /// Every file and what is in it.
        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<_> = fs::read_dir(self.folder.path())
                .expect("a folder")
                .map(|entry| {
                    let path = entry.expect("an entry").path();
                    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                    (name, fs::read_to_string(path).expect("a text"))
                })
                .collect();
            files.sort();
            files
        }
    }

    fn files(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut case = Case::new(4, 2);
        // More than fits goes into a file of its own.
        for text in ["a\n", "b\n", "longer\n", "c\n", "d\n", "e\n"] {
            case.write(text);
        }
        let want = [("audit", "e\n"), ("audit.1", "c\nd\n"), ("audit.2", "longer\n")];
        assert_eq!(case.files(), files(&want));
        // With fewer to keep, the rest goes with the next.
        case.sink.settings.keep = 1;
        case.write("f\n");
        case.write("g\n");
        assert_eq!(case.files(), files(&[("audit", "g\n"), ("audit.1", "e\nf\n")]));
    }

    #[test]
    fn a_file_that_somebody_else_moved_or_emptied_is_not_moved_again() {
        let mut case = Case::new(4, 3);
        case.write("aaaa");
        let path = case.sink.path.clone();
        fs::rename(&path, case.folder.path().join("moved")).expect("renamed");
        case.write("b\n");
        assert_eq!(case.files(), files(&[("audit", "b\n"), ("moved", "aaaa")]));
        // Emptied in place: an appending writer goes on at the new end.
        case.write("c\n");
        File::create(&path).expect("emptied");
        case.write("dd\n");
        assert_eq!(case.files(), files(&[("audit", "dd\n"), ("moved", "aaaa")]));
    }

    #[test]
    fn what_can_not_be_moved_is_written_to_on() {
        let mut case = Case::new(4, 1);
        case.write("aaaa");
        // A folder stands where the file should go.
        let blocked = case.folder.path().join("audit.1/full");
        fs::create_dir_all(&blocked).expect("a folder");
        case.sink.make_room(4).expect_err("blocked");
        case.sink.write_all(b"bbbb").expect("written");
        fs::remove_dir_all(case.folder.path().join("audit.1")).expect("removed");
        case.write("cccc");
        assert_eq!(case.files(), files(&[("audit", "cccc"), ("audit.1", "aaaabbbb")]));
    }
}
