//! What a whole ecosystem looks like to a caller: its list of names, and how misses are answered.

use std::time::Duration;

use publaryn_core::{Ecosystem, Principal, RegistryError, Scope, Timestamp, principal::Who};
use publaryn_metadata::{
    packages::{ChangedPackage, ListedName},
    reach::Reach,
};

use crate::{AnonymousMiss, PackageView, Registry};

/// How old the knowledge may be that an ecosystem holds hidden packages (access.md §11).
pub(crate) const HIDES_TTL: Duration = Duration::from_secs(60);

impl Registry {
    /// Every package of an ecosystem that is listed for `who`, in canonical order: public ones, and what the
    /// caller is entitled to. Unlisted packages and those without anything live are left out.
    pub async fn listed_names(&self, who: &Principal, ecosystem: Ecosystem) -> Result<Vec<ListedName>, RegistryError> {
        let mut names = self.0.db.public_names(ecosystem).await?;
        let closed = self.closed_to_others(who, ecosystem).await?;
        if !closed.is_empty() {
            names.extend(closed.iter().map(|view| ListedName {
                name: view.name().to_owned(),
                normalized_name: view.head.normalized_name.to_string(),
            }));
            names.sort_by(|a, b| a.normalized_name.cmp(&b.normalized_name));
        }
        Ok(names)
    }

    /// The packages of [`Self::listed_names`] as views, for indexes that say something about every package.
    pub async fn listed(&self, who: &Principal, ecosystem: Ecosystem) -> Result<Vec<PackageView>, RegistryError> {
        let mut views = self.visible(who, self.0.db.public_heads(ecosystem).await?).await?;
        let closed = self.closed_to_others(who, ecosystem).await?;
        if !closed.is_empty() {
            views.extend(closed);
            views.sort_by(|a, b| a.head.normalized_name.cmp(&b.head.normalized_name));
        }
        Ok(views)
    }

    /// What native lists show to `who` beside what they show to everybody: what their account, their organizations and
    /// their teams' grants entitle them to (access.md §2.1).
    async fn closed_to_others(&self, who: &Principal, ecosystem: Ecosystem) -> Result<Vec<PackageView>, RegistryError> {
        let is_somebody = matches!(who.who, Who::User(_) | Who::Automation { .. });
        if !is_somebody || !who.allows(Scope::PackagesRead) {
            return Ok(Vec::new());
        }
        let heads = self.0.db.closed_heads(&Reach::of(who), ecosystem).await?;
        self.visible(who, heads).await
    }

    /// Public packages that have, or had in some version, a name as one they stand in for.
    pub async fn providers(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &str,
        limit: i64,
    ) -> Result<Vec<PackageView>, RegistryError> {
        let heads = self.0.db.public_providers(ecosystem, name, limit).await?;
        self.visible(who, heads).await
    }

    /// Changes of public packages since then, oldest first.
    pub async fn public_changes(
        &self,
        ecosystem: Ecosystem,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<ChangedPackage>, RegistryError> {
        Ok(self.0.db.public_changes(ecosystem, since, limit).await?)
    }

    /// Whether [`Self::listed_names`] may leave out something that its caller can read.
    pub async fn has_unlisted(&self, ecosystem: Ecosystem) -> Result<bool, RegistryError> {
        Ok(self.0.db.holds_unlisted_package(ecosystem).await?)
    }

    /// The answer to a read of something that is missing or hidden, which must not tell which of the two.
    ///
    /// `challenges`: clients of this ecosystem send what credentials they have only when asked, so anonymous
    /// callers are asked wherever the instance holds anything that a credential could show (access.md §11).
    pub async fn miss(&self, who: &Principal, ecosystem: Ecosystem, challenges: bool) -> RegistryError {
        if who.is_invalid() || !who.is_anonymous() {
            return if who.is_invalid() { self.broken_credential(who) } else { RegistryError::NotFound };
        }
        let asks = match self.0.settings.anonymous_miss {
            AnonymousMiss::Challenge => true,
            AnonymousMiss::NotFound => false,
            AnonymousMiss::Auto if !challenges => false,
            AnonymousMiss::Auto => match self.hides_something(ecosystem).await {
                Ok(hides) => hides,
                Err(error) => return error,
            },
        };
        if asks { RegistryError::Unauthenticated } else { RegistryError::NotFound }
    }

    /// Whether the ecosystem holds packages that not everybody may see; at most [`HIDES_TTL`] old.
    async fn hides_something(&self, ecosystem: Ecosystem) -> Result<bool, RegistryError> {
        if let Some(known) = self.0.hides.get(&ecosystem) {
            return Ok(known);
        }
        let hides = self.0.db.holds_hidden_package(ecosystem).await?;
        self.0.hides.insert(ecosystem, hides);
        Ok(hides)
    }
}
