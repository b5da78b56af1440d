//! The append-only audit log. The database itself refuses UPDATE and DELETE on it.

use publaryn_core::{AuditId, Timestamp, audit::AuditEntry};

use crate::{DbResult, Tx};

impl Tx {
    /// Appends an entry that commits with this transaction; [`Tx::commit_audited`] is the usual way.
    pub async fn append_audit(&mut self, entry: &AuditEntry, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "INSERT INTO audit_log (id, action, actor_user_id, actor_token_id, target_user_id, \
             target_org_id, target_package_id, target_release_id, ip_address, user_agent, metadata, occurred_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let metadata = serde_json::Value::Object(entry.metadata.clone()).to_string();
        on_tx!(self, |c| sqlx::query(SQL)
            .bind(AuditId::new())
            .bind(entry.action)
            .bind(entry.actor_user)
            .bind(entry.actor_token)
            .bind(entry.target_user)
            .bind(entry.target_org)
            .bind(entry.target_package)
            .bind(entry.target_release)
            .bind(entry.origin.ip.map(|ip| ip.to_string()))
            .bind(entry.origin.user_agent.as_deref())
            .bind(metadata)
            .bind(now)
            .execute(c)
            .await
            .map(drop))?;
        Ok(())
    }
}
