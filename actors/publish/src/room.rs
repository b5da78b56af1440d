//! How much a package and a release may hold (`limits.releases_per_package`, `limits.artifacts_per_release`).

use publaryn_core::{PackageId, RegistryError};
use publaryn_metadata::Tx;

use crate::PublishSettings;

/// Refuses a release that was just inserted as number `sequence`, if it is one too many.
///
/// # Errors
/// `too_many_releases`.
pub async fn require_release_room(
    tx: &mut Tx,
    settings: &PublishSettings,
    package: PackageId,
    sequence: i64,
) -> Result<(), RegistryError> {
    let limit = settings.releases_per_package;
    // Every release takes a number, so there are never more of them than numbers: hardly any publish needs a count.
    if sequence <= limit || tx.count_releases(package).await? <= limit {
        return Ok(());
    }
    Err(RegistryError::invalid("too_many_releases", format!("a package may have at most {limit} releases")))
}

/// Refuses a release of that many files.
///
/// # Errors
/// `too_many_files`.
pub fn require_file_room(settings: &PublishSettings, files: usize) -> Result<(), RegistryError> {
    let limit = settings.artifacts_per_release;
    if files <= limit {
        return Ok(());
    }
    Err(RegistryError::invalid("too_many_files", format!("a release may have at most {limit} files")))
}
