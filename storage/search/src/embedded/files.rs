//! The index on disk: opening it, checking it, and starting over when it is not ours or not whole.
//!
//! Layout below the search directory: `index/` belongs to tantivy, `state.json` says which schema
//! wrote it and how complete it is. Only these two are ever deleted.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use publaryn_core::BoxError;
use serde::{Deserialize, Serialize};
use tantivy::{Index, IndexReader, IndexSettings, ReloadPolicy, TantivyError, directory::MmapDirectory};

use super::schema::{Fields, SCHEMA_VERSION};
use crate::RebuildState;

/// An index that can be searched and written.
pub(super) struct Opened {
    pub index: Index,
    pub reader: IndexReader,
    pub fields: Fields,
}

/// What `state.json` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    schema: u32,
    pub rebuild: RebuildState,
}

impl State {
    pub const fn new(rebuild: RebuildState) -> Self {
        Self { schema: SCHEMA_VERSION, rebuild }
    }
}

/// The search directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Opens the index, or an empty one in its place when it is missing, of another schema version
    /// or damaged.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn open(&self) -> Result<(Opened, State), BoxError> {
        match self.open_existing() {
            Ok(found) => Ok(found),
            Err(why) => {
                match &why {
                    Refusal::Missing => tracing::info!("no search index yet, creating one"),
                    other => tracing::warn!(reason = %other, "search index is unusable, starting over"),
                }
                Ok((self.recreate()?, State::new(RebuildState::Needed)))
            }
        }
    }

    /// Whether the index tantivy would write to next is still there and whole enough to go on.
    pub fn is_lost(&self, opened: &Opened) -> bool {
        opened.index.load_metas().is_err() || opened.reader.reload().is_err()
    }

    pub fn save(&self, state: State) -> Result<(), BoxError> {
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        file.write_all(&serde_json::to_vec(&state)?)?;
        file.as_file().sync_all()?;
        file.persist(self.state_path())?;
        Ok(())
    }

    /// Deletes the index and makes an empty one that needs a rebuild.
    pub fn recreate(&self) -> Result<Opened, BoxError> {
        let index_dir = self.index_path();
        // The state goes first: without it a half-deleted index is never mistaken for a whole one.
        for gone in [fs::remove_file(self.state_path()), fs::remove_dir_all(&index_dir)] {
            match gone {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        fs::create_dir_all(&index_dir)?;
        let (schema, fields) = Fields::new();
        let index = Index::create(MmapDirectory::open(&index_dir)?, schema, IndexSettings::default())?;
        self.save(State::new(RebuildState::Needed))?;
        Ok(Opened { reader: reader(&index)?, index, fields })
    }

    fn open_existing(&self) -> Result<(Opened, State), Refusal> {
        let state: State = match fs::read(self.state_path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| Refusal::State)?,
            Err(_) => return Err(Refusal::Missing),
        };
        if state.schema != SCHEMA_VERSION {
            return Err(Refusal::OtherVersion(state.schema));
        }
        let index = Index::open_in_dir(self.index_path())?;
        let (schema, fields) = Fields::new();
        if index.schema() != schema {
            return Err(Refusal::OtherFields);
        }
        let damaged = index.validate_checksum()?;
        if !damaged.is_empty() {
            return Err(Refusal::Damaged(damaged.len()));
        }
        Ok((Opened { reader: reader(&index)?, index, fields }, state))
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index")
    }

    fn state_path(&self) -> PathBuf {
        self.root.join("state.json")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Reloaded by the writer after each commit, so that a commit is visible when its callers are told.
fn reader(index: &Index) -> Result<IndexReader, TantivyError> {
    index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()
}

/// Why the index on disk is not used.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("missing")]
    Missing,
    #[error("unreadable state file")]
    State,
    #[error("written with schema version {0}")]
    OtherVersion(u32),
    #[error("written with other fields")]
    OtherFields,
    #[error("{0} damaged files")]
    Damaged(usize),
    #[error("{0}")]
    Tantivy(#[from] TantivyError),
}
