//! Download counts: summed in memory, noted in the database every few seconds, added to the packages and releases by
//! the `flush_downloads` job.

use std::sync::LazyLock;

use dashmap::DashMap;
use publaryn_core::{Ecosystem, PackageId, RegistryError, ReleaseId};
use publaryn_metadata::Db;

use crate::meters::PerEcosystem;

/// Complete downloads since the last flush. Bounded by the number of releases downloaded meanwhile.
#[derive(Default)]
pub struct Downloads(DashMap<(PackageId, ReleaseId), i64>);

impl Downloads {
    pub fn count(&self, ecosystem: Ecosystem, package: PackageId, release: ReleaseId) {
        static COUNTERS: LazyLock<PerEcosystem> = LazyLock::new(|| {
            PerEcosystem::new(|label| metrics::counter!("publaryn_downloads_total", "ecosystem" => label))
        });
        COUNTERS.of(ecosystem).increment(1);
        *self.0.entry((package, release)).or_insert(0) += 1;
    }

    /// Notes the sums in one transaction; a failure keeps them for the next time.
    pub async fn flush(&self, db: &Db) -> Result<usize, RegistryError> {
        let keys: Vec<_> = self.0.iter().map(|entry| *entry.key()).collect();
        let gone = keys.iter().filter_map(|key| self.0.remove(key));
        let sums: Vec<_> = gone.map(|((package, release), count)| (package, release, count)).collect();
        if sums.is_empty() {
            return Ok(0);
        }
        let written = async {
            let mut tx = db.begin().await?;
            tx.add_downloads(&sums).await?;
            tx.commit().await
        }
        .await;
        if let Err(error) = written {
            for (package, release, count) in sums {
                *self.0.entry((package, release)).or_insert(0) += count;
            }
            return Err(error.into());
        }
        Ok(sums.len())
    }
}
