//! The checks themselves. Each answers for one thing, in bounded time, and changes nothing.

use std::{io, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use publaryn_blobs::{BlobStore, DiskConfig, DiskStore};
use publaryn_config::{Config, DataDir, DatabaseUrl, Registration, StorageBackend};
use publaryn_metadata::Db;
use url::Url;

use super::Check;
use crate::database;

/// Longest time one network check may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn all(config: &Config) -> Vec<Check> {
    let mut checks = vec![configuration(config)];
    checks.extend(data_dir(config));
    checks.extend(database_checks(config).await);
    checks.extend(storage(config).await);
    checks.push(base_url(config).await);
    checks.push(registration(config));
    checks
}

fn configuration(config: &Config) -> Check {
    let set = config.effective().iter().filter(|line| !line.origin.is_default()).count();
    match config.warnings() {
        [] => Check::ok("configuration", format!("valid, {set} settings differ from the defaults")),
        warnings => Check::warn("configuration", warnings.join("; ")),
    }
}

/// Directory, permissions, free space. A directory that is not there yet is made by the first start.
fn data_dir(config: &Config) -> Vec<Check> {
    let path = &config.data_dir;
    if !path.exists() {
        return vec![Check::warn(
            "data_dir",
            format!("{} does not exist yet, the first start creates it", path.display()),
        )];
    }
    let dir = match DataDir::create(path) {
        Ok(dir) => dir,
        Err(error) => return vec![Check::fail("data_dir", chain(&error))],
    };
    let used = if dir.is_in_use() { "in use by a server" } else { "no server is running on it" };
    let mut checks = vec![Check::ok("data_dir", format!("{} is writable, {used}", path.display()))];
    if dir.restore_path().exists() {
        let text = format!("{} was left by an interrupted restore", dir.restore_path().display());
        checks.push(Check::fail("restore", text));
    }
    checks.push(permissions(config, &dir));
    checks.push(free_space(path));
    checks
}

fn permissions(config: &Config, dir: &DataDir) -> Check {
    let mode = std::fs::metadata(dir.path()).map_or(0, |data| data.permissions().mode() & 0o777);
    // Only looked at when it exists: a check makes no keys.
    if config.auth.jwt_secret.is_none() && dir.signing_key_path().exists() {
        if let Err(error) = dir.signing_key() {
            return Check::fail("permissions", chain(&error));
        }
    }
    if mode & 0o077 != 0 {
        let text = format!("{} has mode {mode:04o}, others on this machine can look into it", dir.path().display());
        return Check::warn("permissions", text);
    }
    Check::ok("permissions", "data directory and secrets are private")
}

/// Below this, uploads begin to fail soon.
const SCARCE_BYTES: u64 = 1 << 30;

fn free_space(path: &Path) -> Check {
    match rustix::fs::statvfs(path) {
        Ok(volume) => {
            let free = volume.f_bavail.saturating_mul(volume.f_frsize);
            let text = format!("{} MiB free on the volume of {}", free >> 20, path.display());
            if free < SCARCE_BYTES { Check::warn("free_space", text) } else { Check::ok("free_space", text) }
        }
        Err(error) => Check::warn("free_space", format!("cannot be told: {error}")),
    }
}

async fn database_checks(config: &Config) -> Vec<Check> {
    if let (DatabaseUrl::Sqlite(path), Err(_)) = (&config.database.url, database::require_file(config)) {
        let text = format!("{} does not exist yet, the first start creates it", path.display());
        return vec![Check::warn("database", text)];
    }
    match database::try_connect(config).await {
        Err(error) => vec![Check::fail("database", format!("{:?}: {}", config.database.url, chain(&error)))],
        Ok(db) => {
            let checks = vec![answers(config, &db).await, migrations(config, &db).await];
            db.close().await;
            checks
        }
    }
}

async fn answers(config: &Config, db: &Db) -> Check {
    let started = std::time::Instant::now();
    match tokio::time::timeout(PATIENCE, db.probe()).await {
        Ok(Ok(())) => {
            let took = started.elapsed().as_millis();
            Check::ok("database", format!("{:?} reads and writes, {took} ms", config.database.url))
        }
        Ok(Err(error)) => Check::fail("database", chain(&error)),
        Err(_) => Check::fail("database", format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn migrations(config: &Config, db: &Db) -> Check {
    match db.migration_status().await {
        Err(error) => Check::fail("migrations", chain(&error)),
        Ok(status) if status.is_newer => {
            Check::fail("migrations", "the database was made by a newer version of publaryn")
        }
        Ok(status) if status.pending.is_empty() => {
            Check::ok("migrations", format!("current, {} applied", status.applied.len()))
        }
        Ok(status) if config.database.auto_migrate => {
            Check::warn("migrations", format!("{} pending, the next start applies them", status.pending.len()))
        }
        Ok(status) => Check::fail("migrations", format!("{} pending, run `publaryn migrate`", status.pending.len())),
    }
}

async fn storage(config: &Config) -> Option<Check> {
    if config.storage.backend != StorageBackend::Fs {
        return None;
    }
    let path = &config.storage.fs.path;
    if !path.exists() {
        let text = format!("{} does not exist yet, the first start creates it", path.display());
        return Some(Check::warn("storage", text));
    }
    let probed = async {
        let store = DiskStore::open(DiskConfig { path: path.clone() }).await?;
        store.probe().await
    };
    Some(match tokio::time::timeout(PATIENCE, probed).await {
        Ok(Ok(())) => Check::ok("storage", format!("{}: written, read and deleted a probe", path.display())),
        Ok(Err(error)) => Check::fail("storage", chain(&error)),
        Err(_) => Check::fail("storage", format!("no answer within {} s", PATIENCE.as_secs())),
    })
}

/// Whether the public address leads anywhere from here.
async fn base_url(config: &Config) -> Check {
    let base = &config.server.base_url;
    let Some((host, port)) = Url::parse(base.as_str())
        .ok()
        .and_then(|url| Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?)))
    else {
        return Check::fail("base_url", format!("{base} has no host"));
    };
    if port == 0 {
        return Check::warn("base_url", "the port is chosen at start");
    }
    let connected = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect((host.as_str(), port))).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(_) => Check::ok("base_url", format!("{base} accepts connections")),
        Err(error) => Check::warn("base_url", format!("{base} cannot be reached from here: {error}")),
    }
}

fn registration(config: &Config) -> Check {
    match config.auth.registration {
        Registration::Open if !config.server.base_url.is_loopback() => {
            Check::warn("registration", "anyone who can reach the server may create an account (auth.registration)")
        }
        Registration::Open => Check::ok("registration", "open, on a loopback address"),
        Registration::Closed => Check::ok("registration", "closed"),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
