//! Which packages ask for which names: who would be broken by an unpublish.

use publaryn_core::{Ecosystem, PackageId};

use crate::{DbResult, Sql, Tx};

impl Tx {
    /// Remembers that a package asks for these normalised names.
    pub async fn record_dependencies(&mut self, package: PackageId, names: &[&str]) -> DbResult<()> {
        if names.is_empty() {
            return Ok(());
        }
        let sql = Sql {
            sqlite: "INSERT INTO package_dependencies (name, package_id) SELECT DISTINCT value, $1 FROM json_each($2) \
                     WHERE TRUE ON CONFLICT DO NOTHING",
            postgres: "INSERT INTO package_dependencies (name, package_id) \
                       SELECT DISTINCT name, $1 FROM json_array_elements_text($2::json) AS name ON CONFLICT DO NOTHING",
        }
        .on(self.engine());
        let names = serde_json::Value::from(names.to_vec()).to_string();
        on_tx!(self, |c| sqlx::query(sql).bind(package).bind(names).execute(c).await.map(drop))?;
        Ok(())
    }

    /// The name of some other package of the ecosystem with a live release that asks for this one.
    pub async fn dependent_of(&mut self, ecosystem: Ecosystem, id: PackageId, name: &str) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT p.name FROM package_dependencies d JOIN packages p ON p.id = d.package_id \
             WHERE d.name = $1 AND p.ecosystem = $2 AND p.id <> $3 AND p.deleted_at IS NULL AND EXISTS \
             (SELECT 1 FROM releases r WHERE r.package_id = p.id AND r.status IN ('published', 'deprecated', 'yanked')) \
             ORDER BY p.name LIMIT 1";
        Ok(on_tx!(self, |c| sqlx::query_scalar(SQL).bind(name).bind(ecosystem).bind(id).fetch_optional(c).await)?)
    }
}
