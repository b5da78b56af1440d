//! Download counts: noted by every process, summed by one job into packages and their releases.

use std::collections::HashMap;

use publaryn_core::{OrgId, PackageId, ReleaseId, UserId, access::Owner};

use crate::{
    Db, DbResult, Sql, Tx,
    rows::{id_list, owner_of},
    tx::Connection,
};

impl Db {
    /// How often each release of these packages was downloaded; those that never were are missing.
    pub async fn release_downloads(&self, packages: &[PackageId]) -> DbResult<HashMap<ReleaseId, i64>> {
        let sql = self.sql(Sql {
            sqlite: "SELECT d.release_id, d.n FROM releases r JOIN release_downloads d ON d.release_id = r.id \
                     WHERE r.package_id IN (SELECT unhex(value) FROM json_each($1))",
            postgres: "SELECT d.release_id, d.n FROM releases r JOIN release_downloads d ON d.release_id = r.id \
                       WHERE r.package_id = ANY(ARRAY(SELECT CAST(json_array_elements_text($1::json) AS UUID)))",
        });
        let ids = id_list(packages);
        let rows: Vec<(ReleaseId, i64)> = on_db!(self, |c| sqlx::query_as(sql).bind(ids).fetch_all(c).await)?;
        Ok(rows.into_iter().collect())
    }
}

impl Tx {
    /// Notes downloads that were counted in memory; [`Tx::fold_downloads`] adds them up.
    pub async fn add_downloads(&mut self, sums: &[(PackageId, ReleaseId, i64)]) -> DbResult<()> {
        const SQL: Sql = Sql {
            sqlite: "INSERT INTO download_deltas (package_id, release_id, n) \
                     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1)",
            postgres: "INSERT INTO download_deltas (package_id, release_id, n) SELECT CAST(value ->> 0 AS UUID), \
                       CAST(value ->> 1 AS UUID), CAST(value ->> 2 AS BIGINT) FROM json_array_elements($1::json)",
        };
        let simple = |id: &uuid::Uuid| id.simple().to_string();
        let rows: Vec<_> =
            sums.iter().map(|(package, release, count)| (simple(&package.0), simple(&release.0), count)).collect();
        let (rows, sql) = (serde_json::json!(rows).to_string(), SQL.on(self.engine()));
        on_tx!(self, |c| sqlx::query(sql).bind(rows).execute(c).await.map(drop))?;
        Ok(())
    }

    /// Adds up to `limit` notes to the packages and releases they count for. Exact however often it runs, because a
    /// note leaves with the commit that counts it.
    pub async fn fold_downloads(&mut self, limit: i64) -> DbResult<Folded> {
        if let Connection::Postgres(tx) = self.connection() {
            // One statement, one snapshot: a note that commits in between is neither counted nor deleted.
            const FOLD: &str = "WITH gone AS (DELETE FROM download_deltas WHERE id IN (SELECT id FROM download_deltas \
                 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING package_id, release_id, n), \
                 of_package AS (SELECT package_id, CAST(SUM(n) AS BIGINT) AS n FROM gone GROUP BY package_id), \
                 of_release AS (SELECT g.release_id, CAST(SUM(g.n) AS BIGINT) AS n FROM gone g \
                 JOIN releases r ON r.id = g.release_id GROUP BY g.release_id), \
                 packages_counted AS (UPDATE packages SET download_count = download_count + of_package.n \
                 FROM of_package WHERE packages.id = of_package.package_id RETURNING packages.id, \
                 packages.owner_user_id, packages.owner_org_id, packages.download_count - of_package.n AS before, \
                 of_package.n), \
                 releases_counted AS (INSERT INTO release_downloads AS d (release_id, n) \
                 SELECT release_id, n FROM of_release ON CONFLICT (release_id) DO UPDATE SET n = d.n + excluded.n) \
                 SELECT (SELECT COUNT(*) FROM gone) AS notes, c.id, c.owner_user_id, c.owner_org_id, c.before, c.n \
                 FROM (SELECT 1) AS one LEFT JOIN packages_counted c ON TRUE";
            let rows: Vec<FoldedRow> = sqlx::query_as(FOLD).bind(limit).fetch_all(&mut ***tx).await?;
            let notes = rows.first().map_or(0, |(notes, ..)| notes.unsigned_abs());
            let counted =
                rows.into_iter().filter_map(|(_, id, user, org, before, n)| Some((id?, user, org, before?, n?)));
            return Ok(Folded { notes, risen: risen(counted) });
        }
        const LAST: &str = "SELECT MAX(id) FROM (SELECT id FROM download_deltas ORDER BY id LIMIT $1) AS s";
        const COUNTED: &str = "SELECT p.id, p.owner_user_id, p.owner_org_id, p.download_count, s.n FROM \
             (SELECT package_id, SUM(n) AS n FROM download_deltas WHERE id <= $1 GROUP BY package_id) AS s \
             JOIN packages p ON p.id = s.package_id";
        const OF_PACKAGE: &str = "UPDATE packages SET download_count = download_count + s.n FROM (SELECT package_id, \
             CAST(SUM(n) AS BIGINT) AS n FROM download_deltas WHERE id <= $1 GROUP BY package_id) AS s \
             WHERE packages.id = s.package_id";
        const OF_RELEASE: &str = "INSERT INTO release_downloads (release_id, n) SELECT d.release_id, SUM(d.n) \
             FROM download_deltas d JOIN releases r ON r.id = d.release_id WHERE d.id <= $1 GROUP BY d.release_id \
             ON CONFLICT (release_id) DO UPDATE SET n = n + excluded.n";
        const GONE: &str = "DELETE FROM download_deltas WHERE id <= $1";
        let last: Option<i64> = on_tx!(self, |c| sqlx::query_scalar(LAST).bind(limit).fetch_one(c).await)?;
        let Some(last) = last else { return Ok(Folded::default()) };
        let counted: Vec<Counted> = on_tx!(self, |c| sqlx::query_as(COUNTED).bind(last).fetch_all(c).await)?;
        on_tx!(self, |c| sqlx::query(OF_PACKAGE).bind(last).execute(c).await.map(drop))?;
        on_tx!(self, |c| sqlx::query(OF_RELEASE).bind(last).execute(c).await.map(drop))?;
        let notes = on_tx!(self, |c| sqlx::query(GONE).bind(last).execute(c).await.map(|done| done.rows_affected()))?;
        Ok(Folded { notes, risen: risen(counted) })
    }

    /// Lets the search index be written anew for packages that did not change otherwise.
    pub async fn set_behind_index(&mut self, packages: impl IntoIterator<Item = PackageId>) -> DbResult<()> {
        const SQL: Sql = for_packages!(
            "UPDATE packages SET indexed_revision = revision - 1 WHERE indexed_revision >= revision AND id",
            ""
        );
        let sql = SQL.on(self.engine());
        let list = id_list(packages);
        on_tx!(self, |c| sqlx::query(sql).bind(list).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// How many notes there were, and a [`Counted`] where any of them were about a package that is there.
type FoldedRow = (i64, Option<PackageId>, Option<UserId>, Option<OrgId>, Option<i64>, Option<i64>);

/// A package with its owner, what it had counted before and what came in addition.
type Counted = (PackageId, Option<UserId>, Option<OrgId>, i64, i64);

/// What became of notes about downloads.
#[derive(Debug, Default)]
pub struct Folded {
    /// How many there were.
    pub notes: u64,
    /// Packages whose count is another one now to a reader who looks at its two leading digits, with their owners.
    pub risen: Vec<(PackageId, Owner)>,
}

fn risen(counted: impl IntoIterator<Item = Counted>) -> Vec<(PackageId, Owner)> {
    let has_risen = |(_, _, _, before, n): &Counted| leading_digits(*before) != leading_digits(before + n);
    let counted = counted.into_iter().filter(has_risen);
    counted.map(|(package, user, org, ..)| (package, owner_of(user, org))).collect()
}

/// How many digits a count has, and the first two of them.
fn leading_digits(count: i64) -> (u32, i64) {
    let digits = count.checked_ilog10().unwrap_or(0);
    (digits, count / 10_i64.pow(digits.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_rises_when_its_leading_digits_change() {
        for (before, n, has_risen) in [
            (0, 1, true),
            (9, 1, true),
            (10, 1, true),
            (100, 1, false),
            (100, 10, true),
            (123_456, 6_000, false),
            (1, 0, false),
        ] {
            assert_eq!(leading_digits(before) != leading_digits(before + n), has_risen, "{before} + {n}");
        }
    }
}
