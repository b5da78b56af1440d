//! What all replicas of an instance share: secrets that adapters sign with, made once, and the policy they last ran with.

use publaryn_core::{
    RegistryError, Timestamp,
    audit::{AuditAction, AuditEntry},
};
use serde_json::{Map, Value, json};

use crate::Registry;

/// The name under which the last policy is kept.
const POLICY: &str = "policy";

impl Registry {
    /// Records that the operator's policy is not what it was when a server of this instance last started. Settings
    /// that were not known then, or are no more, are no change.
    pub async fn note_policy(&self, policy: Map<String, Value>) -> Result<(), RegistryError> {
        let (now, text) = (Timestamp::now(), Value::Object(policy.clone()).to_string());
        let mut tx = self.0.db.begin().await?;
        let kept = tx.instance_setting_or_insert(POLICY, &text, now).await?;
        if kept == text {
            return Ok(tx.commit().await?);
        }
        let before: Map<String, Value> = serde_json::from_str(&kept).map_err(RegistryError::internal)?;
        let changed = policy.into_iter().filter_map(|(key, after)| {
            let before = before.get(&key).filter(|before| **before != after)?;
            Some((key, json!({ "before": before, "after": after })))
        });
        let changes: Map<String, Value> = changed.collect();
        if !tx.replace_instance_setting(POLICY, &kept, &text, now).await? {
            // Another replica was first, and has told.
            return Ok(tx.rollback().await?);
        }
        if changes.is_empty() {
            return Ok(tx.commit().await?);
        }
        let entry = AuditEntry::system(AuditAction::PolicyChange).with("changes", changes);
        Ok(tx.commit_audited(&entry, now).await?)
    }

    /// The instance secret of that name, made by `generate` when there is none yet.
    ///
    /// Of several replicas that start at once one wins, and all of them get its value.
    pub async fn instance_secret(
        &self,
        name: &str,
        generate: impl FnOnce() -> String,
    ) -> Result<String, RegistryError> {
        if let Some(kept) = self.0.db.instance_setting(name).await? {
            return Ok(kept);
        }
        let mut tx = self.0.db.begin().await?;
        let value = tx.instance_setting_or_insert(name, &generate(), Timestamp::now()).await?;
        tx.commit().await?;
        Ok(value)
    }
}
