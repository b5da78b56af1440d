//! Instance-wide facts, such as signing keys: written once, read by every replica.

use publaryn_core::Timestamp;

use crate::{Db, DbResult, Tx};

impl Db {
    pub async fn instance_setting(&self, name: &str) -> DbResult<Option<String>> {
        const SQL: &str = "SELECT value FROM instance_settings WHERE name = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(name).fetch_optional(c).await)?)
    }
}

impl Tx {
    /// Keeps the value under that name unless there is one; returns the one that is kept.
    pub async fn instance_setting_or_insert(&mut self, name: &str, value: &str, now: Timestamp) -> DbResult<String> {
        const INSERT: &str =
            "INSERT INTO instance_settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        const READ: &str = "SELECT value FROM instance_settings WHERE name = $1";
        on_tx!(self, |c| sqlx::query(INSERT).bind(name).bind(value).bind(now).execute(c).await.map(drop))?;
        Ok(on_tx!(self, |c| sqlx::query_scalar(READ).bind(name).fetch_one(c).await)?)
    }

    /// Puts `after` in the place of `before`; says whether it was still there.
    pub async fn replace_instance_setting(
        &mut self,
        name: &str,
        before: &str,
        after: &str,
        now: Timestamp,
    ) -> DbResult<bool> {
        const SQL: &str = "UPDATE instance_settings SET value = $3, updated_at = $4 WHERE name = $1 AND value = $2";
        let replaced = on_tx!(self, |c| sqlx::query(SQL)
            .bind(name)
            .bind(before)
            .bind(after)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(replaced > 0)
    }

    /// Keeps the value under that name, in the place of the one there is.
    pub async fn put_instance_setting(&mut self, name: &str, value: &str, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "INSERT INTO instance_settings (name, value, updated_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
        on_tx!(self, |c| sqlx::query(SQL).bind(name).bind(value).bind(now).execute(c).await.map(drop))?;
        Ok(())
    }
}
