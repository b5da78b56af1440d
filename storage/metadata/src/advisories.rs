//! Findings of live releases by package name: what audit commands ask for.

use publaryn_core::{Ecosystem, PackageId, Timestamp, finding::Severity};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql};

/// One security finding of one live release.
#[derive(Debug, Clone, FromRow)]
pub struct AdvisoryRow {
    pub package_id: PackageId,
    /// Normalised name.
    pub package: String,
    pub version: String,
    pub rule_id: String,
    pub severity: Severity,
    pub title: String,
    pub location: String,
    pub detected_at: Timestamp,
}

/// `$of` picks the packages, by what is bound.
macro_rules! advisories {
    ($of:literal) => {
        concat!(
            "SELECT p.id AS package_id, p.normalized_name AS package, r.version, f.rule_id, f.severity, f.title, f.location, ",
            "f.detected_at ",
            "FROM packages p JOIN releases r ON r.package_id = p.id JOIN findings f ON f.release_id = r.id ",
            "WHERE p.deleted_at IS NULL AND r.status IN ('published', 'deprecated', 'yanked') ",
            "AND f.resolved_at IS NULL AND f.severity IN ('medium', 'high', 'critical') AND f.kind IN ('vulnerability', ",
            "'malware', 'secrets_exposed', 'suspicious_install_hook', 'dependency_confusion') AND NOT ",
            is_about_withheld_file!(),
            " AND ",
            $of
        )
    };
}

impl Db {
    /// Unresolved security findings, medium and worse, of live releases of these packages.
    pub async fn advisories(&self, ecosystem: Ecosystem, normalized: &[&str]) -> DbResult<Vec<AdvisoryRow>> {
        let sql = self.sql(Sql {
            sqlite: advisories!(
                "p.ecosystem = $1 AND p.normalized_name IN (SELECT value FROM json_each($2)) \
                 ORDER BY p.normalized_name, r.sequence, f.id"
            ),
            postgres: advisories!(
                "p.ecosystem = $1 AND p.normalized_name = ANY(ARRAY(SELECT json_array_elements_text($2::json))) \
                 ORDER BY p.normalized_name, r.sequence, f.id"
            ),
        });
        let names = serde_json::Value::from(normalized.to_vec()).to_string();
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(ecosystem).bind(names).fetch_all(c).await)?)
    }

    /// The same of every package of an ecosystem.
    pub async fn all_advisories(&self, ecosystem: Ecosystem) -> DbResult<Vec<AdvisoryRow>> {
        const SQL: &str = advisories!("p.ecosystem = $1 ORDER BY p.normalized_name, r.sequence, f.id");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).fetch_all(c).await)?)
    }

    /// When anything last changed that [`Self::all_advisories`] tells: a finding, or a package that has one.
    pub async fn advisories_changed_at(&self, ecosystem: Ecosystem) -> DbResult<Option<Timestamp>> {
        const SQL: &str = "SELECT MAX(f.detected_at), MAX(f.resolved_at), MAX(p.updated_at) \
             FROM packages p JOIN releases r ON r.package_id = p.id JOIN findings f ON f.release_id = r.id \
             WHERE p.ecosystem = $1 AND f.severity IN ('medium', 'high', 'critical')";
        type Row = (Option<Timestamp>, Option<Timestamp>, Option<Timestamp>);
        let (detected, resolved, changed): Row =
            on_db!(self, |c| sqlx::query_as(SQL).bind(ecosystem).fetch_one(c).await)?;
        Ok(detected.max(resolved).max(changed))
    }

    /// The same of packages by id, as [`id_list`](crate::rows::id_list) writes them.
    pub(crate) async fn advisories_of(&self, list: &str) -> DbResult<Vec<AdvisoryRow>> {
        const SQL: Sql = for_packages!(advisories!("p.id"), " ORDER BY r.sequence, f.id");
        let sql = self.sql(SQL);
        Ok(on_db!(self, |c| sqlx::query_as(sql).bind(list).fetch_all(c).await)?)
    }
}
