//! Tags (npm dist-tags, OCI tags): movable names for releases, ordered by publish sequence.

use publaryn_core::{PackageId, ReleaseId, Timestamp};

use crate::{DbResult, Tx};

const SET_TAG: &str = "INSERT INTO tags (package_id, tag, release_id, sequence, updated_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (package_id, tag) DO UPDATE SET release_id = excluded.release_id, sequence = excluded.sequence, \
     updated_at = excluded.updated_at WHERE tags.sequence < excluded.sequence";
const SET_TAG_IF_ABSENT: &str = "INSERT INTO tags (package_id, tag, release_id, sequence, updated_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

impl Tx {
    /// Points a tag at a release, unless a later publish or tag change already moved it.
    pub async fn set_tag(
        &mut self,
        package: PackageId,
        tag: &str,
        release: ReleaseId,
        sequence: i64,
        now: Timestamp,
    ) -> DbResult<()> {
        Ok(later!(self, SET_TAG, package, tag.to_owned(), release, sequence, now)?)
    }

    /// Sets a tag only where there is none of that name.
    pub async fn set_tag_if_absent(
        &mut self,
        package: PackageId,
        tag: &str,
        release: ReleaseId,
        sequence: i64,
        now: Timestamp,
    ) -> DbResult<()> {
        Ok(later!(self, SET_TAG_IF_ABSENT, package, tag.to_owned(), release, sequence, now)?)
    }

    /// One of the two above; whether the tag points there now.
    pub async fn tag_was_set(
        &mut self,
        package: PackageId,
        tag: &str,
        release: ReleaseId,
        sequence: i64,
        only_if_absent: bool,
        now: Timestamp,
    ) -> DbResult<bool> {
        let sql = if only_if_absent { SET_TAG_IF_ABSENT } else { SET_TAG };
        let done = on_tx!(self, |c| sqlx::query(sql)
            .bind(package)
            .bind(tag)
            .bind(release)
            .bind(sequence)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    pub async fn delete_tag(&mut self, package: PackageId, tag: &str) -> DbResult<bool> {
        const SQL: &str = "DELETE FROM tags WHERE package_id = $1 AND tag = $2";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(package)
            .bind(tag)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Removes every tag of a release that is going away; returns their names.
    pub async fn delete_tags_of(&mut self, release: ReleaseId) -> DbResult<Vec<String>> {
        const SQL: &str = "DELETE FROM tags WHERE release_id = $1 RETURNING tag";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(release).fetch_all(c).await)?)
    }

    /// The release a default tag should fall back to: the highest stable one that is not yanked,
    /// else the highest pre-release.
    pub async fn highest_release(&mut self, package: PackageId) -> DbResult<Option<ReleaseId>> {
        const SQL: &str = "SELECT id FROM releases WHERE package_id = $1 AND status IN ('published', 'deprecated') \
             ORDER BY is_prerelease, sort_key DESC LIMIT 1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(package).fetch_optional(c).await)?)
    }
}
