//! The prefixes under which Maven's plugins can be called, by group.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use publaryn_core::{
    Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, Visibility, audit::AuditAction,
};
use publaryn_metadata::{Db, Engine, open_releases::PluginPrefix};
use serde_json::json;

use crate::{PackageView, Registry, kept::Kept};

/// A plugin that can be called by a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// As published: `com.acme:gizmo-maven-plugin`.
    pub package: String,
    pub prefix: String,
    pub name: Option<String>,
}

/// What a plugin is to be called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginName {
    pub prefix: String,
    /// For people.
    pub title: Option<String>,
}

/// Most prefixes of one plugin; it has one, and perhaps a few more from when it was called otherwise.
const MAX_PREFIXES: usize = 5;

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
    /// Gives a plugin prefixes under which it can be called; the first title given stays, and so do the first
    /// [`MAX_PREFIXES`]. `false` when the caller may not publish it, or there is no such package.
    pub async fn name_plugin(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        package: &PackageName,
        names: &[PluginName],
    ) -> Result<bool, RegistryError> {
        let head = self.0.heads.get(ecosystem, package.canonical()).await?;
        let Some(head) = head.filter(|head| !head.is_deleted && head.name == package.display()) else {
            return Ok(false);
        };
        match self.may_publish(who, ecosystem, package).await {
            Ok(()) => {}
            Err(RegistryError::NotFound | RegistryError::Denied(_) | RegistryError::Conflict { .. }) => {
                return Ok(false);
            }
            Err(other) => return Err(other),
        }
        // Clients send the whole list of a group with every deploy, so nearly all of it is known.
        let group = package.canonical().split_once(':').map_or("", |(group, _)| group);
        let known = self.0.prefixes.of(ecosystem, group).await?;
        let is_known =
            |name: &PluginName| known.iter().any(|row| row.package_id == head.id && row.prefix == name.prefix);
        let new: Vec<&PluginName> = names.iter().filter(|name| !is_known(name)).take(MAX_PREFIXES).collect();
        if new.is_empty() {
            return Ok(true);
        }
        let mut change = match self.change(who, ecosystem, package.canonical(), Operation::Publish).await {
            Ok(change) if change.head.name == package.display() => change,
            Ok(_) | Err(RegistryError::NotFound | RegistryError::Denied(_)) => return Ok(false),
            Err(other) => return Err(other),
        };
        let mut added = Vec::with_capacity(new.len());
        for PluginName { prefix, title } in new {
            let (id, now) = (change.head.id, change.now);
            if change.tx.add_plugin_prefix(id, prefix, title.as_deref(), MAX_PREFIXES, now).await? {
                added.push(prefix.as_str());
            }
        }
        if !added.is_empty() {
            let entry = change.audit(AuditAction::PackageUpdate);
            let entry = entry.with("changed_fields", json!(["plugin_prefixes"])).with("prefixes", json!(added));
            change.commit(entry).await?;
        }
        Ok(true)
    }

    /// The plugins of a group that are listed for `who`. Of several with one prefix, the first to have it.
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
        // Who knows of an unlisted package reads it; no list tells of it.
        let views: HashMap<PackageId, &PackageView> = views
            .iter()
            .filter(|view| view.visibility() != Visibility::Unlisted)
            .filter(|view| view.name().split_once(':').is_some_and(|(found, _)| found == group))
            .map(|view| (view.id(), view))
            .collect();
        let mut taken = HashSet::with_capacity(rows.len());
        let plugin = |row: &PluginPrefix| {
            let view = views.get(&row.package_id)?;
            let is_first = taken.insert(row.prefix.clone());
            is_first.then(|| Plugin {
                package: view.name().to_owned(),
                prefix: row.prefix.clone(),
                name: row.name.clone(),
            })
        };
        Ok(rows.iter().filter_map(plugin).collect())
    }
}
