//! Findings of scanners, stored once per (release, artifact bytes, rule, location).

use publaryn_core::{
    ArtifactId, ArtifactKind, ArtifactState, Digest, Ecosystem, FindingId, PackageId, ReleaseId, RepositoryKind,
    Timestamp, Visibility,
    finding::{Category, Finding, FindingKind, Severity},
};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;

use crate::{
    Db, DbResult, PackageTouched, Tx,
    packages::{TouchedRow, bumped},
};

/// Everything a scan job needs to know about its artifact.
#[derive(Debug, Clone, FromRow)]
pub struct ScanTarget {
    pub artifact_id: ArtifactId,
    pub release_id: ReleaseId,
    pub package_id: PackageId,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub version: String,
    pub kind: ArtifactKind,
    pub filename: String,
    pub size_bytes: i64,
    pub sha256: Digest,
    pub location: String,
    /// The adapter's document of the file, else of its release.
    pub metadata: String,
    pub state: ArtifactState,
    pub scanned_with: Option<String>,
}

#[derive(Debug, Clone, FromRow)]
pub struct FindingRow {
    pub id: FindingId,
    pub release_id: ReleaseId,
    pub artifact_id: Option<ArtifactId>,
    pub rule_id: String,
    pub kind: FindingKind,
    pub category: Category,
    pub severity: Severity,
    pub title: String,
    pub description: Option<String>,
    pub location: String,
    pub resolved_at: Option<Timestamp>,
    pub detected_at: Timestamp,
}

impl FindingRow {
    pub fn as_finding(&self) -> Finding {
        Finding {
            rule_id: self.rule_id.clone(),
            kind: self.kind,
            category: self.category,
            severity: self.severity,
            title: self.title.clone(),
            description: self.description.clone(),
            location: self.location.clone(),
        }
    }
}

/// What the policy of a release depends on.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct PolicyFacts {
    pub repository_kind: RepositoryKind,
    pub visibility: Visibility,
    pub repository_visibility: Visibility,
}

macro_rules! finding_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, release_id, artifact_id, rule_id, kind, category, severity, title, description, location, ",
            "resolved_at, detected_at FROM findings ",
            $rest
        )
    };
}

impl Db {
    /// Unresolved findings by severity.
    pub async fn unresolved_by_severity(&self) -> DbResult<Vec<(Severity, i64)>> {
        const SQL: &str =
            "SELECT severity, CAST(COUNT(*) AS BIGINT) FROM findings WHERE resolved_at IS NULL GROUP BY severity";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).fetch_all(c).await)?)
    }

    pub async fn scan_target(&self, artifact: ArtifactId) -> DbResult<Option<ScanTarget>> {
        const SQL: &str = "SELECT a.id AS artifact_id, a.release_id, r.package_id, p.ecosystem, p.name, r.version, a.kind, \
             a.filename, a.size_bytes, a.sha256, b.location, COALESCE(a.metadata, r.metadata) AS metadata, a.state, \
             a.scanned_with FROM artifacts a \
             JOIN releases r ON r.id = a.release_id JOIN packages p ON p.id = r.package_id \
             JOIN blobs b ON b.digest = a.sha256 WHERE a.id = $1";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(artifact).fetch_optional(c).await)?)
    }

    pub async fn findings_of(&self, release: ReleaseId) -> DbResult<Vec<FindingRow>> {
        const SQL: &str = finding_columns!("WHERE release_id = $1 ORDER BY detected_at, id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    /// Open findings about one file.
    pub async fn findings_of_file(&self, artifact: ArtifactId) -> DbResult<Vec<FindingRow>> {
        const SQL: &str = finding_columns!("WHERE artifact_id = $1 AND resolved_at IS NULL ORDER BY detected_at, id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(artifact).fetch_all(c).await)?)
    }

    /// Artifacts that are judged with their release and that no scan has finished yet.
    pub async fn unscanned_artifacts(&self, release: ReleaseId) -> DbResult<Vec<ArtifactId>> {
        const SQL: &str = "SELECT id FROM artifacts WHERE release_id = $1 AND scanned_with IS NULL \
             AND state = 'joint' ORDER BY id";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(release).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Stores a finding; `true` when it is new. Seeing it again changes nothing, a resolution stays.
    pub async fn upsert_finding(
        &mut self,
        release: ReleaseId,
        artifact: Option<(ArtifactId, Digest)>,
        finding: &Finding,
        now: Timestamp,
    ) -> DbResult<bool> {
        let (id, digest) = artifact.unzip();
        self.insert_finding(release, id, digest, finding, now).await
    }

    /// Stores a finding about content that is no artifact of the release but that it refers to.
    pub async fn upsert_content_finding(
        &mut self,
        release: ReleaseId,
        content: Digest,
        finding: &Finding,
        now: Timestamp,
    ) -> DbResult<bool> {
        self.insert_finding(release, None, Some(content), finding, now).await
    }

    /// Removes what one rule found, for rules that are judged anew.
    pub async fn delete_findings_of_rule(&mut self, release: ReleaseId, rule_id: &str) -> DbResult<()> {
        const SQL: &str = "DELETE FROM findings WHERE release_id = $1 AND rule_id = $2";
        on_tx!(self, |c| sqlx::query(SQL).bind(release).bind(rule_id).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn has_finding(&mut self, release: ReleaseId, rule_id: &str) -> DbResult<bool> {
        const SQL: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM findings WHERE release_id = $1 AND rule_id = $2";
        let count: i64 = on_tx!(self, |c| sqlx::query_scalar(SQL).bind(release).bind(rule_id).fetch_one(c).await)?;
        Ok(count > 0)
    }

    async fn insert_finding(
        &mut self,
        release: ReleaseId,
        artifact: Option<ArtifactId>,
        content: Option<Digest>,
        finding: &Finding,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO findings (id, release_id, artifact_id, fingerprint, rule_id, kind, category, severity, \
             title, description, location, detected_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (release_id, fingerprint) DO NOTHING";
        let mut hash = Sha256::new();
        let digest = content.map(|digest| digest.to_string()).unwrap_or_default();
        for part in [digest.as_str(), &finding.rule_id, &finding.location] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(FindingId::new())
            .bind(release)
            .bind(artifact)
            .bind(hex::encode(hash.finalize()))
            .bind(finding.rule_id.as_str())
            .bind(finding.kind)
            .bind(finding.category)
            .bind(finding.severity)
            .bind(finding.title.as_str())
            .bind(finding.description.as_deref())
            .bind(finding.location.as_str())
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        self.advisories_changed(release, now).await?;
        Ok(done == 1)
    }

    /// Documents tell what is known against live releases, so they are rendered anew when that changes.
    pub(crate) async fn advisories_changed(&mut self, release: ReleaseId, now: Timestamp) -> DbResult<()> {
        const SQL: &str = bumped!(
            "id = (SELECT package_id FROM releases WHERE id = $1 AND status IN ('published', 'deprecated', 'yanked')) \
             RETURNING id, ecosystem, normalized_name"
        );
        let touched: Option<TouchedRow> =
            on_tx!(self, |c| sqlx::query_as(SQL).bind(release).bind(now).fetch_optional(c).await)?;
        self.notice().packages.extend(touched.map(PackageTouched::from));
        Ok(())
    }

    pub async fn unresolved_findings(&mut self, release: ReleaseId) -> DbResult<Vec<FindingRow>> {
        const SQL: &str = finding_columns!("WHERE release_id = $1 AND resolved_at IS NULL ORDER BY detected_at, id");
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(release).fetch_all(c).await)?)
    }

    pub async fn policy_facts(&mut self, package: PackageId) -> DbResult<PolicyFacts> {
        const SQL: &str = "SELECT r.kind AS repository_kind, p.visibility, r.visibility AS repository_visibility \
             FROM packages p JOIN repositories r ON r.id = p.repository_id WHERE p.id = $1";
        Ok(on_tx!(self, |c| sqlx::query_as(SQL).bind(package).fetch_one(c).await)?)
    }
}
