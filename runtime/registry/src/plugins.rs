//! The prefixes under which Maven's plugins can be called, by group.

use std::sync::Arc;

use publaryn_core::{Ecosystem, Operation, PackageName, Principal, RegistryError, audit::AuditAction};
use publaryn_metadata::{Db, Engine, open_releases::PluginPrefix};
use serde_json::json;

use crate::{Registry, kept::Kept};

/// A plugin that can be called by a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// As published: `com.acme:gizmo-maven-plugin`.
    pub package: String,
    pub prefix: String,
    pub name: Option<String>,
}

/// How many groups' prefixes are kept. Every read of an artifact's metadata asks for a group of that name, and most
/// have none.
const KEPT_GROUPS: u64 = 100_000;

/// Where the prefixes of a group come from: memory where this process is the only writer, as with heads.
pub(crate) struct Prefixes {
    db: Db,
    kept: Option<Arc<Kept<Arc<[PluginPrefix]>>>>,
}

impl Prefixes {
    pub(crate) fn new(db: &Db) -> Self {
        let kept = (db.engine() == Engine::Sqlite).then(|| Arc::new(Kept::new(KEPT_GROUPS)));
        if let Some(hook) = kept.clone() {
            db.on_commit(move |notice| {
                for touched in &notice.packages {
                    if let Some((group, _)) = touched.normalized_name.split_once(':') {
                        hook.expire(touched.ecosystem, group);
                    }
                }
            });
        }
        Self { db: db.clone(), kept }
    }

    /// `group` in lower case.
    async fn of(&self, ecosystem: Ecosystem, group: &str) -> Result<Arc<[PluginPrefix]>, RegistryError> {
        let ask = async { Ok(self.db.plugin_prefixes(ecosystem, &format!("{group}:")).await?.into()) };
        match &self.kept {
            Some(kept) => kept.get(ecosystem, group, ask).await,
            None => ask.await,
        }
    }

    pub(crate) fn expire_all(&self) {
        if let Some(kept) = &self.kept {
            kept.expire_all();
        }
    }
}

impl Registry {
    /// Gives a plugin the prefix under which it can be called; the first name given stays. `false` when the caller
    /// may not publish it, or there is no such package.
    pub async fn name_plugin(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        package: &PackageName,
        prefix: &str,
        name: Option<&str>,
    ) -> Result<bool, RegistryError> {
        let mut change = match self.change(who, ecosystem, package.canonical(), Operation::Publish).await {
            Ok(change) if change.head.name == package.display() => change,
            Ok(_) | Err(RegistryError::NotFound | RegistryError::Denied(_)) => return Ok(false),
            Err(other) => return Err(other),
        };
        if change.tx.add_plugin_prefix(change.head.id, prefix, name, change.now).await? {
            let entry = change.audit(AuditAction::PackageUpdate);
            change.commit(entry.with("changed_fields", json!(["plugin_prefixes"])).with("prefix", prefix)).await?;
        }
        Ok(true)
    }

    /// The plugins of a group that `who` may see. Of several with one prefix, the first to have it.
    pub async fn plugins(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        group: &str,
    ) -> Result<Vec<Plugin>, RegistryError> {
        let rows = self.0.prefixes.of(ecosystem, &group.to_ascii_lowercase()).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<_> = rows.iter().map(|row| row.package_id).collect();
        ids.sort();
        ids.dedup();
        let standings = self.0.db.standings(who).await?;
        let views = self.views_by_id(who, &standings, &ids).await?;
        let mut plugins: Vec<Plugin> = Vec::with_capacity(rows.len());
        for row in &*rows {
            let Some(view) = views.iter().find(|view| view.id() == row.package_id) else { continue };
            let is_of_group = view.name().split_once(':').is_some_and(|(found, _)| found == group);
            if is_of_group && plugins.iter().all(|plugin| plugin.prefix != row.prefix) {
                let PluginPrefix { prefix, name, .. } = row.clone();
                plugins.push(Plugin { package: view.name().to_owned(), prefix, name });
            }
        }
        Ok(plugins)
    }
}
