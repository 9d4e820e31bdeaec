//! Policy files, read from where the configuration says.

use std::path::{Path, PathBuf};

use super::error::{PolicyError, PolicyErrors};
use super::settings::PolicySettings;

/// A policy file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// Where it came from.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
}

/// The files in force, and those in the shadow, or why they can't be read.
pub(super) type Read = [Result<Vec<PolicySource>, PolicyErrors>; 2];

/// Reads everything that is configured.
pub(super) fn read_all(settings: &PolicySettings) -> Read {
    [&settings.files, &settings.shadow].map(|paths| read(paths))
}

/// The end of the names that count in a folder.
const EXTENSION: &str = "cedar";
/// Folders within folders. More is a circle of links.
const MAX_DEPTH: usize = 16;
/// Nobody reviews more than this.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads these files, and all files that end in `.cedar` in these folders and the folders in
/// them, sorted by name. What begins with a dot is left out.
///
/// # Errors
/// Everything that can't be read, and folders without any policy file.
pub fn read(paths: &[PathBuf]) -> Result<Vec<PolicySource>, PolicyErrors> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            list(path, MAX_DEPTH, &mut files, &mut errors);
            if files.len() == before && errors.is_empty() {
                let message = format!("no file in this folder ends in `.{EXTENSION}`");
                errors.push(PolicyError::plain(path, message));
            }
        } else {
            files.push(path.clone());
        }
    }
    // A file that is named, and in a folder as well, is one file.
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    let mut sources = Vec::new();
    for file in files {
        match text(&file) {
            Ok(text) => sources.push(PolicySource { file, text }),
            Err(error) => errors.push(PolicyError::plain(&file, error)),
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(PolicyErrors(errors)) }
}

fn text(file: &Path) -> Result<String, String> {
    let unreadable = |cause: std::io::Error| format!("not readable: {cause}");
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > MAX_BYTES {
        return Err(format!("{length} bytes are more than the {MAX_BYTES} that are read"));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, errors: &mut Vec<PolicyError>) {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
    });
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(cause) => {
            errors.push(PolicyError::plain(folder, format!("not readable: {cause}")));
            return;
        }
    };
    entries.sort_unstable();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            match depth.checked_sub(1) {
                Some(depth) => list(&path, depth, files, errors),
                None => errors.push(PolicyError::plain(&path, "folders lie too deep in folders")),
            }
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names below the folder, in their order, or the mistakes without it.
    fn found(folder: &Path) -> Result<Vec<String>, String> {
        let name =
            |source: &PolicySource| source.file.strip_prefix(folder).unwrap().display().to_string();
        read(&[folder.to_owned()])
            .map(|sources| sources.iter().map(name).collect())
            .map_err(|errors| errors.to_string().replace(&folder.display().to_string(), "F"))
    }

    fn write(folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "permit (principal, action, resource);").unwrap();
        file
    }

    #[test]
    fn a_folder_stands_for_the_policies_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let none = Err("F: no file in this folder ends in `.cedar`".to_owned());
        assert_eq!(found(folder), none);
        for name in ["README.md", "policies.cedar.bak", ".hidden.cedar", ".git/a.cedar"] {
            write(folder, name);
            assert_eq!(found(folder), none, "{name}");
        }
        for name in ["b.cedar", "a/z.cedar", "c.cedar"] {
            write(folder, name);
        }
        assert_eq!(
            found(folder),
            Ok(["a/z.cedar", "b.cedar", "c.cedar"].map(str::to_owned).to_vec())
        );
        // One that is named besides is still one.
        let twice = read(&[folder.to_owned(), folder.join("b.cedar")]).unwrap();
        assert_eq!(twice.len(), 3);
    }

    #[test]
    fn what_nobody_would_review_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.cedar");
        std::fs::File::create(&file).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let said = "F/large.cedar: 16777217 bytes are more than the 16777216 that are read";
        assert_eq!(found(folder.path()), Err(said.to_owned()));
        // A link to the folder that it is in leads on and on.
        let circle = tempfile::tempdir().unwrap();
        write(circle.path(), "a.cedar");
        std::os::unix::fs::symlink(circle.path(), circle.path().join("again")).unwrap();
        let said = found(circle.path()).unwrap_err();
        assert!(said.contains("again: folders lie too deep in folders"), "{said}");
    }
}
