//! Names of unpublished packages whose owner or repository is gone: nobody may have them again (ADR 0041).

use publaryn_core::{Ecosystem, OrgId, RepositoryId, Timestamp};

use crate::{DbResult, Tx};

/// Moves the names of unpublished packages out of the table of packages; `$of` says which, by `$1`.
macro_rules! retire {
    ($of:literal) => {
        (
            concat!(
                "INSERT INTO retired_names (ecosystem, collision_key, name, retired_at) ",
                "SELECT ecosystem, collision_key, name, $2 FROM packages WHERE deleted_at IS NOT NULL AND ",
                $of,
                " ON CONFLICT DO NOTHING"
            ),
            concat!("DELETE FROM packages WHERE deleted_at IS NOT NULL AND ", $of, " RETURNING name"),
        )
    };
}

impl Tx {
    /// Retires the names of unpublished packages in a repository; returns them.
    pub async fn retire_names_in(&mut self, repository: RepositoryId, now: Timestamp) -> DbResult<Vec<String>> {
        const SQL: (&str, &str) = retire!("repository_id = $1");
        let (note, delete) = SQL;
        on_tx!(self, |c| sqlx::query(note).bind(repository).bind(now).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query_scalar(delete).bind(repository).fetch_all(c).await)?)
    }

    /// The same of an organization's, in whosever repository.
    pub async fn retire_names_of(&mut self, org: OrgId, now: Timestamp) -> DbResult<Vec<String>> {
        const SQL: (&str, &str) = retire!("owner_org_id = $1");
        let (note, delete) = SQL;
        on_tx!(self, |c| sqlx::query(note).bind(org).bind(now).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query_scalar(delete).bind(org).fetch_all(c).await)?)
    }

    pub async fn is_retired_name(&mut self, ecosystem: Ecosystem, collision_key: &str) -> DbResult<bool> {
        const SQL: &str =
            "SELECT CAST(COUNT(*) AS BIGINT) FROM retired_names WHERE ecosystem = $1 AND collision_key = $2";
        let count: i64 =
            on_tx!(self, |c| sqlx::query_scalar(SQL).bind(ecosystem).bind(collision_key).fetch_one(c).await)?;
        Ok(count > 0)
    }
}
