//! `publaryn backup`: a consistent snapshot of an embedded installation, while the server runs.
//!
//! The blobs are linked before and after the database snapshot. Whatever the snapshot refers to
//! existed before it (first pass) or arrived just then (second pass), and a link keeps it however
//! gc decides meanwhile.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use publaryn_config::{Config, DataDir, StorageBackend};
use publaryn_metadata::Db;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    archive::{ArchiveWriter, DATABASE, Description, FORMAT, Manifest},
    cli::{BackupArgs, CommonArgs},
    configuration, database,
    exit::{Exit, Failure},
};

/// Level of `zstd` at which a disk is still the slower part; packages are compressed already.
const COMPRESSION_LEVEL: i32 = 3;

pub fn run(common: &CommonArgs, args: &BackupArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    require_embedded(&config, "back up")?;
    configuration::block_on(backup(&config, &args.out))
}

/// # Errors
/// Exit 78 naming the tools of whatever is not embedded.
pub fn require_embedded(config: &Config, verb: &str) -> Result<(), Failure> {
    let mut lines = Vec::new();
    if !config.is_embedded() {
        lines.push(format!(
            "config error: database.url: PostgreSQL is not embedded, {verb} with its own tools: \
             pg_dump --format=custom and pg_restore, or continuous archiving with pg_basebackup"
        ));
    }
    if config.storage.backend == StorageBackend::S3 {
        lines.push(format!(
            "config error: storage.backend: an S3 bucket is not embedded, {verb} with its own tools: \
             bucket versioning and replication, `aws s3 sync`, `mc mirror`"
        ));
    }
    if lines.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Configuration, lines.join("\n"))) }
}

async fn backup(config: &Config, out: &Path) -> Result<Exit, Failure> {
    let db = database::connect_existing(config).await?;
    let data_dir = DataDir::create(&config.data_dir)?;
    let work = WorkDir::create(&data_dir, &config.storage.fs.path)?;
    let result = write(config, &db, &data_dir, &work, out).await;
    db.close().await;
    let (manifest, damaged) = result?;
    let bytes: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
    println!(
        "{}: {} files, {bytes} bytes, schema {}",
        out.display(),
        manifest.files.len(),
        manifest.description.schema_version
    );
    if damaged.is_empty() {
        return Ok(Exit::Success);
    }
    for path in &damaged {
        eprintln!("{path}: its content does not have the digest of its name");
    }
    Err(Failure::new(Exit::Failed, format!("the backup is complete, but {} blobs in it are damaged", damaged.len())))
}

async fn write(
    config: &Config,
    db: &Db,
    data_dir: &DataDir,
    work: &WorkDir,
    out: &Path,
) -> Result<(Manifest, Vec<String>), Failure> {
    let cannot = |what: &'static str| move |error: io::Error| Failure::failed(what, error);
    let blobs = config.storage.fs.path.join("sha256");
    link_tree(&blobs, &work.blobs()).map_err(cannot("cannot link the blobs"))?;
    let snapshot = work.snapshot();
    db.snapshot_to(&snapshot).await.map_err(|error| Failure::failed("cannot take a database snapshot", error))?;
    link_tree(&blobs, &work.blobs()).map_err(cannot("cannot link the blobs"))?;
    let description = describe(&snapshot).await?;

    let (secrets, links, out) = (data_dir.path().join("secrets"), work.blobs(), out.to_path_buf());
    let archiving = tokio::task::spawn_blocking(move || archive(&snapshot, &secrets, &links, description, &out));
    let archived =
        archiving.await.map_err(|error| Failure::new(Exit::Internal, "the backup stopped").because(error))?;
    archived.map_err(cannot("cannot write the backup"))
}

/// The schema version is that of the snapshot, not of the database a moment later.
async fn describe(snapshot: &Path) -> Result<Description, Failure> {
    let unreadable = |error| Failure::failed("cannot read the database snapshot", error);
    let url = publaryn_config::DatabaseUrl::Sqlite(snapshot.to_path_buf()).expose();
    let copy = Db::connect(&url, &Default::default()).await.map_err(unreadable)?;
    let status = copy.migration_status().await;
    copy.close().await;
    let created_at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    Ok(Description {
        format: FORMAT,
        publaryn_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: status.map_err(unreadable)?.applied.into_iter().max().unwrap_or(0),
        created_at,
    })
}

/// Writes beside `out` and replaces it at the end; also returns the blobs that are not what their name says.
fn archive(
    snapshot: &Path,
    secrets: &Path,
    blobs: &Path,
    description: Description,
    out: &Path,
) -> io::Result<(Manifest, Vec<String>)> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = Draft::create(folder)?;
    let zstd = zstd::Encoder::new(BufWriter::with_capacity(1 << 20, draft.file.try_clone()?), COMPRESSION_LEVEL)?;
    let mut archive = ArchiveWriter::start(zstd, description)?;
    archive.add(snapshot, DATABASE.to_owned())?;
    for file in files_of(secrets)? {
        if let Some(name) = file.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) {
            archive.add(&file, format!("secrets/{name}"))?;
        }
    }
    let mut damaged = Vec::new();
    for shard in folders_of(blobs)? {
        for file in files_of(&shard)? {
            let (Some(shard), Some(name)) = (text_name(&shard), text_name(&file)) else { continue };
            let entry = archive.add(&file, format!("blobs/sha256/{shard}/{name}"))?;
            if !format!("{shard}{name}").starts_with(&entry.sha256) {
                damaged.push(entry.path.clone());
            }
        }
    }
    let (zstd, manifest) = archive.finish()?;
    zstd.finish()?.flush()?;
    draft.keep_as(out)?;
    File::open(folder)?.sync_all()?;
    Ok((manifest, damaged))
}

/// Links every file of the shards below `from` that is not linked yet. Files that vanish are skipped.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    for shard in folders_of(from)? {
        let Some(name) = shard.file_name() else { continue };
        let target = to.join(name);
        let mut is_made = target.is_dir();
        for file in files_of(&shard)? {
            if !is_made {
                DirBuilder::new().recursive(true).mode(0o700).create(&target)?;
                is_made = true;
            }
            let Some(name) = file.file_name() else { continue };
            match fs::hard_link(&file, target.join(name)) {
                Err(error) if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    children(folder, |kind| kind.is_file())
}

fn folders_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    children(folder, |kind| kind.is_dir())
}

/// In order of name; a folder that does not exist has none.
fn children(folder: &Path, wanted: fn(&fs::FileType) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if wanted(&entry.file_type()?) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn text_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// Snapshot and links of one backup, removed when it ends, and by the next one when it did not.
struct WorkDir {
    snapshots: PathBuf,
    links: PathBuf,
    _lock: File,
}

/// Name of the working directories, in the data directory and beside the blobs (links need one file system).
const WORK_NAME: &str = ".backup";

impl WorkDir {
    fn create(data_dir: &DataDir, blobs: &Path) -> Result<Self, Failure> {
        let lock_path = data_dir.path().join("backup.lock");
        let cannot = |error: io::Error| Failure::new(Exit::CannotCreate, "cannot prepare the backup").because(error);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock_path);
        let lock = lock.map_err(cannot)?;
        if let Err(error) = lock.try_lock() {
            return Err(Failure::failed("another backup of this data directory is running", error));
        }
        let work = Self { snapshots: data_dir.path().join(WORK_NAME), links: blobs.join(WORK_NAME), _lock: lock };
        work.clear().map_err(cannot)?;
        for folder in [&work.snapshots, &work.links] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        }
        Ok(work)
    }

    fn snapshot(&self) -> PathBuf {
        self.snapshots.join(DATABASE)
    }

    fn blobs(&self) -> PathBuf {
        self.links.join("sha256")
    }

    fn clear(&self) -> io::Result<()> {
        for folder in [&self.snapshots, &self.links] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove the working files of the backup");
        }
    }
}

/// An archive in the making; gone unless kept.
struct Draft {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl Draft {
    fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".publaryn-backup-{}", hex::encode(rand::random::<[u8; 8]>())));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, is_kept: false })
    }

    fn keep_as(mut self, out: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, out)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // The backup failed already; that is what is reported.
            let _ = fs::remove_file(&self.path);
        }
    }
}
