//! Parts of names that belong to one owner: Composer's vendors.

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageName, Principal, RegistryError,
    access::{Denial, Resource},
    decide,
};

use crate::Registry;

impl Registry {
    /// Whether `who` may publish a package of that name below `prefix` (`acme/`). A prefix belongs to those who may
    /// publish to a package below it; the first package claims it. For existing packages their own rights count.
    ///
    /// Asked before the upload is read, not again inside the publish: two first publishes of one prefix at the same
    /// moment both succeed.
    ///
    /// # Errors
    /// `Denied` with code `namespace_claimed`.
    pub async fn may_publish_below(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
        prefix: &str,
    ) -> Result<(), RegistryError> {
        if self.0.heads.get(ecosystem, name.canonical()).await?.is_some_and(|head| !head.is_deleted) {
            return Ok(());
        }
        let below = self.0.db.packages_below(ecosystem, prefix).await?;
        for head in &below {
            let relation = self.full_relation(who, head).await?;
            if decide(who, Operation::Publish, Resource::Package(&head.access(relation))) == Decision::Allow {
                return Ok(());
            }
        }
        if below.is_empty() {
            return Ok(());
        }
        let claimed = prefix.trim_end_matches(['/', '.']);
        Err(RegistryError::Denied(Denial::Rule {
            code: "namespace_claimed",
            message: format!("vendor {claimed} belongs to another owner"),
        }))
    }
}
