//! The checks themselves. Each answers for one thing, in bounded time, and changes nothing.

use std::{io, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use publaryn_api::backends;
use publaryn_config::{Config, DataDir, DatabaseUrl, Registration, SearchBackend, StorageBackend};
use publaryn_metadata::Db;
use url::Url;

use super::{Check, upkeep};
use crate::{database, exit::Failure};

/// Longest time one network check may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn all(config: &Config) -> Vec<Check> {
    let mut checks = vec![configuration(config)];
    checks.extend(data_dir(config));
    checks.extend(database_checks(config).await);
    checks.extend(redis(config).await);
    checks.push(storage(config).await);
    checks.push(search(config).await);
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
    if config.auth.jwt_secret.is_none()
        && dir.signing_key_path().exists()
        && let Err(error) = dir.signing_key()
    {
        return Check::fail("permissions", chain(&error));
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
    let connected = tokio::time::timeout(PATIENCE, backends::database(config)).await;
    match connected {
        Err(_) => vec![Check::fail("database", format!("{:?}: no answer", config.database.url))],
        Ok(Err(error)) => vec![Check::fail("database", format!("{:?}: {}", config.database.url, describe(error)))],
        Ok(Ok(db)) => {
            let mut checks = vec![answers(config, &db).await];
            let (is_current, schema) = migrations(config, &db).await;
            checks.push(schema);
            if is_current {
                checks.extend(upkeep::all(config, &db).await);
            }
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

/// Also whether the schema is the one this program knows, so that more can be asked.
async fn migrations(config: &Config, db: &Db) -> (bool, Check) {
    match db.migration_status().await {
        Err(error) => (false, Check::fail("migrations", chain(&error))),
        Ok(status) if status.is_newer => {
            (false, Check::fail("migrations", "the database was made by a newer version of publaryn"))
        }
        Ok(status) if status.pending.is_empty() => {
            (true, Check::ok("migrations", format!("current, {} applied", status.applied.len())))
        }
        Ok(status) if config.database.auto_migrate => {
            (false, Check::warn("migrations", format!("{} pending, the next start applies them", status.pending.len())))
        }
        Ok(status) => {
            (false, Check::fail("migrations", format!("{} pending, run `publaryn migrate`", status.pending.len())))
        }
    }
}

async fn storage(config: &Config) -> Check {
    let place = match config.storage.backend {
        StorageBackend::Fs => config.storage.fs.path.display().to_string(),
        StorageBackend::S3 => format!("bucket {}", config.storage.s3.bucket.as_deref().unwrap_or_default()),
    };
    if config.storage.backend == StorageBackend::Fs && !config.storage.fs.path.exists() {
        return Check::warn("storage", format!("{place} does not exist yet, the first start creates it"));
    }
    let text = format!("{place}: a probe was written, read and deleted");
    within_patience("storage", text, async {
        let store = backends::blobs(config).await.map_err(describe)?;
        store.probe().await.map_err(|error| chain(&error))
    })
    .await
}

async fn redis(config: &Config) -> Option<Check> {
    let url = config.redis.url.as_ref()?;
    let text = format!("{url:?} answers");
    let probed = async {
        let cluster = backends::cluster(config).map_err(describe)?;
        // The connection is made by its own task, in a server as here.
        tokio::select! {
            answer = cluster.probe() => answer.map_err(|error| chain(&error)),
            () = cluster.run() => Err("the connection ended".to_owned()),
        }
    };
    Some(within_patience("redis", text, probed).await)
}

/// Meilisearch only: the embedded index belongs to the running server and is rebuilt when missing.
async fn search(config: &Config) -> Check {
    let Some(url) = config.search.url.as_ref().filter(|_| config.search.backend == SearchBackend::Meilisearch) else {
        return Check::ok("search", "embedded");
    };
    within_patience("search", format!("{url:?} answers"), async {
        let index = backends::search(config).await.map_err(describe)?;
        index.probe().await.map_err(|error| chain(&error))
    })
    .await
}

async fn within_patience(name: &'static str, text: String, check: impl Future<Output = Result<(), String>>) -> Check {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(())) => Check::ok(name, text),
        Ok(Err(error)) => Check::fail(name, error),
        Err(_) => Check::fail(name, format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn describe(error: publaryn_api::StartError) -> String {
    Failure::from(error).to_string()
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
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
