//! Tags, the catalog and referrers, page by page.

use publaryn_core::{Principal, RegistryError, Visibility};
use publaryn_metadata::reach::Reach;

use super::OciRepository;
use crate::Registry;

/// A page of tags in byte order.
pub type Tags = publaryn_metadata::oci::TagPage;

/// A page of repository names in byte order, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub names: Vec<String>,
    pub has_more: bool,
}

/// A page of referrers: descriptors as JSON text, in order of digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    pub descriptors: Vec<String>,
    /// The digest to go on after.
    pub last: Option<String>,
}

/// Candidates looked at per query of the catalog.
const SLICE: i64 = 500;
/// Referrers looked at per query.
const REFERRERS_AT_ONCE: u32 = 100;

impl Registry {
    /// Tags after `last`.
    pub async fn oci_tags(
        &self,
        repository: &OciRepository,
        last: Option<&str>,
        limit: u32,
    ) -> Result<Tags, RegistryError> {
        let head = repository.head.as_ref().filter(|_| repository.may_read()).ok_or(RegistryError::NotFound)?;
        Ok(self.0.db.tags_after(head.id, last, limit).await?)
    }

    /// Repositories with something live in them that the listing shows this caller (access.md §2).
    pub async fn oci_catalog(&self, who: &Principal, last: Option<&str>, limit: u32) -> Result<Names, RegistryError> {
        let (mut names, mut last) = (Vec::new(), last.map(str::to_owned));
        let (reach, standings) = (Reach::of(who), self.0.db.standings(who).await?);
        loop {
            let mut candidates = self.0.db.repositories_after(&reach, last.as_deref(), SLICE).await?;
            let is_end = candidates.len() < SLICE as usize;
            last = candidates.last().map(|head| head.normalized_name.to_string());
            // Unlisted ones are for those who know their name.
            candidates.retain(|head| head.effective != Visibility::Unlisted);
            for listed in self.visible_to(who, &standings, candidates).await? {
                if names.len() == limit as usize {
                    return Ok(Names { names, has_more: true });
                }
                names.push(listed.head.normalized_name.to_string());
            }
            if is_end {
                return Ok(Names { names, has_more: false });
            }
        }
    }

    /// Live manifests about `subject` after `last`, up to `limit` of them and about `max_bytes` of text.
    pub async fn oci_referrers(
        &self,
        repository: &OciRepository,
        subject: &str,
        artifact_type: Option<&str>,
        last: Option<&str>,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Referrers, RegistryError> {
        let mut page = Referrers { descriptors: Vec::new(), last: None };
        let Some(head) = repository.head.as_ref().filter(|_| repository.may_read()) else { return Ok(page) };
        let (mut bytes, mut count, mut after) = (0, 0, last.map(str::to_owned));
        loop {
            let wanted = i64::from(REFERRERS_AT_ONCE);
            let rows = self.0.db.referrers_after(head.id, subject, artifact_type, after.as_deref(), wanted).await?;
            let is_end = rows.len() < wanted as usize;
            let (mut fitting, mut is_full) = (Vec::new(), false);
            for row in rows {
                let size = row.size_bytes.unsigned_abs() as usize;
                is_full = count == limit || (bytes + size > max_bytes && count > 0);
                if is_full {
                    break;
                }
                bytes += size + 1;
                count += 1;
                after = Some(row.digest.clone());
                fitting.push(row.digest);
            }
            page.descriptors.extend(self.0.db.descriptors(head.id, &fitting).await?);
            if is_full {
                page.last = after;
                return Ok(page);
            }
            if is_end {
                return Ok(page);
            }
        }
    }
}
