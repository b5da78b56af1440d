//! The data directory: created private, used by one server, holding the generated signing key.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rand::TryRngCore;

use crate::Secret;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Exit 73.
    #[error("cannot create or write {}", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Exit 75.
    #[error("{} is in use by another server{}", path.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse { path: PathBuf, holder: Option<u32> },
    /// Exit 78.
    #[error("{} is readable by others (mode {mode:04o}); run `chmod 600 {}`", path.display(), path.display())]
    LoosePermissions { path: PathBuf, mode: u32 },
    /// Exit 78.
    #[error("{} does not hold a signing key; remove it to have a new one made, which ends all sessions", path.display())]
    DamagedKey { path: PathBuf },
    /// Exit 78.
    #[error("{} was left by an interrupted restore; empty the directory and restore again", path.display())]
    HalfRestored { path: PathBuf },
}

/// A generated signing key, in random bytes; the file holds them as hexadecimal digits.
pub const SIGNING_KEY_BYTES: usize = 32;

/// A data directory that exists. Holding one does not exclude other processes, see [`DataDir::lock`].
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Keeps every other server out of the data directory until dropped; ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// [`DataDir::is_in_use`] takes the lock for an instant; a starting server tries again after it.
const LOCK_ATTEMPTS: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

impl DataDir {
    /// Creates the directory when missing, readable by its owner only. Idempotent.
    ///
    /// # Errors
    /// `Unwritable`.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let unwritable = |source| DataDirError::Unwritable { path: path.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable)?;
        // Read-only mounts and foreign owners show only when something is written.
        let probe = path.join(format!(".write-probe-{}", std::process::id()));
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe).map_err(unwritable)?;
        fs::remove_file(&probe).map_err(unwritable)?;
        Ok(Self(path.to_path_buf()))
    }

    /// Where a restore unpacks before it moves everything into place.
    pub fn restore_path(&self) -> PathBuf {
        self.0.join(".restoring")
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes this process the only server of the directory.
    ///
    /// # Errors
    /// `InUse` when another one holds the lock, `HalfRestored`, `Unwritable`.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        let lock = self.lock_for_restore()?;
        let leftover = self.restore_path();
        if leftover.exists() { Err(DataDirError::HalfRestored { path: leftover }) } else { Ok(lock) }
    }

    /// [`DataDir::lock`] for the one command that may find or leave an unfinished restore.
    pub fn lock_for_restore(&self) -> Result<DataDirLock, DataDirError> {
        let path = self.0.join("publaryn.lock");
        let unwritable = |source| DataDirError::Unwritable { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        for attempts_left in (0..LOCK_ATTEMPTS).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempts_left > 0 => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(DataDirError::InUse { path: self.0.clone(), holder: read_pid(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(unwritable(source)),
            }
        }
        // For the message of the next one only; the lock itself is what counts.
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
        Ok(DataDirLock { _file: file })
    }

    /// Whether a server holds the lock now.
    pub fn is_in_use(&self) -> bool {
        let Ok(file) = File::open(self.0.join("publaryn.lock")) else { return false };
        // Held for an instant only, which the attempts of a starting server outlast.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    pub fn signing_key_path(&self) -> PathBuf {
        self.0.join("secrets").join("jwt.key")
    }

    /// The signing key of this directory; made at the first call, by whichever process comes first.
    ///
    /// # Errors
    /// `LoosePermissions`, `DamagedKey`, `Unwritable`.
    pub fn signing_key(&self) -> Result<Secret, DataDirError> {
        let path = self.signing_key_path();
        match read_key(&path) {
            Err(DataDirError::Unwritable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make_key(&path).map_err(|source| DataDirError::Unwritable { path: path.clone(), source })?;
                read_key(&path)
            }
            other => other,
        }
    }
}

/// Checks an existing key without making one.
fn read_key(path: &Path) -> Result<Secret, DataDirError> {
    let unreadable = |source| DataDirError::Unwritable { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::LoosePermissions { path: path.to_path_buf(), mode });
    }
    let mut text = String::new();
    let damaged = || DataDirError::DamagedKey { path: path.to_path_buf() };
    file.take(4096).read_to_string(&mut text).map_err(|_| damaged())?;
    let key = text.trim_end();
    if key.len() < SIGNING_KEY_BYTES { Err(damaged()) } else { Ok(Secret::new(key)) }
}

/// Writes a complete key under another name first: nobody ever reads half of one.
fn make_key(path: &Path) -> io::Result<()> {
    let folder = path.parent().expect("the key is in `secrets`");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = [0u8; SIGNING_KEY_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut key).map_err(io::Error::other)?;
    let nonce = hex::encode(rand::random::<[u8; 8]>());
    let draft = folder.join(format!(".jwt.key.{nonce}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{}", hex::encode(key)).and_then(|()| file.sync_all()).and_then(|()| {
        match fs::hard_link(&draft, path) {
            // Another process was first; its key is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    });
    fs::remove_file(&draft)?;
    written?;
    File::open(folder)?.sync_all()
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directory_and_key_are_private() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&scratch.path().join("a/b")).unwrap();
        let key = dir.signing_key().unwrap();
        assert_eq!(key.len(), 2 * SIGNING_KEY_BYTES);
        assert_eq!((mode(dir.path()), mode(&dir.signing_key_path())), (0o700, 0o600));
        assert_eq!(mode(&dir.path().join("secrets")), 0o700);
        assert_eq!(dir.signing_key().unwrap(), key, "the key is made once");
        assert_eq!(fs::read_dir(dir.path().join("secrets")).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = DataDir::create(scratch.path()).unwrap();
        dir.signing_key().unwrap();
        for loose in [0o640, 0o604, 0o660] {
            fs::set_permissions(dir.signing_key_path(), fs::Permissions::from_mode(loose)).unwrap();
            assert!(matches!(dir.signing_key(), Err(DataDirError::LoosePermissions { mode, .. }) if mode == loose));
        }
        fs::set_permissions(dir.signing_key_path(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.signing_key_path(), "short").unwrap();
        assert!(matches!(dir.signing_key(), Err(DataDirError::DamagedKey { .. })));
    }

    #[test]
    fn only_one_server_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = DataDir::create(scratch.path()).unwrap();
        assert!(!dir.is_in_use());
        let lock = dir.lock().unwrap();
        assert!(dir.is_in_use());
        let holder = std::process::id();
        assert!(matches!(dir.lock(), Err(DataDirError::InUse { holder: Some(pid), .. }) if pid == holder));
        drop(lock);
        assert!(!dir.is_in_use());
        dir.lock().unwrap();
    }

    #[test]
    fn a_half_restored_directory_is_not_served() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = DataDir::create(scratch.path()).unwrap();
        fs::create_dir(dir.restore_path()).unwrap();
        assert!(matches!(dir.lock(), Err(DataDirError::HalfRestored { .. })));
        dir.lock_for_restore().unwrap();
    }

    #[test]
    fn racing_processes_agree_on_one_key() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = DataDir::create(scratch.path()).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let dir = dir.clone();
                std::thread::spawn(move || dir.signing_key().unwrap())
            })
            .collect();
        let keys: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_path_that_is_a_file_is_unwritable() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(DataDir::create(&file), Err(DataDirError::Unwritable { .. })));
    }
}
