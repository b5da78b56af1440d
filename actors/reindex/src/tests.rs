//! Both jobs against real databases and a real index.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use publaryn_core::{
    Ecosystem, PackageId, PackageName, RepositoryId, RepositoryKind, Timestamp, UserId, Visibility, access::Owner,
};
use publaryn_metadata::{
    Db, Engine,
    packages::NewPackage,
    repositories::RepositoryRow,
    testing::{self, TestDb},
    users::NewUser,
};
use publaryn_search::{
    Applied, Audience, AudienceTag, EmbeddedIndex, IndexOp, RebuildCursor, RebuildState, SearchError, SearchIndex,
    SearchPage, SearchQuery, SearchStatus, SearchText, Sort,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{IndexPackage, ReindexError, package::index_package, rebuild::Rebuild};

struct World {
    test: TestDb,
    index: Arc<EmbeddedIndex>,
    run: JoinHandle<()>,
    user: UserId,
    repository: RepositoryId,
    _dir: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// One world per engine of this run.
async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for test in testing::each().await {
        let dir = TempDir::new().unwrap();
        let index = Arc::new(EmbeddedIndex::open(dir.path().to_owned()).await.unwrap());
        let run = tokio::spawn({
            let index = index.clone();
            async move { index.run().await }
        });
        let (user, repository) = seed(&test.db).await;
        worlds.push(World { test, index, run, user, repository, _dir: dir });
    }
    worlds
}

async fn seed(db: &Db) -> (UserId, RepositoryId) {
    let (user, repository, now) = (UserId::new(), RepositoryId::new(), Timestamp::now());
    let mut tx = db.begin().await.unwrap();
    tx.lock_user_creation().await.unwrap();
    let new = NewUser {
        id: user,
        username: "alice",
        username_key: "alice",
        email: "alice@example.test",
        email_key: "alice@example.test",
        password_hash: "-",
        is_admin: false,
    };
    tx.insert_user(&new, now).await.unwrap();
    let row = RepositoryRow {
        id: repository,
        slug: "alice".into(),
        name: "alice".into(),
        description: None,
        kind: RepositoryKind::Public,
        visibility: Visibility::Public,
        owner_user_id: Some(user),
        owner_org_id: None,
        created_at: now,
        updated_at: now,
    };
    assert!(tx.insert_repository(&row).await.unwrap());
    tx.commit().await.unwrap();
    (user, repository)
}

impl World {
    fn db(&self) -> &Db {
        &self.test.db
    }

    /// An id as the engine's SQL writes it.
    fn literal(&self, id: uuid::Uuid) -> String {
        match self.db().engine() {
            Engine::Sqlite => format!("x'{}'", id.simple()),
            Engine::Postgres => format!("'{id}'::uuid"),
        }
    }

    async fn sql(&self, statement: &str) {
        self.db().execute_raw(statement).await.unwrap();
    }

    /// A public package without a release.
    async fn package(&self, name: &str) -> PackageId {
        let id = PackageId::new();
        let mut tx = self.db().begin().await.unwrap();
        let name = PackageName::accepted(name, name, name);
        let new = NewPackage {
            id,
            ecosystem: Ecosystem::Npm,
            name: &name,
            repository: self.repository,
            owner: Owner::User(self.user),
            visibility: Visibility::Public,
        };
        assert!(tx.insert_package(&new, Timestamp::now()).await.unwrap());
        tx.commit().await.unwrap();
        id
    }

    async fn live_package(&self, name: &str) -> PackageId {
        let id = self.package(name).await;
        self.release(id, "1.0.0", "published").await;
        id
    }

    async fn release(&self, package: PackageId, version: &str, status: &str) {
        let (id, package) = (self.literal(uuid::Uuid::now_v7()), self.literal(package.0));
        let (blob, no) = match self.db().engine() {
            Engine::Sqlite => ("x'00'", "0"),
            Engine::Postgres => ("'\\x00'::bytea", "FALSE"),
        };
        self.sql(&format!(
            "INSERT INTO releases (id, package_id, version, version_key, sort_key, status, is_prerelease, metadata, \
             sequence, created_at, updated_at) \
             VALUES ({id}, {package}, '{version}', '{version}', {blob}, '{status}', {no}, '{{}}', 1, 1, 1)"
        ))
        .await;
    }

    /// Changes columns of a package the way every change does: with a new revision.
    async fn change(&self, package: PackageId, columns: &str) {
        let id = self.literal(package.0);
        self.sql(&format!("UPDATE packages SET revision = revision + 1, {columns} WHERE id = {id}")).await;
    }

    async fn index(&self, package: PackageId) {
        index_package(self.db(), &*self.index, package).await.unwrap();
    }

    async fn rebuild(&self) -> u64 {
        let mut rebuild = Rebuild::resume(self.db(), &*self.index).await.unwrap();
        while rebuild.step().await.unwrap() {}
        let done = rebuild.cursor.done;
        rebuild.finish().await.unwrap();
        done
    }

    async fn found(&self, audience: &Audience) -> BTreeSet<PackageId> {
        let query = SearchQuery { limit: 250, sort: Sort::Name, ..SearchQuery::of(SearchText::default()) };
        self.index.query(&query, audience).await.unwrap().hits.iter().map(|hit| hit.id).collect()
    }

    async fn is_public(&self, package: PackageId) -> bool {
        self.found(&Audience::public()).await.contains(&package)
    }

    async fn is_behind(&self) -> bool {
        self.db().oldest_unindexed_change().await.unwrap().is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_follows_the_row() {
    for world in worlds().await {
        let package = world.package("@acme/thing").await;
        world.index(package).await;
        assert!(!world.is_public(package).await, "nothing is live yet");
        let owner = Audience::of([AudienceTag::User(world.user)]);
        assert!(world.found(&owner).await.contains(&package), "its owner finds it");

        world.release(package, "1.0.0", "scanning").await;
        world.index(package).await;
        assert!(!world.is_public(package).await, "a scan is not over");
        world.sql("UPDATE releases SET status = 'published'").await;
        world.change(package, "description = 'a wonderful thing', keywords = '[\"shiny\"]'").await;
        assert!(world.is_behind().await);
        world.index(package).await;
        assert!(!world.is_behind().await);
        assert!(world.is_public(package).await);
        for word in ["wonderful", "shiny", "acme"] {
            let query = SearchQuery::of(SearchText::parse(word).unwrap());
            let page = world.index.query(&query, &Audience::public()).await.unwrap();
            assert_eq!(page.hits.iter().map(|h| (h.id, h.revision)).collect::<Vec<_>>(), [(package, 1)], "{word}");
        }
        let scoped = SearchQuery { scope: Some("acme".into()), ..SearchQuery::of(SearchText::default()) };
        assert_eq!(world.index.query(&scoped, &Audience::public()).await.unwrap().hits.len(), 1);

        for (hidden, shown) in [
            ("visibility = 'unlisted'", "visibility = 'public'"),
            ("visibility = 'private'", "visibility = 'public'"),
            ("deleted_at = 1", "deleted_at = NULL"),
        ] {
            world.change(package, hidden).await;
            world.index(package).await;
            assert!(!world.is_public(package).await, "{hidden}");
            world.change(package, shown).await;
            world.index(package).await;
            assert!(world.is_public(package).await, "{shown}");
        }
        world.sql("UPDATE repositories SET visibility = 'private'").await;
        world.index(package).await;
        assert!(!world.is_public(package).await, "the repository narrows");
        world.sql("UPDATE repositories SET visibility = 'public', kind = 'staging'").await;
        world.index(package).await;
        assert!(world.found(&owner).await.is_empty(), "staging is found by nobody");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_brings_up_whatever_is_behind() {
    for world in worlds().await {
        let mut packages = BTreeSet::new();
        for name in ["one", "two", "three"] {
            let package = world.live_package(name).await;
            world.change(package, "description = 'x'").await;
            packages.insert(package);
        }
        let job = IndexPackage::new(world.db().clone(), world.index.clone());
        let first = *packages.first().unwrap();
        job.bring_up(first).await.unwrap();
        assert_eq!(world.found(&Audience::public()).await, packages);
        assert!(!world.is_behind().await);

        let commits = world.index.status().commits_total;
        for package in &packages {
            job.bring_up(*package).await.unwrap();
        }
        assert_eq!(world.index.status().commits_total, commits, "there was nothing left to do");

        let id = world.literal(first.0);
        world.sql(&format!("DELETE FROM releases WHERE package_id = {id}")).await;
        world.sql(&format!("DELETE FROM packages WHERE id = {id}")).await;
        job.bring_up(first).await.unwrap();
        packages.remove(&first);
        assert_eq!(world.found(&Audience::public()).await, packages, "one without a row is forgotten");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co_owners_find_private_packages() {
    for world in worlds().await {
        let package = world.live_package("thing").await;
        world.change(package, "visibility = 'private'").await;
        let friend = Audience::of([AudienceTag::User(world.user)]);
        let other = UserId::new();
        let mut tx = world.db().begin().await.unwrap();
        tx.lock_user_creation().await.unwrap();
        let bob = NewUser {
            id: other,
            username: "bob",
            username_key: "bob",
            email: "bob@example.test",
            email_key: "bob@example.test",
            password_hash: "-",
            is_admin: false,
        };
        tx.insert_user(&bob, Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
        let (package_id, user) = (world.literal(package.0), world.literal(other.0));
        world
            .sql(&format!(
                "INSERT INTO package_owners (package_id, user_id, created_at) VALUES ({package_id}, {user}, 1)"
            ))
            .await;
        world.index(package).await;
        for audience in [friend, Audience::of([AudienceTag::User(other)])] {
            assert!(world.found(&audience).await.contains(&package));
        }
        assert!(!world.is_public(package).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deprecation_is_that_of_the_package_or_of_all_its_releases() {
    for world in worlds().await {
        let package = world.live_package("thing").await;
        let row = async || world.db().search_row(package).await.unwrap().unwrap().is_deprecated;
        world.release(package, "1.1.0", "deprecated").await;
        assert!(!row().await);
        world.sql("UPDATE releases SET status = 'deprecated'").await;
        assert!(row().await);
        world.sql("UPDATE releases SET status = 'yanked'").await;
        assert!(!row().await);
        world.change(package, "deprecation_message = 'use another'").await;
        assert!(row().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_without_row_is_forgotten() {
    for world in worlds().await {
        let package = world.live_package("thing").await;
        world.index(package).await;
        world.sql("DELETE FROM packages").await;
        world.index(package).await;
        assert!(!world.is_public(package).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_fills_an_empty_index_and_drops_orphans() {
    for world in worlds().await {
        let mut all = BTreeSet::new();
        for i in 0..30 {
            all.insert(world.live_package(&format!("thing-{i}")).await);
        }
        let orphan = world.live_package("orphan").await;
        world.index(orphan).await;
        world.sql(&format!("DELETE FROM packages WHERE id = {}", world.literal(orphan.0))).await;
        // Read long before the rebuild starts, as an orphan of a restored database would be.
        world.index.apply(vec![IndexOp::Remove(orphan), stale(orphan)]).await.unwrap();
        assert!(world.is_public(orphan).await);
        assert!(world.index.needs_rebuild().await.unwrap());
        assert_eq!(world.rebuild().await, 30);
        assert_eq!(world.found(&Audience::public()).await, all);
        assert!(!world.index.needs_rebuild().await.unwrap());
        assert!(!world.is_behind().await);
        assert_eq!(world.rebuild().await, 30, "again by an operator");
        assert_eq!(world.found(&Audience::public()).await, all);
    }
}

fn stale(id: PackageId) -> IndexOp {
    IndexOp::Upsert(Box::new(publaryn_search::PackageDocument {
        id,
        revision: 99,
        read_at: Timestamp::from_micros(1),
        ecosystem: Ecosystem::Npm,
        name: "stale".into(),
        normalized_name: "stale".into(),
        scope: None,
        description: None,
        keywords: Vec::new(),
        license: None,
        owner: Owner::User(UserId::new()),
        repository: RepositoryId::new(),
        audience: BTreeSet::from([AudienceTag::Public]),
        downloads: 0,
        is_deprecated: false,
        is_archived: false,
        has_live_release: true,
        updated_at: Timestamp::from_micros(1),
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_goes_on_where_it_stopped() {
    for world in worlds().await {
        let mut ids = Vec::new();
        for i in 0..10 {
            ids.push(world.live_package(&format!("thing-{i}")).await);
        }
        let cursor = RebuildCursor { started_at: Timestamp::now(), after: Some(ids[5]), done: 6 };
        world.index.note_rebuild(RebuildState::Running(cursor)).await.unwrap();
        assert_eq!(world.rebuild().await, 10);
        assert_eq!(world.found(&Audience::public()).await, ids[6..].iter().copied().collect());
        // The index was lost meanwhile: its position is lost with it.
        world.index.note_rebuild(RebuildState::Running(cursor)).await.unwrap();
        world.index.clear().await.unwrap();
        assert_eq!(world.rebuild().await, 10);
        assert_eq!(world.found(&Audience::public()).await, ids.into_iter().collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_wins_over_an_index_that_is_ahead() {
    for world in worlds().await {
        let (one, two) = (world.live_package("one").await, world.live_package("two").await);
        for package in [one, two] {
            world.index.apply(vec![stale(package)]).await.unwrap();
        }
        world.index(one).await;
        let revision = |page: &SearchPage, id| page.hits.iter().find(|h| h.id == id).map(|h| h.revision);
        let query = SearchQuery::of(SearchText::default());
        let page = world.index.query(&query, &Audience::public()).await.unwrap();
        assert_eq!((revision(&page, one), revision(&page, two)), (Some(0), Some(99)));
        world.rebuild().await;
        let page = world.index.query(&query, &Audience::public()).await.unwrap();
        assert_eq!((revision(&page, one), revision(&page, two)), (Some(0), Some(0)));
    }
}

/// An index during whose writes the package changes.
struct Meddled {
    world: Arc<World>,
    package: PackageId,
    /// Run before a write takes effect, one per write.
    changes: std::sync::Mutex<Vec<&'static str>>,
}

#[async_trait]
impl SearchIndex for Meddled {
    fn backend(&self) -> &'static str {
        "meddled"
    }
    async fn apply(&self, batch: Vec<IndexOp>) -> Result<Applied, SearchError> {
        let change = self.changes.lock().unwrap().pop();
        if let Some(change) = change {
            self.world.change(self.package, change).await;
            // The other job is faster: it reads the new row and writes first.
            self.world.index(self.package).await;
        }
        self.world.index.apply(batch).await
    }
    async fn query(&self, query: &SearchQuery, audience: &Audience) -> Result<SearchPage, SearchError> {
        self.world.index.query(query, audience).await
    }
    async fn sweep(&self, run_start: Timestamp) -> Result<(), SearchError> {
        self.world.index.sweep(run_start).await
    }
    async fn clear(&self) -> Result<(), SearchError> {
        self.world.index.clear().await
    }
    async fn probe(&self) -> Result<(), SearchError> {
        self.world.index.probe().await
    }
    async fn rebuild_state(&self) -> Result<RebuildState, SearchError> {
        self.world.index.rebuild_state().await
    }
    async fn note_rebuild(&self, state: RebuildState) -> Result<(), SearchError> {
        self.world.index.note_rebuild(state).await
    }
    async fn run(&self) {}
    fn status(&self) -> SearchStatus {
        SearchStatus::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_overtakes_a_write_wins() {
    for world in worlds().await {
        let world = Arc::new(world);
        let package = world.live_package("thing").await;
        let meddled = |changes| Meddled { world: world.clone(), package, changes: std::sync::Mutex::new(changes) };
        index_package(world.db(), &meddled(vec!["visibility = 'unlisted'"]), package).await.unwrap();
        assert!(!world.is_public(package).await);

        world.change(package, "visibility = 'public'").await;
        let index = meddled(vec!["visibility = 'unlisted'"]);
        let mut rebuild = Rebuild::resume(world.db(), &index).await.unwrap();
        while rebuild.step().await.unwrap() {}
        rebuild.finish().await.unwrap();
        assert!(!world.is_public(package).await, "a rebuild looks again, too");

        let restless = meddled(["visibility = 'public'", "visibility = 'unlisted'"].repeat(5));
        let ended = index_package(world.db(), &restless, package).await;
        assert!(matches!(ended, Err(ReindexError::Restless)), "{ended:?}");
    }
}
