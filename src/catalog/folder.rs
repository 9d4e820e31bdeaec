//! A folder of `catalog-info.yaml` files.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::entity::RawEntity;
use super::relations;
use super::trust::Trust;
use crate::yaml;
use serde::Deserialize as _;
use serde_json::Value;

/// A larger file is no catalog file.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
const MAX_DEPTH: usize = 32;

/// Why a folder gave no entities.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder can't be read.
    #[error("`{path}`: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A document is no entity.
    #[error("{path}:{line}: not an entity: {cause}")]
    Entity {
        /// In which file.
        path: PathBuf,
        /// Where it begins.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// A file is no YAML.
    #[error("{path}:{cause}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Where and what.
        cause: String,
    },
}

/// Reads every `*.yaml` and `*.yml` below a folder, in the order of their names.
pub(super) fn read(folder: &Path) -> Result<Draft, FolderError> {
    let mut files = Vec::new();
    collect(folder, 0, &mut files)?;
    files.sort();
    let mut documents = Vec::new();
    for file in &files {
        parse(file, &mut documents)?;
    }
    draft(&documents)
}

/// Takes the entities that stand in a file about something else, each with its line.
pub(super) fn of_entities(path: &Path, given: Vec<(usize, Value)>) -> Result<Draft, FolderError> {
    let document = |(line, json)| Document { path, line, json };
    draft(&given.into_iter().map(document).collect::<Vec<_>>())
}

fn draft(documents: &[Document<'_>]) -> Result<Draft, FolderError> {
    let mut entities = Vec::with_capacity(documents.len());
    for document in documents {
        entities.push(document.entity()?);
    }
    let relations = relations::of(&entities);
    let mut draft = Draft::new(Trust::All);
    for (entity, relations) in entities.iter_mut().zip(relations) {
        entity.relations = relations;
        draft.add(entity);
    }
    Ok(draft)
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> FolderError {
    FolderError::Read { path: path.to_owned(), cause: cause.to_string() }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), FolderError> {
    if depth > MAX_DEPTH {
        return Err(failed(folder, "too deep, or a link that leads back"));
    }
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, e))? {
        let path = entry.map_err(|e| failed(folder, e))?.path();
        // Links are followed: Kubernetes mounts files as links.
        let metadata = std::fs::metadata(&path).map_err(|e| failed(&path, e))?;
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml =
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if hidden {
            continue;
        }
        if metadata.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if metadata.is_file() && yaml {
            if metadata.len() > MAX_BYTES {
                return Err(failed(&path, format_args!("larger than {MAX_BYTES} bytes")));
            }
            files.push(path);
        }
    }
    Ok(())
}

/// One document of a file.
struct Document<'f> {
    path: &'f Path,
    line: usize,
    json: Value,
}

impl Document<'_> {
    fn entity(&self) -> Result<RawEntity<'_>, FolderError> {
        RawEntity::deserialize(&self.json).map_err(|e| FolderError::Entity {
            path: self.path.to_owned(),
            line: self.line,
            cause: e.to_string(),
        })
    }
}

fn parse<'f>(path: &'f Path, documents: &mut Vec<Document<'f>>) -> Result<(), FolderError> {
    let text = std::fs::read_to_string(path).map_err(|e| failed(path, e))?;
    let parsed = yaml::parse(&text)
        .map_err(|e| FolderError::Yaml { path: path.to_owned(), cause: e.to_string() })?;
    for document in parsed {
        let json = document.to_json();
        // An empty document between two separators says nothing.
        if !json.is_null() {
            documents.push(Document { path, line: document.line, json });
        }
    }
    Ok(())
}
