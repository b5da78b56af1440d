//! The names of all packages in memory, for the comparison that no index can make ([`KnownNames`]).
//!
//! What lies here only says where to look: the database decides about every name that is found. Names come and are
//! never changed, so keeping up means reading the packages that were created since.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use publaryn_core::{Ecosystem, PackageId, similar::KnownNames};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::{Db, DbResult, Tx};

/// Identifiers hold the time they were made at; a transaction may take this long to commit afterwards, and clocks of
/// replicas may differ by it, for its package still to be seen.
const OVERLAP: Duration = Duration::from_secs(10);

/// Packages read at once.
const PAGE: i64 = 10_000;

const NEWER: &str = "SELECT id, ecosystem, normalized_name FROM packages WHERE id > $1 ORDER BY id LIMIT $2";

type NewName = (PackageId, Ecosystem, String);

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct SeenNames {
    names: HashMap<Ecosystem, KnownNames>,
    newest: Option<PackageId>,
    /// Those of the overlap, which are read again.
    recent: HashSet<PackageId>,
}

impl SeenNames {
    /// Where to read on.
    fn from(&self) -> PackageId {
        let millis = |id: PackageId| (id.0.as_u128() >> 80).saturating_sub(OVERLAP.as_millis());
        PackageId(Uuid::from_u128(self.newest.map_or(0, millis) << 80))
    }

    fn take_in(&mut self, page: Vec<NewName>) {
        for (id, ecosystem, name) in page {
            if self.recent.insert(id) {
                self.names.entry(ecosystem).or_default().add(&name);
            }
            self.newest = self.newest.max(Some(id));
        }
    }

    /// Forgets what will not be read again.
    fn settle(&mut self) {
        let from = self.from();
        self.recent.retain(|id| *id > from);
    }

    fn near(&self, ecosystem: Ecosystem, normalized: &str) -> Vec<SmolStr> {
        self.names.get(&ecosystem).map(|names| names.near(normalized)).unwrap_or_default()
    }
}

impl Db {
    /// Reads the names of new packages ahead, so that a publish finds few of them to read. How many are known.
    pub async fn read_new_names(&self) -> DbResult<usize> {
        let mut seen = self.seen_names().lock().await;
        let mut from = seen.from();
        loop {
            let page: Vec<NewName> = on_db!(self, |c| sqlx::query_as(NEWER).bind(from).bind(PAGE).fetch_all(c).await)?;
            let Some((last, ..)) = page.last() else { break };
            from = *last;
            seen.take_in(page);
        }
        seen.settle();
        Ok(seen.names.values().map(KnownNames::len).sum())
    }
}

impl Tx {
    /// Names of the ecosystem that are close to this one, closest first; not all of them need be open, or still
    /// there.
    pub(crate) async fn names_near(&mut self, ecosystem: Ecosystem, normalized: &str) -> DbResult<Vec<SmolStr>> {
        let db = self.db().clone();
        let mut seen = db.seen_names().lock().await;
        let mut from = seen.from();
        loop {
            let page: Vec<NewName> = on_tx!(self, |c| sqlx::query_as(NEWER).bind(from).bind(PAGE).fetch_all(c).await)?;
            let Some((last, ..)) = page.last() else { break };
            from = *last;
            seen.take_in(page);
        }
        seen.settle();
        Ok(seen.near(ecosystem, normalized))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seconds: u64, n: u128) -> PackageId {
        PackageId(Uuid::from_u128((u128::from(seconds) * 1000) << 80 | n))
    }
    fn named(id: PackageId, name: &str) -> NewName {
        (id, Ecosystem::Npm, name.to_owned())
    }

    #[test]
    fn packages_that_commit_late_are_seen_and_none_is_kept_twice() {
        let mut seen = SeenNames::default();
        assert_eq!(seen.from(), id(0, 0));
        seen.take_in(vec![named(id(50, 1), "old"), named(id(100, 1), "new")]);
        seen.settle();
        assert_eq!(seen.from(), id(90, 0));
        assert_eq!(seen.recent.len(), 1);
        seen.take_in(vec![named(id(95, 1), "late"), named(id(100, 1), "new")]);
        assert_eq!(seen.names[&Ecosystem::Npm].len(), 3);
        assert_eq!(seen.from(), id(90, 0));
    }
}
