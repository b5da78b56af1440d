//! Which packages ask for which names, so who would be broken by an unpublish, and which stand in for which.

use publaryn_core::{
    Ecosystem, PackageId,
    publish::{PROVIDES, REQUIRES, named_in},
};
use serde_json::Value;

use crate::{DbResult, Sql, Tx};

/// Names of each sort that are remembered of one release; the largest honest packages have some hundred.
const MAX_NAMES: usize = 2_000;

impl Tx {
    /// Remembers which names a release's document asks for and which it provides.
    pub async fn record_relations(&mut self, package: PackageId, document: &Value) -> DbResult<()> {
        const REQUIRED: Sql = Sql {
            sqlite: "INSERT INTO package_dependencies (name, package_id) SELECT DISTINCT value, $1 FROM json_each($2) \
                     WHERE TRUE ON CONFLICT DO NOTHING",
            postgres: "INSERT INTO package_dependencies (name, package_id) \
                       SELECT DISTINCT name, $1 FROM json_array_elements_text($2::json) AS name ON CONFLICT DO NOTHING",
        };
        const PROVIDED: Sql = Sql {
            sqlite: "INSERT INTO package_provisions (name, package_id) SELECT DISTINCT value, $1 FROM json_each($2) \
                     WHERE TRUE ON CONFLICT DO NOTHING",
            postgres: "INSERT INTO package_provisions (name, package_id) \
                       SELECT DISTINCT name, $1 FROM json_array_elements_text($2::json) AS name ON CONFLICT DO NOTHING",
        };
        for (member, sql) in [(REQUIRES, REQUIRED), (PROVIDES, PROVIDED)] {
            let names: Vec<&str> = named_in(document, member).take(MAX_NAMES).collect();
            if names.is_empty() {
                continue;
            }
            let (sql, names) = (sql.on(self.engine()), Value::from(names).to_string());
            later!(self, sql, package, names)?;
        }
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
