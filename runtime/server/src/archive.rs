//! The form of a backup: a `.tar.zst` of regular files, a short description first, the manifest last.
//!
//! `backup.json` lets a restore refuse early; `manifest.json` comes last because the digests are
//! taken while the files stream through, and so a truncated archive has none and is refused.

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Raised when older programs can no longer restore what newer ones write.
pub const FORMAT: u32 = 1;

pub const DESCRIPTION: &str = "backup.json";
pub const MANIFEST: &str = "manifest.json";
pub const DATABASE: &str = "publaryn.db";

/// What the archive is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub format: u32,
    /// The program that wrote it.
    pub publaryn_version: String,
    /// Newest migration of the database in it.
    pub schema_version: i64,
    /// RFC 3339.
    pub created_at: String,
}

/// Every file of the archive but the two documents about it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(flatten)]
    pub description: Description,
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the data directory, with `/`.
    pub path: String,
    pub size_bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// Appends files to an archive and remembers their digests.
pub struct ArchiveWriter<W: Write> {
    tar: Builder<W>,
    manifest: Manifest,
}

impl<W: Write> ArchiveWriter<W> {
    pub fn start(out: W, description: Description) -> io::Result<Self> {
        let mut tar = Builder::new(out);
        append_json(&mut tar, DESCRIPTION, &description)?;
        Ok(Self { tar, manifest: Manifest { description, files: Vec::new() } })
    }

    /// Adds the file at `source`, which nobody changes meanwhile, and returns its entry.
    pub fn add(&mut self, source: &Path, path: String) -> io::Result<&FileEntry> {
        let file = std::fs::File::open(source)?;
        let size_bytes = file.metadata()?.len();
        let mut body = Hashing::new(file.take(size_bytes));
        self.tar.append_data(&mut header(size_bytes), &path, &mut body)?;
        if body.bytes != size_bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} shrank", source.display())));
        }
        self.manifest.files.push(FileEntry { path, size_bytes, sha256: body.finish() });
        Ok(self.manifest.files.last().expect("an entry was just added"))
    }

    /// Writes the manifest and the end mark.
    pub fn finish(mut self) -> io::Result<(W, Manifest)> {
        append_json(&mut self.tar, MANIFEST, &self.manifest)?;
        Ok((self.tar.into_inner()?, self.manifest))
    }
}

fn append_json<W: Write>(tar: &mut Builder<W>, path: &str, document: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(document)?;
    text.push(b'\n');
    tar.append_data(&mut header(text.len() as u64), path, text.as_slice())
}

fn header(size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header.set_entry_type(EntryType::Regular);
    header
}

/// Why an archive cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot be read to its end")]
    Read(#[source] io::Error),
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("is not a backup of publaryn: {0}")]
    NotABackup(String),
    #[error("has format {0}, this program knows {FORMAT}")]
    NewerFormat(u32),
    #[error("holds schema version {found}, this program knows versions up to {known}")]
    NewerSchema { found: i64, known: i64 },
    #[error("is damaged: {0}")]
    Damaged(String),
}

/// Longest description and manifest, in bytes; the manifest has about 150 per blob.
const LONGEST_DESCRIPTION: u64 = 64 * 1024;
const LONGEST_MANIFEST: u64 = 2 << 30;

/// Reads a whole archive and hands each file to `place`, which stores it and gives it back hashed.
///
/// Every file was compared with the manifest once this returns.
///
/// # Errors
/// Before the first file is placed when the format or schema is newer than `known_schema`.
pub fn read(
    archive: impl Read,
    known_schema: i64,
    mut place: impl FnMut(&str, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<Manifest, ArchiveError> {
    let mut tar = tar::Archive::new(archive);
    let mut entries = tar.entries().map_err(ArchiveError::Read)?;
    let first = entries.next().ok_or_else(|| ArchiveError::NotABackup("it is empty".to_owned()))?;
    let description = read_description(first.map_err(ArchiveError::Read)?, known_schema)?;

    let mut found: Vec<FileEntry> = Vec::new();
    let mut seen = HashSet::new();
    for entry in entries {
        let mut entry = entry.map_err(ArchiveError::Read)?;
        let path = path_of(&entry)?;
        if path == MANIFEST {
            let manifest: Manifest = read_json(&mut entry, LONGEST_MANIFEST)?;
            return compare(manifest, &description, found);
        }
        if !is_expected(&path) || entry.header().entry_type() != EntryType::Regular {
            return Err(ArchiveError::Damaged(format!("unexpected entry {path:?}")));
        }
        if !seen.insert(path.clone()) {
            return Err(ArchiveError::Damaged(format!("{path} is in it twice")));
        }
        let mut body = Hashing::new(&mut entry);
        place(&path, &mut body)?;
        let size_bytes = body.bytes;
        found.push(FileEntry { path, size_bytes, sha256: body.finish() });
    }
    Err(ArchiveError::Damaged("the manifest is missing, the archive was cut off".to_owned()))
}

fn read_description<R: Read>(mut entry: tar::Entry<'_, R>, known: i64) -> Result<Description, ArchiveError> {
    if path_of(&entry)? != DESCRIPTION {
        return Err(ArchiveError::NotABackup(format!("it does not begin with {DESCRIPTION}")));
    }
    let description: Description = read_json(&mut entry, LONGEST_DESCRIPTION)?;
    if description.format > FORMAT {
        return Err(ArchiveError::NewerFormat(description.format));
    }
    if description.schema_version > known {
        return Err(ArchiveError::NewerSchema { found: description.schema_version, known });
    }
    Ok(description)
}

fn read_json<T: for<'de> Deserialize<'de>>(entry: &mut impl Read, longest: u64) -> Result<T, ArchiveError> {
    let mut text = Vec::new();
    entry.take(longest).read_to_end(&mut text).map_err(ArchiveError::Read)?;
    serde_json::from_slice(&text).map_err(|error| ArchiveError::Damaged(error.to_string()))
}

fn compare(manifest: Manifest, description: &Description, found: Vec<FileEntry>) -> Result<Manifest, ArchiveError> {
    if &manifest.description != description {
        return Err(ArchiveError::Damaged(format!("{DESCRIPTION} and {MANIFEST} disagree")));
    }
    let mut wanted: Vec<&FileEntry> = manifest.files.iter().collect();
    let mut found: Vec<&FileEntry> = found.iter().collect();
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some((wanted, _)) = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found) {
        return Err(ArchiveError::Damaged(format!("{} is not what the manifest says", wanted.path)));
    }
    if wanted.len() != found.len() {
        return Err(ArchiveError::Damaged(format!("{} files, the manifest has {}", found.len(), wanted.len())));
    }
    if !wanted.iter().any(|file| file.path == DATABASE) {
        return Err(ArchiveError::Damaged("there is no database in it".to_owned()));
    }
    Ok(manifest)
}

fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, ArchiveError> {
    let bytes = entry.path_bytes();
    let path = std::str::from_utf8(&bytes).map_err(|_| ArchiveError::Damaged("a path is not UTF-8".to_owned()))?;
    Ok(path.to_owned())
}

/// The only paths a backup has: nothing in it can name a place outside the data directory.
fn is_expected(path: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain)
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [DATABASE] => true,
        ["secrets", name] => is_name(name),
        ["blobs", "sha256", shard, name] => is_name(shard) && is_name(name),
        _ => false,
    }
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    inner: R,
    sha256: Sha256,
    bytes: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, sha256: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> String {
        hex::encode(self.sha256.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(schema_version: i64) -> Description {
        Description {
            format: FORMAT,
            publaryn_version: "1.0.0".to_owned(),
            schema_version,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    /// An archive of these files, as bytes.
    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = ArchiveWriter::start(Vec::new(), description(3)).unwrap();
        for (path, text) in files {
            let source = scratch.path().join("file");
            std::fs::write(&source, text).unwrap();
            writer.add(&source, (*path).to_owned()).unwrap();
        }
        writer.finish().unwrap().0
    }

    fn read_back(bytes: &[u8], known: i64) -> Result<Vec<(String, String)>, ArchiveError> {
        let mut placed = Vec::new();
        read(bytes, known, |path, body| {
            let mut text = String::new();
            body.read_to_string(&mut text).map_err(ArchiveError::Read)?;
            placed.push((path.to_owned(), text));
            Ok(())
        })?;
        Ok(placed)
    }

    const FILES: &[(&str, &str)] =
        &[("publaryn.db", "database"), ("secrets/jwt.key", "key"), ("blobs/sha256/ab/cd-1", "blob")];

    #[test]
    fn what_goes_in_comes_out() {
        let expected: Vec<_> = FILES.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(read_back(&archive(FILES), 3).unwrap(), expected);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let good = archive(FILES);
        let position = good.windows(8).position(|window| window == b"database").unwrap();
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert!(matches!(read_back(&bad, 3), Err(ArchiveError::Damaged(_))));
    }

    #[test]
    fn a_cut_archive_is_refused_wherever_it_was_cut() {
        let good = archive(FILES);
        let manifest = good.windows(MANIFEST.len()).rposition(|window| window == MANIFEST.as_bytes()).unwrap();
        for length in (0..=manifest).step_by(256) {
            assert!(read_back(&good[..length], 3).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn newer_schemas_and_formats_are_refused_before_anything_is_placed() {
        let mut placed = 0;
        let result = read(archive(FILES).as_slice(), 2, |_, _| {
            placed += 1;
            Ok(())
        });
        assert!(matches!(result, Err(ArchiveError::NewerSchema { found: 3, known: 2 })));
        assert_eq!(placed, 0);
    }

    #[test]
    fn paths_outside_the_data_directory_are_refused() {
        for path in ["blobs/sha256/../x", "secrets/.x", "other", "blobs/sha256/ab", "blobs/tmp/ab/x", "search/x"] {
            let bytes = {
                let scratch = tempfile::tempdir().unwrap();
                let source = scratch.path().join("file");
                std::fs::write(&source, "x").unwrap();
                let mut writer = ArchiveWriter::start(Vec::new(), description(1)).unwrap();
                match writer.add(&source, path.to_owned()) {
                    Ok(_) => writer.finish().unwrap().0,
                    // The tar writer refuses `..` itself.
                    Err(_) => continue,
                }
            };
            assert!(matches!(read_back(&bytes, 1), Err(ArchiveError::Damaged(_))), "{path}");
        }
        assert!(!is_expected("/etc/passwd") && !is_expected("secrets/../x") && !is_expected("blobs/sha256/../x"));
    }

    #[test]
    fn the_database_must_be_in_it_and_nothing_twice() {
        assert!(read_back(&archive(&FILES[1..]), 3).is_err());
        assert!(read_back(&archive(&[FILES[0], FILES[1], FILES[1]]), 3).is_err());
    }
}
