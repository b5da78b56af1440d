//! The indexes over all gems that a caller may see, kept for as long as none of them changes. What anonymous callers
//! see is served without a look at the single gems.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use publaryn_core::{Ecosystem, PackageId, Principal, RegistryError, Timestamp};
use publaryn_registry::{OfPublicList, PackageView, Registry};
use sha2::{Digest, Sha256};

use crate::{
    compact::{self, GemIndex, Row, Text},
    marshal::Writer,
};

/// Memory for the indexes of single gems and for those over all of them, in bytes.
const GEMS_BYTES: u64 = 64 << 20;
const CATALOGS_BYTES: u64 = 128 << 20;

/// What is remembered of gems; cheap to clone.
#[derive(Clone)]
pub struct Catalogs(Arc<Kept>);

struct Kept {
    gems: moka::future::Cache<(PackageId, i64), Arc<GemIndex>>,
    /// By the packages and revisions they were made of, so what different callers see is never mixed up.
    catalogs: moka::future::Cache<[u8; 32], Arc<Catalog>>,
    public: OfPublicList<Arc<Catalog>>,
}

/// Every document over all gems of one audience.
pub struct Catalog {
    pub versions: Text,
    pub names: Text,
    pub specs: Specs,
    pub latest_specs: Specs,
    pub prerelease_specs: Specs,
    /// The last change of a gem in it.
    pub changed_at: Option<Timestamp>,
}

/// A list of the legacy index, plain and compressed.
pub struct Specs {
    pub plain: Bytes,
    pub gzip: Bytes,
}

impl Default for Catalogs {
    fn default() -> Self {
        let gems = moka::future::Cache::builder()
            .weigher(|_, gem: &Arc<GemIndex>| u32::try_from(gem.bytes()).unwrap_or(u32::MAX))
            .max_capacity(GEMS_BYTES)
            .build();
        let catalogs = moka::future::Cache::builder()
            .weigher(|_, catalog: &Arc<Catalog>| u32::try_from(catalog.bytes()).unwrap_or(u32::MAX))
            .max_capacity(CATALOGS_BYTES)
            .build();
        Self(Arc::new(Kept { gems, catalogs, public: OfPublicList::new(Ecosystem::Rubygems) }))
    }
}

impl Catalog {
    fn build(gems: &[Arc<GemIndex>], changed_at: Option<Timestamp>) -> std::io::Result<Self> {
        let rows = |wanted: fn(&GemIndex) -> Vec<&Row>| {
            let rows: Vec<(&str, &Row)> =
                gems.iter().flat_map(|gem| wanted(gem).into_iter().map(|row| (gem.name.as_str(), row))).collect();
            Specs::of(&rows)
        };
        Ok(Self {
            versions: Text::new(compact::versions(gems)),
            names: Text::new(compact::names(gems)),
            specs: rows(|gem| gem.rows.iter().filter(|row| !row.is_prerelease).collect())?,
            latest_specs: rows(latest)?,
            prerelease_specs: rows(|gem| gem.rows.iter().filter(|row| row.is_prerelease).collect())?,
            changed_at,
        })
    }

    fn bytes(&self) -> usize {
        let specs = [&self.specs, &self.latest_specs, &self.prerelease_specs];
        let specs: usize = specs.iter().map(|specs| specs.plain.len() + specs.gzip.len()).sum();
        self.versions.body.len() + self.names.body.len() + specs + 512
    }
}

/// The highest release for each platform.
fn latest(gem: &GemIndex) -> Vec<&Row> {
    let mut latest: Vec<&Row> = Vec::new();
    for row in gem.rows.iter().filter(|row| !row.is_prerelease) {
        match latest.iter_mut().find(|known| known.platform == row.platform) {
            Some(known) if known.sort_key < row.sort_key => *known = row,
            Some(_) => {}
            None => latest.push(row),
        }
    }
    latest
}

impl Specs {
    fn of(rows: &[(&str, &Row)]) -> std::io::Result<Self> {
        let mut writer = Writer::begin();
        writer.array(rows.len());
        for (name, row) in rows {
            writer.array(3);
            writer.string(name);
            writer.version(&row.number);
            writer.string(&row.platform);
        }
        let plain = writer.finish();
        // No time stamp inside: equal lists are equal bytes.
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&plain)?;
        Ok(Self { plain: plain.into(), gzip: gzip.finish()?.into() })
    }
}

impl Catalogs {
    /// What the indexes say of one gem.
    pub async fn gem(&self, registry: &Registry, view: &PackageView) -> Result<Arc<GemIndex>, RegistryError> {
        let make = async {
            let document = registry.document(view).await?;
            tokio::task::spawn_blocking(move || {
                let built = GemIndex::build(&document);
                built.map(Arc::new).map_err(|error| RegistryError::unavailable("the index", error))
            })
            .await
            .map_err(RegistryError::internal)?
        };
        self.0.gems.try_get_with((view.id(), view.revision()), make).await.map_err(shared)
    }

    /// The indexes over all gems that are listed for a caller.
    pub async fn catalog(&self, registry: &Registry, who: &Principal) -> Result<Arc<Catalog>, RegistryError> {
        let listed = self.listed(registry, who);
        if who.is_anonymous() { self.0.public.get(registry, listed).await } else { listed.await }
    }

    async fn listed(&self, registry: &Registry, who: &Principal) -> Result<Arc<Catalog>, RegistryError> {
        let views = registry.listed(who, Ecosystem::Rubygems).await?;
        let mut stamp = Sha256::new();
        for view in &views {
            stamp.update(view.id().0.as_bytes());
            stamp.update(view.revision().to_le_bytes());
        }
        let make = async {
            let mut gems = Vec::with_capacity(views.len());
            for view in &views {
                match self.gem(registry, view).await {
                    Ok(gem) => gems.push(gem),
                    // Deleted since the list was read.
                    Err(RegistryError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            let changed_at = views.iter().map(PackageView::updated_at).max();
            tokio::task::spawn_blocking(move || Catalog::build(&gems, changed_at).map(Arc::new))
                .await
                .map_err(RegistryError::internal)?
                .map_err(RegistryError::internal)
        };
        self.0.catalogs.try_get_with(stamp.finalize().into(), make).await.map_err(shared)
    }
}

/// Callers that waited for the same failure share it.
fn shared(error: Arc<RegistryError>) -> RegistryError {
    match &*error {
        RegistryError::NotFound => RegistryError::NotFound,
        RegistryError::Unavailable { what, .. } => RegistryError::unavailable(what, error.cause_chain()),
        other => RegistryError::internal(other.cause_chain()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_each_platform_is_the_highest() {
        let row = |text: &str| {
            let version = crate::version::parse_version(text).unwrap();
            let (number, platform) = crate::version::split(version.as_str());
            Row {
                number: number.into(),
                platform: platform.into(),
                is_prerelease: version.is_prerelease(),
                sort_key: version.sort_key().to_vec(),
            }
        };
        let rows = ["1.10", "1.9", "2.0.rc1", "1.9-java", "1.8-java"].map(row).to_vec();
        let gem = GemIndex { name: "a".into(), info: Text::new(String::new()), events: vec![], rows };
        let found: Vec<_> = latest(&gem).iter().map(|row| (row.number.as_str(), row.platform.as_str())).collect();
        assert_eq!(found, [("1.10", "ruby"), ("1.9", "java")]);
        let specs = Specs::of(&[]).unwrap();
        assert_eq!(&specs.plain[..], [4, 8, b'[', 0]);
    }
}
