//! Secrets of the instance that adapters sign with: made once, the same on every replica.

use publaryn_core::{RegistryError, Timestamp};

use crate::Registry;

impl Registry {
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
