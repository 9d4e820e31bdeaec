//! Files that are read again when they change.

use std::path::Path;

/// Writes a file in one step: whoever reads it sees what it said before, or all of this. And
/// nothing appears beside it, which would be read as well where a whole folder is.
pub(crate) fn replace(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), text).unwrap();
    new.persist(path).unwrap();
}
