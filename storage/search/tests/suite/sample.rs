//! Packages to search, and a back end that is being served.

use std::{collections::BTreeSet, ops::Deref, sync::Arc};

use publaryn_core::{Ecosystem, PackageId, RepositoryId, Timestamp, UserId, access::Owner};
use publaryn_search::{
    Audience, AudienceTag, IndexOp, PackageDocument, SearchIndex, SearchPage, SearchQuery, SearchText,
};
use tokio::task::JoinHandle;

/// A public package of nobody in particular.
pub fn package(name: &str) -> PackageDocument {
    PackageDocument {
        id: PackageId::new(),
        revision: 1,
        read_at: Timestamp::from_micros(1_000),
        ecosystem: Ecosystem::Npm,
        name: name.to_owned(),
        normalized_name: name.to_lowercase(),
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
        updated_at: Timestamp::from_micros(1_700_000_000_000_000),
    }
}

pub fn described(name: &str, description: &str) -> PackageDocument {
    PackageDocument { description: Some(description.to_owned()), ..package(name) }
}

pub fn upsert(package: &PackageDocument) -> IndexOp {
    IndexOp::Upsert(Box::new(package.clone()))
}

pub fn text(raw: &str) -> SearchQuery {
    SearchQuery::of(SearchText::parse(raw).unwrap())
}

/// A back end whose writer runs as long as this lives.
pub struct Served<I: SearchIndex> {
    index: Arc<I>,
    run: JoinHandle<()>,
}

impl<I: SearchIndex> Served<I> {
    pub fn new(index: I) -> Self {
        let index = Arc::new(index);
        Self { run: Self::serve(index.clone()), index }
    }
    fn serve(index: Arc<I>) -> JoinHandle<()> {
        tokio::spawn(async move { index.run().await })
    }
    pub fn stop(&self) {
        self.run.abort();
    }
    pub fn restart(&mut self) {
        self.run.abort();
        self.run = Self::serve(self.index.clone());
    }
    pub fn shared(&self) -> Arc<I> {
        self.index.clone()
    }
}

impl<I: SearchIndex> Deref for Served<I> {
    type Target = I;
    fn deref(&self) -> &I {
        &self.index
    }
}

impl<I: SearchIndex> Drop for Served<I> {
    fn drop(&mut self) {
        self.run.abort();
    }
}

pub async fn write(index: &dyn SearchIndex, packages: &[PackageDocument]) {
    index.apply(packages.iter().map(upsert).collect()).await.unwrap();
}

pub async fn ask(index: &dyn SearchIndex, query: &SearchQuery) -> SearchPage {
    index.query(query, &Audience::public()).await.unwrap()
}

/// The names found, in order.
pub async fn names(index: &dyn SearchIndex, query: &SearchQuery, packages: &[PackageDocument]) -> Vec<String> {
    names_for(index, query, &Audience::public(), packages).await
}

pub async fn names_for(
    index: &dyn SearchIndex,
    query: &SearchQuery,
    audience: &Audience,
    packages: &[PackageDocument],
) -> Vec<String> {
    let page = index.query(query, audience).await.unwrap();
    let name = |id| packages.iter().find(|p| p.id == id).map_or_else(|| format!("{id}?"), |p| p.name.clone());
    page.hits.iter().map(|hit| name(hit.id)).collect()
}
