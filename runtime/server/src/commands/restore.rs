//! `publaryn restore`: a backup into an empty or absent data directory.
//!
//! Everything is unpacked into a folder of its own, compared with the manifest, and only then moved
//! into place, the database last. A server refuses a directory in which this was interrupted.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use publaryn_config::{Config, DataDir};
use publaryn_metadata::Db;

use super::backup::require_embedded;
use crate::{
    archive::{self, ArchiveError, DATABASE, Manifest},
    cli::{CommonArgs, RestoreArgs},
    configuration,
    exit::{Exit, Failure},
};

pub fn run(common: &CommonArgs, args: &RestoreArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    require_embedded(&config, "restore")?;
    require_default_places(&config)?;
    let archive = File::open(&args.from)
        .map_err(|error| Failure::failed(format!("cannot read {}", args.from.display()), error))?;

    let was_absent = !config.data_dir.exists();
    require_empty(&config.data_dir)?;
    let data_dir = DataDir::create(&config.data_dir)?;
    let lock = data_dir.lock_for_restore()?;
    let unpacked = data_dir.restore_path();
    match unpack(archive, &unpacked) {
        Ok(manifest) => {
            put_in_place(&unpacked, data_dir.path())
                .map_err(|error| Failure::failed(format!("cannot fill {}", data_dir.path().display()), error))?;
            println!("restored {} files, schema {}", manifest.files.len(), manifest.description.schema_version);
            println!("the search index is rebuilt on the next start");
            Ok(Exit::Success)
        }
        Err(error) => {
            // Back to how it was: the operator may want to try another archive.
            let _ = fs::remove_dir_all(&unpacked);
            let _ = fs::remove_file(data_dir.path().join("publaryn.lock"));
            drop(lock);
            if was_absent {
                let _ = fs::remove_dir(data_dir.path());
            }
            Err(Failure::failed(format!("nothing was restored: {}", args.from.display()), error))
        }
    }
}

/// The archive has one layout; a configuration that looks elsewhere would not find it.
fn require_default_places(config: &Config) -> Result<(), Failure> {
    let database = publaryn_config::DatabaseUrl::Sqlite(config.data_dir.join(DATABASE));
    let places = [
        ("database.url", config.database.url == database),
        ("storage.fs.path", config.storage.fs.path == config.data_dir.join("blobs")),
    ];
    match places.iter().find(|(_, is_default)| !is_default) {
        None => Ok(()),
        Some((key, _)) => {
            let text = format!("config error: {key}: unset it for the restore, then move the restored files there");
            Err(Failure::new(Exit::Configuration, text))
        }
    }
}

fn require_empty(path: &Path) -> Result<(), Failure> {
    let is_empty = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(Failure::failed(format!("cannot look into {}", path.display()), error)),
    };
    if is_empty {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failed,
        format!("{} is not empty; restore into an empty or absent directory", path.display()),
    ))
}

fn unpack(archive: File, into: &Path) -> Result<Manifest, ArchiveError> {
    let mut zstd = zstd::Decoder::new(BufReader::with_capacity(1 << 20, archive)).map_err(ArchiveError::Read)?;
    let manifest = archive::read(&mut zstd, Db::schema_version(), |path, body| {
        let target = into.join(path);
        store(&target, body).map_err(|source| match source {
            Stored::Reading(source) => ArchiveError::Read(source),
            Stored::Writing(source) => ArchiveError::Write { path: target.display().to_string(), source },
        })
    })?;
    // The checksum of the compression covers what comes after the manifest.
    io::copy(&mut zstd, &mut io::sink()).map_err(ArchiveError::Read)?;
    sync_folders(into).map_err(|source| ArchiveError::Write { path: into.display().to_string(), source })?;
    Ok(manifest)
}

/// Which side of a copy failed: a bad archive and a full disk need different answers.
enum Stored {
    Reading(io::Error),
    Writing(io::Error),
}

fn store(target: &Path, body: &mut dyn Read) -> Result<(), Stored> {
    let folder = target.parent().expect("an entry is below the target");
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Stored::Writing)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(Stored::Writing)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = body.read(&mut buffer).map_err(Stored::Reading)?;
        if count == 0 {
            break;
        }
        io::Write::write_all(&mut file, &buffer[..count]).map_err(Stored::Writing)?;
    }
    file.sync_all().map_err(Stored::Writing)
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// The database comes last: with it, the directory is complete.
fn put_in_place(unpacked: &Path, data_dir: &Path) -> io::Result<()> {
    for name in ["secrets", "blobs", DATABASE] {
        let from = unpacked.join(name);
        if from.exists() {
            fs::rename(from, data_dir.join(name))?;
        }
    }
    File::open(data_dir)?.sync_all()?;
    fs::remove_dir(unpacked)?;
    File::open(data_dir)?.sync_all()
}
