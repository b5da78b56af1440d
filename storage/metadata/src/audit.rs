//! The append-only audit log. The database itself refuses UPDATE on it, and DELETE of what lies behind the horizon.

use publaryn_core::{AuditId, Timestamp, audit::AuditEntry};

use crate::{DbResult, Tx};

impl Tx {
    /// Appends an entry that commits with this transaction; [`Tx::commit_audited`] is the usual way.
    pub async fn append_audit(&mut self, entry: &AuditEntry, now: Timestamp) -> DbResult<()> {
        const SQL: &str = "INSERT INTO audit_log (id, action, actor_user_id, actor_token_id, target_user_id, \
             target_org_id, target_package_id, target_release_id, ip_address, user_agent, metadata, occurred_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let metadata = serde_json::Value::Object(entry.metadata.clone()).to_string();
        Ok(later!(
            self,
            SQL,
            AuditId::new(),
            entry.action,
            entry.actor_user,
            entry.actor_token,
            entry.target_user,
            entry.target_org,
            entry.target_package,
            entry.target_release,
            entry.origin.ip.map(|ip| ip.to_string()),
            entry.origin.user_agent.as_ref().map(ToString::to_string),
            metadata,
            now,
        )?)
    }
    /// Moves the horizon of the audit log on to `kept_from` and deletes up to `limit` entries before it; how many.
    ///
    /// # Errors
    /// The database refuses a horizon within a day of now. One that lies behind the present one changes nothing.
    pub async fn expire_audit(&mut self, kept_from: Timestamp, limit: i64) -> DbResult<u64> {
        const MOVE: &str = "UPDATE audit_horizon SET kept_from = $1 WHERE kept_from < $1";
        const DELETE: &str = "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log \
             WHERE occurred_at < (SELECT kept_from FROM audit_horizon) AND occurred_at < $1 \
             ORDER BY occurred_at, id LIMIT $2)";
        on_tx!(self, |c| sqlx::query(MOVE).bind(kept_from).execute(c).await.map(drop))?;
        self.up_to(limit, kept_from, DELETE).await
    }
}
