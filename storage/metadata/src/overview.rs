//! What is known of many packages at once: open findings of an organization, and what search tells beside a hit.

use publaryn_core::{Ecosystem, OrgId, PackageId, ReleaseState, TeamId, Timestamp, finding::Severity};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, package_views::PackageFactsRow, rows::id_list, standing::parse_permissions};

/// Open findings of one severity in one package, those of staged releases and of files in a quarantine of their own
/// apart from the others.
#[derive(Debug, Clone, FromRow)]
pub struct OpenFindingsRow {
    #[sqlx(flatten)]
    pub package: PackageFactsRow,
    pub ecosystem: Ecosystem,
    pub name: String,
    pub description: Option<String>,
    pub severity: Severity,
    pub is_staged: bool,
    pub open_findings: i64,
    pub latest_detected_at: Timestamp,
}

/// Which open findings are counted.
#[derive(Debug, Clone, Default)]
pub struct OpenFindingsFilter {
    /// Empty for any.
    pub severities: Vec<Severity>,
    pub ecosystem: Option<Ecosystem>,
    /// Part of the package's name, ignoring case.
    pub package: Option<String>,
}

/// A team that may triage findings of a package by a grant.
#[derive(Debug, Clone, FromRow)]
pub struct ReviewerRow {
    pub package_id: PackageId,
    pub id: TeamId,
    pub slug: String,
    pub name: String,
    permissions: String,
}

impl ReviewerRow {
    pub fn is_reviewer(&self) -> DbResult<bool> {
        use publaryn_core::TeamPermission::{Admin, SecurityReview};
        Ok(parse_permissions(&self.permissions)?.iter().any(|held| matches!(held, Admin | SecurityReview)))
    }
}

/// The release that [`crate::package_views::PackageDetails::latest_version`] names.
#[derive(Debug, Clone, FromRow)]
pub struct LatestReleaseRow {
    pub package_id: PackageId,
    pub status: ReleaseState,
    pub published_at: Option<Timestamp>,
}

impl Db {
    /// Open findings of an organization's packages, by package, severity and whether their release is staged.
    pub async fn open_findings_of_org(
        &self,
        org: OrgId,
        filter: &OpenFindingsFilter,
    ) -> DbResult<Vec<OpenFindingsRow>> {
        macro_rules! counted {
            ($severities:literal) => {
                concat!(
                    // Most packages have live releases only: then no finding's release need be looked up.
                    "WITH y AS MATERIALIZED (SELECT q.id, EXISTS (SELECT 1 FROM releases x WHERE x.package_id = q.id ",
                    "AND x.status IN ('quarantine', 'scanning', 'deleted')) AS is_mixed FROM packages q ",
                    "WHERE q.owner_org_id = $1 AND q.deleted_at IS NULL AND (q.ecosystem = $2 OR $2 = '') ",
                    "AND EXISTS (SELECT 1 FROM findings g WHERE g.package_id = q.id AND g.resolved_at IS NULL)), ",
                    "z AS (SELECT y.id AS package_id, f.severity, f.detected_at, CASE WHEN y.is_mixed ",
                    "THEN (SELECT x.status FROM releases x WHERE x.id = f.release_id) ELSE 'published' END AS status, ",
                    is_about_withheld_file!(),
                    " AS is_withheld ",
                    "FROM y JOIN findings f ON f.package_id = y.id WHERE f.resolved_at IS NULL ",
                    "AND ($3 = '[]' OR f.severity ",
                    $severities,
                    ")), c AS (SELECT package_id, severity, ",
                    "(is_withheld OR status IN ('quarantine', 'scanning')) AS is_staged, ",
                    "CAST(COUNT(*) AS BIGINT) AS open_findings, MAX(detected_at) AS latest_detected_at ",
                    "FROM z WHERE status <> 'deleted' GROUP BY 1, 2, 3) ",
                    "SELECT p.id, p.repository_id, p.owner_user_id, p.owner_org_id, ",
                    "r.owner_user_id AS repository_owner_user_id, r.owner_org_id AS repository_owner_org_id, ",
                    "p.visibility, r.visibility AS repository_visibility, p.is_quarantined, p.ecosystem, p.name, ",
                    "p.description, c.severity, c.is_staged, c.open_findings, c.latest_detected_at FROM c ",
                    "JOIN packages p ON p.id = c.package_id JOIN repositories r ON r.id = p.repository_id"
                )
            };
        }
        const SQL: Sql = Sql {
            sqlite: counted!("IN (SELECT value FROM json_each($3))"),
            postgres: counted!("= ANY(ARRAY(SELECT json_array_elements_text($3::json)))"),
        };
        let sql = self.sql(SQL);
        let mut rows: Vec<OpenFindingsRow> = on_db!(self, |c| sqlx::query_as(sql)
            .bind(org)
            .bind(filter.ecosystem.map_or("", Ecosystem::as_str))
            .bind(serde_json::json!(filter.severities).to_string())
            .fetch_all(c)
            .await)?;
        if let Some(part) = filter.package.as_ref().map(|part| part.to_lowercase()) {
            rows.retain(|row| row.name.to_lowercase().contains(&part));
        }
        Ok(rows)
    }

    /// Grants of the owning organization's teams on these packages, by team name.
    pub async fn package_reviewers(&self, packages: &[PackageId]) -> DbResult<Vec<ReviewerRow>> {
        const SQL: Sql = for_packages!(
            "SELECT g.resource_id AS package_id, t.id, t.slug, t.name, g.permissions FROM team_package_grants g \
             JOIN teams t ON t.id = g.team_id JOIN packages p ON p.id = g.resource_id AND p.owner_org_id = t.org_id \
             WHERE g.resource_id",
            " ORDER BY t.name, t.slug"
        );
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(packages)).fetch_all(c).await)?)
    }

    /// How many unresolved findings of each severity the live files of these packages have.
    pub async fn open_findings(&self, packages: &[PackageId]) -> DbResult<Vec<(PackageId, Severity, i64)>> {
        // The releases that are left out are few; a package may have thousands of others, each with its findings.
        macro_rules! counted {
            ($packages:literal) => {
                concat!(
                    "SELECT f.package_id, f.severity, CAST(COUNT(*) AS BIGINT) FROM findings f ",
                    "WHERE f.resolved_at IS NULL AND NOT ",
                    is_about_withheld_file!(),
                    " AND f.release_id NOT IN (SELECT x.id FROM releases x ",
                    "WHERE x.status IN ('quarantine', 'scanning', 'deleted') AND x.package_id ",
                    $packages,
                    ") AND f.package_id ",
                    $packages,
                    " GROUP BY f.package_id, f.severity"
                )
            };
        }
        const SQL: Sql = Sql {
            sqlite: counted!("IN (SELECT unhex(value) FROM json_each($1))"),
            postgres: counted!("= ANY(ARRAY(SELECT CAST(json_array_elements_text($1::json) AS uuid)))"),
        };
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(packages)).fetch_all(c).await)?)
    }

    /// How many publishers these packages trust; packages that trust none are left out.
    pub async fn counts_of_trusted_publishers(&self, packages: &[PackageId]) -> DbResult<Vec<(PackageId, i64)>> {
        const SQL: Sql = for_packages!(
            "SELECT package_id, CAST(COUNT(*) AS BIGINT) FROM trusted_publishers WHERE package_id",
            " GROUP BY package_id"
        );
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(id_list(packages)).fetch_all(c).await)?)
    }

    /// The state of one version of each of these packages, as it spells it, and since when it is live.
    pub async fn latest_releases(&self, versions: &[(PackageId, &str)]) -> DbResult<Vec<LatestReleaseRow>> {
        const SQL: Sql = Sql {
            sqlite: "SELECT r.package_id, r.status, r.published_at FROM json_each($1) w \
                 JOIN releases r ON r.package_id = unhex(w.value ->> 0) AND r.version = w.value ->> 1",
            postgres: "SELECT r.package_id, r.status, r.published_at FROM json_array_elements($1::json) AS w(value) \
                 JOIN releases r ON r.package_id = CAST(w.value ->> 0 AS uuid) AND r.version = w.value ->> 1",
        };
        let sql = self.sql(SQL);
        let list: Vec<_> = versions.iter().map(|(id, version)| (id.0.simple().to_string(), *version)).collect();
        let list = serde_json::json!(list).to_string();
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?)
    }
}
