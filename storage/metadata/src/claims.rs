//! Namespace claims (access.md §7).

use std::collections::HashMap;

use publaryn_core::{
    ClaimId, Ecosystem, Namespace, OrgId, Timestamp, UserId,
    access::{ClaimAccess, Owner, Relation},
    namespace::{Covered, governing_keys},
};
use sqlx::FromRow;

use crate::{Db, DbResult, Sql, Tx, organizations::Slice, rows::owner_of};

#[derive(Debug, Clone, FromRow)]
pub struct ClaimRow {
    pub id: ClaimId,
    pub ecosystem: Ecosystem,
    pub namespace: String,
    pub namespace_key: String,
    pub owner_user_id: Option<UserId>,
    pub owner_org_id: Option<OrgId>,
    pub owner_username: Option<String>,
    pub owner_org_slug: Option<String>,
    pub is_verified: bool,
    pub created_at: Timestamp,
}

impl ClaimRow {
    pub fn owner(&self) -> Owner {
        owner_of(self.owner_user_id, self.owner_org_id)
    }
    pub fn access(&self, relation: Relation) -> ClaimAccess {
        ClaimAccess { id: self.id, owner: self.owner(), relation }
    }
}

/// Which claims a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClaimFilter {
    pub ecosystem: Option<Ecosystem>,
    pub owner_user: Option<UserId>,
    pub owner_org: Option<OrgId>,
    pub verified: Option<bool>,
}

macro_rules! claim_columns {
    ($rest:expr) => {
        concat!(
            "SELECT n.id, n.ecosystem, n.namespace, n.namespace_key, n.owner_user_id, n.owner_org_id, ",
            "u.username AS owner_username, o.slug AS owner_org_slug, n.is_verified, n.created_at ",
            "FROM namespace_claims n LEFT JOIN users u ON u.id = n.owner_user_id ",
            "LEFT JOIN organizations o ON o.id = n.owner_org_id ",
            $rest
        )
    };
}

/// Claims whose key is in the JSON list `$2`, the longest first.
const BY_KEYS: Sql = Sql {
    sqlite: claim_columns!(
        "WHERE n.ecosystem = $1 AND n.namespace_key IN (SELECT value FROM json_each($2)) \
         ORDER BY LENGTH(n.namespace_key) DESC"
    ),
    postgres: claim_columns!(
        "WHERE n.ecosystem = $1 AND n.namespace_key = ANY(ARRAY(SELECT json_array_elements_text($2::json))) \
         ORDER BY LENGTH(n.namespace_key) DESC"
    ),
};

fn key_list<T: AsRef<str>>(keys: &[T]) -> String {
    serde_json::Value::from(keys.iter().map(|key| key.as_ref().to_owned()).collect::<Vec<_>>()).to_string()
}

impl Db {
    pub async fn claim(&self, id: ClaimId) -> DbResult<Option<ClaimRow>> {
        const SQL: &str = claim_columns!("WHERE n.id = $1");
        Ok(on_db!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)?)
    }

    /// Claims, newest first.
    pub async fn claims(&self, filter: &ClaimFilter, slice: Slice) -> DbResult<(Vec<ClaimRow>, i64)> {
        macro_rules! matching {
            () => {
                "WHERE (n.ecosystem = $1 OR $1 = '') AND (n.owner_user_id = $2 OR $3) AND (n.owner_org_id = $4 OR $5) \
                 AND (n.is_verified = $6 OR $7)"
            };
        }
        const SQL: &str =
            claim_columns!(concat!(matching!(), " ORDER BY n.created_at DESC, n.id DESC LIMIT $8 OFFSET $9"));
        const COUNT: &str = concat!("SELECT CAST(COUNT(*) AS BIGINT) FROM namespace_claims n ", matching!());
        macro_rules! bound {
            ($query:expr) => {
                $query
                    .bind(filter.ecosystem.map_or("", Ecosystem::as_str))
                    .bind(filter.owner_user)
                    .bind(filter.owner_user.is_none())
                    .bind(filter.owner_org)
                    .bind(filter.owner_org.is_none())
                    .bind(filter.verified.unwrap_or(false))
                    .bind(filter.verified.is_none())
            };
        }
        let rows =
            on_db!(self, |c| bound!(sqlx::query_as(SQL)).bind(slice.limit).bind(slice.offset).fetch_all(c).await)?;
        Ok((rows, on_db!(self, |c| bound!(sqlx::query_scalar(COUNT)).fetch_one(c).await)?))
    }

    /// The claim that governs names inside this namespace: itself or the narrowest around it.
    pub async fn claim_around(&self, namespace: &Namespace) -> DbResult<Option<ClaimRow>> {
        let mut keys = namespace.covering_keys();
        keys.push(namespace.key().into());
        let (sql, list) = (self.sql(BY_KEYS), key_list(&keys));
        let rows: Vec<ClaimRow> =
            on_db!(self, |c| sqlx::query_as(sql).bind(namespace.ecosystem()).bind(list).fetch_all(c).await)?;
        Ok(rows.into_iter().next())
    }
}

impl Db {
    /// The claims that govern packages of these normalised names, by name.
    pub async fn governing_claims(
        &self,
        ecosystem: Ecosystem,
        normalized: &[&str],
    ) -> DbResult<HashMap<String, ClaimRow>> {
        let mut keys: Vec<_> = normalized.iter().flat_map(|name| governing_keys(ecosystem, name)).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (sql, list) = (self.sql(BY_KEYS), key_list(&keys));
        let claims: Vec<ClaimRow> =
            on_db!(self, |c| sqlx::query_as(sql).bind(ecosystem).bind(list.as_str()).fetch_all(c).await)?;
        let of = |name: &str| {
            let keys = governing_keys(ecosystem, name);
            claims.iter().find(|claim| keys.iter().any(|key| *key == claim.namespace_key)).cloned()
        };
        Ok(normalized.iter().filter_map(|name| Some(((*name).to_owned(), of(name)?))).collect())
    }
}

/// The key is arbitrary, but no other advisory lock may use it.
const CLAIMS_LOCK: i64 = 7_302_591_860;

impl Tx {
    /// The claim that governs a package of that normalised name.
    pub async fn governing_claim(&mut self, ecosystem: Ecosystem, normalized: &str) -> DbResult<Option<ClaimRow>> {
        let keys = governing_keys(ecosystem, normalized);
        if keys.is_empty() {
            return Ok(None);
        }
        if let crate::tx::Connection::Postgres(tx) = self.connection() {
            sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(CLAIMS_LOCK).execute(&mut ***tx).await?;
        }
        let (sql, list) = (BY_KEYS.on(self.engine()), key_list(&keys));
        let rows: Vec<ClaimRow> = on_tx!(self, |c| sqlx::query_as(sql).bind(ecosystem).bind(list).fetch_all(c).await)?;
        Ok(rows.into_iter().next())
    }

    pub async fn lock_claim(&mut self, id: ClaimId) -> DbResult<Option<ClaimRow>> {
        let sql = Sql {
            sqlite: claim_columns!("WHERE n.id = $1"),
            postgres: claim_columns!("WHERE n.id = $1 FOR UPDATE OF n"),
        }
        .on(self.engine());
        Ok(on_tx!(self, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
    }

    /// Waits until nobody else is creating a claim or acting on the absence of one, so that "nothing overlaps" stays true
    /// until the commit.
    pub async fn lock_claim_creation(&mut self) -> DbResult<()> {
        if let crate::tx::Connection::Postgres(tx) = self.connection() {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CLAIMS_LOCK).execute(&mut ***tx).await?;
        }
        Ok(())
    }

    /// A claim of somebody else that covers the namespace or lies inside it.
    pub async fn overlapping_claim(&mut self, namespace: &Namespace, owner: Owner) -> DbResult<Option<ClaimRow>> {
        const INSIDE: &str = claim_columns!(
            "WHERE n.ecosystem = $1 AND LENGTH(n.namespace_key) > $2 \
             AND SUBSTR(n.namespace_key, 1, $3) = $4"
        );
        let keys = namespace.covering_keys();
        let (sql, list) = (BY_KEYS.on(self.engine()), key_list(&keys));
        let mut rows: Vec<ClaimRow> =
            on_tx!(self, |c| sqlx::query_as(sql).bind(namespace.ecosystem()).bind(list).fetch_all(c).await)?;
        let start = namespace.key().trim_end_matches(['-', '_', '.']);
        let chars = i32::try_from(start.chars().count()).unwrap_or(i32::MAX);
        let inside: Vec<ClaimRow> = on_tx!(self, |c| sqlx::query_as(INSIDE)
            .bind(namespace.ecosystem())
            .bind(i32::try_from(namespace.key().chars().count()).unwrap_or(i32::MAX))
            .bind(chars)
            .bind(start)
            .fetch_all(c)
            .await)?;
        rows.extend(inside.into_iter().filter(|row| namespace.contains_key(&row.namespace_key)));
        Ok(rows.into_iter().find(|row| row.owner() != owner))
    }

    /// Whether somebody else has a package that the namespace covers, of whatever visibility.
    pub async fn covers_foreign_package(&mut self, namespace: &Namespace, owner: Owner) -> DbResult<bool> {
        const ONE: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM packages WHERE ecosystem = $1 AND normalized_name = $2 \
             AND NOT (COALESCE(owner_user_id = $3, FALSE) OR COALESCE(owner_org_id = $4, FALSE))";
        const PREFIX: Sql = Sql {
            sqlite: "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM packages WHERE ecosystem = $1 \
                     AND normalized_name >= $2 AND normalized_name < $3 \
                     AND NOT (COALESCE(owner_user_id = $4, FALSE) OR COALESCE(owner_org_id = $5, FALSE)) LIMIT 1)",
            postgres: "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM packages WHERE ecosystem = $1 \
                       AND normalized_name COLLATE \"C\" >= $2 AND normalized_name COLLATE \"C\" < $3 \
                       AND NOT (COALESCE(owner_user_id = $4, FALSE) OR COALESCE(owner_org_id = $5, FALSE)) LIMIT 1) AS s",
        };
        let (user, org) = match owner {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        let prefix_sql = PREFIX.on(self.engine());
        for set in namespace.covers() {
            let count: i64 = match set {
                Covered::Name(name) => on_tx!(self, |c| sqlx::query_scalar(ONE)
                    .bind(namespace.ecosystem())
                    .bind(name.as_str())
                    .bind(user)
                    .bind(org)
                    .fetch_one(c)
                    .await)?,
                Covered::Prefix(prefix) => on_tx!(self, |c| sqlx::query_scalar(prefix_sql)
                    .bind(namespace.ecosystem())
                    .bind(prefix.as_str())
                    .bind(after_prefix(&prefix))
                    .bind(user)
                    .bind(org)
                    .fetch_one(c)
                    .await)?,
            };
            if count > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates a claim; `false` when the namespace is claimed.
    pub async fn insert_claim(&mut self, new: &ClaimRow) -> DbResult<bool> {
        const SQL: &str = "INSERT INTO namespace_claims (id, ecosystem, namespace, namespace_key, owner_user_id, owner_org_id, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let done = on_tx!(self, |c| sqlx::query(SQL)
            .bind(new.id)
            .bind(new.ecosystem)
            .bind(new.namespace.as_str())
            .bind(new.namespace_key.as_str())
            .bind(new.owner_user_id)
            .bind(new.owner_org_id)
            .bind(new.created_at)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Deletes a claim with the grants on it; packages stay where they are.
    pub async fn delete_claim(&mut self, id: ClaimId) -> DbResult<()> {
        const SQL: &str = "DELETE FROM namespace_claims WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_claim_owner(&mut self, id: ClaimId, org: OrgId) -> DbResult<()> {
        const SQL: &str = "UPDATE namespace_claims SET owner_user_id = NULL, owner_org_id = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(org).execute(c).await.map(drop))?;
        Ok(())
    }

    pub async fn set_claim_verified(&mut self, id: ClaimId, is_verified: bool) -> DbResult<()> {
        const SQL: &str = "UPDATE namespace_claims SET is_verified = $2 WHERE id = $1";
        on_tx!(self, |c| sqlx::query(SQL).bind(id).bind(is_verified).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// The first text after every text with that prefix, in byte order. Prefixes end in ASCII.
fn after_prefix(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    let last = end.pop().map_or('\u{10ffff}', |c| char::from_u32(c as u32 + 1).unwrap_or('\u{10ffff}'));
    end.push(last);
    end
}
