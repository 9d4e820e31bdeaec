//! Which files hold cases.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The files that are named, and those in the folders that are named, sorted. Folders in
/// those are left alone: they can hold the catalog that the cases are about.
///
/// # Errors
/// What can't be read, and a folder without any.
pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?;
        let files = if metadata.is_dir() { listed(path)? } else { vec![path.clone()] };
        for file in files {
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    Ok(found)
}

fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = || format!("{}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(named)? {
        let path = entry.with_context(named)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|end| end == "yaml") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{}: no file in this folder ends in `.yaml`", named());
    }
    files.sort();
    Ok(files)
}
