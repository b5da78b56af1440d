//! Security findings of live releases, for the clients' own audit commands.

use std::collections::HashSet;

use publaryn_core::{Ecosystem, Principal, RegistryError, Timestamp, Visibility};
pub use publaryn_metadata::advisories::AdvisoryRow as Advisory;

use crate::{PackageView, Registry};

impl Registry {
    /// Unresolved security findings of at least medium severity on live releases of these packages, as far as
    /// `who` may read them. One row per release and finding.
    pub async fn advisories(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &[&str],
    ) -> Result<Vec<Advisory>, RegistryError> {
        let rows = self.0.db.advisories(ecosystem, normalized).await?;
        self.readable(who, rows, |_| true).await
    }

    /// The same of every package of an ecosystem that lists show to `who`.
    pub async fn all_advisories(&self, who: &Principal, ecosystem: Ecosystem) -> Result<Vec<Advisory>, RegistryError> {
        let rows = self.0.db.all_advisories(ecosystem).await?;
        self.readable(who, rows, |view| view.visibility() != Visibility::Unlisted).await
    }

    /// When anything last changed that [`Self::all_advisories`] may tell somebody.
    pub async fn advisories_changed_at(&self, ecosystem: Ecosystem) -> Result<Option<Timestamp>, RegistryError> {
        Ok(self.0.db.advisories_changed_at(ecosystem).await?)
    }

    async fn readable(
        &self,
        who: &Principal,
        mut rows: Vec<Advisory>,
        counts: impl Fn(&PackageView) -> bool,
    ) -> Result<Vec<Advisory>, RegistryError> {
        let mut ids: Vec<_> = rows.iter().map(|row| row.package_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let standings = self.0.db.standings(who).await?;
        let readable = self.views_by_id(who, &standings, &ids).await?;
        let readable: HashSet<_> = readable.iter().filter(|view| counts(view)).map(PackageView::id).collect();
        rows.retain(|row| readable.contains(&row.package_id));
        Ok(rows)
    }
}
