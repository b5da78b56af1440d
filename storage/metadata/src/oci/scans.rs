//! Verdicts on content that several releases share: scanned once, wherever it turns up again.

use publaryn_core::{Digest, ReleaseId, Timestamp, finding::Finding};

use crate::{Db, DbError, DbResult, Tx};

/// Content to scan, by its bytes alone.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ContentScan {
    pub location: String,
    pub size_bytes: i64,
    pub is_scanned: bool,
}

impl Db {
    /// Content and whether it was scanned; `None` when it is not here any more.
    pub async fn content_scan(&self, sha256: Digest) -> DbResult<Option<ContentScan>> {
        const SQL: &str = "SELECT b.location, b.size_bytes, s.sha256 IS NOT NULL AS is_scanned FROM blobs b \
             LEFT JOIN content_scans s ON s.sha256 = b.digest WHERE b.digest = $1";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(sha256).fetch_optional(c).await)?)
    }
}

impl Tx {
    /// Stores the verdict on content. The blob's row is locked by the caller.
    pub async fn insert_content_scan(
        &mut self,
        sha256: Digest,
        ruleset: &str,
        findings: &[Finding],
        now: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "INSERT INTO content_scans (sha256, ruleset, findings, scanned_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (sha256) DO UPDATE SET ruleset = excluded.ruleset, findings = excluded.findings, \
             scanned_at = excluded.scanned_at";
        let findings =
            serde_json::to_string(findings).map_err(|source| DbError::Corrupt { what: "finding list", source })?;
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(sha256)
            .bind(ruleset)
            .bind(findings)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }

    pub async fn is_content_scanned(&mut self, sha256: Digest) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM content_scans WHERE sha256 = $1";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).bind(sha256).fetch_one(c).await)?;
        Ok(count > 0)
    }

    /// The content of a release that no scan has finished yet.
    pub async fn unscanned_content(&mut self, release: ReleaseId) -> DbResult<Vec<Digest>> {
        const SQL: &str = "SELECT DISTINCT f.sha256 FROM oci_references f LEFT JOIN content_scans s ON s.sha256 = f.sha256 \
             WHERE f.release_id = $1 AND f.sha256 IS NOT NULL AND s.sha256 IS NULL ORDER BY f.sha256";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(release).fetch_all(c).await)?)
    }

    /// What was found in the content of a release, by content.
    pub async fn content_findings(&mut self, release: ReleaseId) -> DbResult<Vec<(Digest, Vec<Finding>)>> {
        const SQL: &str = "SELECT s.sha256, s.findings FROM content_scans s WHERE s.findings <> '[]' AND s.sha256 IN \
             (SELECT f.sha256 FROM oci_references f WHERE f.release_id = $1) ORDER BY s.sha256";
        let rows: Vec<(Digest, String)> = on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?;
        rows.into_iter()
            .map(|(digest, text)| {
                let findings = serde_json::from_str(&text);
                Ok((digest, findings.map_err(|source| DbError::Corrupt { what: "finding list", source })?))
            })
            .collect()
    }

    /// Releases in `scanning` that wait for the scan of this content.
    pub async fn releases_waiting_for(&mut self, sha256: Digest) -> DbResult<Vec<ReleaseId>> {
        const SQL: &str = "SELECT DISTINCT r.id FROM oci_references f JOIN releases r ON r.id = f.release_id \
             WHERE f.sha256 = $1 AND r.status = 'scanning' ORDER BY r.id";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(sha256).fetch_all(c).await)?)
    }
}
