//! The Meilisearch back end against a small server that speaks its API.

use std::sync::Arc;

use publaryn_search::{
    Meilisearch, MeilisearchConfig, MeilisearchConfigError, RebuildState, SearchError, SearchIndex, Total,
};
use serde_json::json;

use crate::{
    fake_meilisearch::{FakeMeilisearch, KEY},
    sample::{Served, ask, package, text, upsert, write},
};

pub struct Fixture {
    served: Served<Meilisearch>,
    server: FakeMeilisearch,
}

impl Fixture {
    pub fn index(&self) -> Arc<dyn SearchIndex> {
        self.served.shared()
    }
}

async fn fixture() -> Fixture {
    let server = FakeMeilisearch::start().await;
    Fixture { served: connect(&server), server }
}

fn config(server: &FakeMeilisearch) -> MeilisearchConfig {
    MeilisearchConfig { url: server.url.clone(), api_key: Some(KEY.into()), index_prefix: "pub-test".into() }
}

fn connect(server: &FakeMeilisearch) -> Served<Meilisearch> {
    Served::new(Meilisearch::new(&config(server)).unwrap())
}

crate::contract::contract_tests!(fixture);

#[tokio::test]
async fn index_and_settings_are_put_in_place() {
    let fixture = fixture().await;
    assert!(fixture.server.indexes().is_empty(), "nothing is asked before the first operation");
    fixture.index().probe().await.unwrap();
    assert_eq!(fixture.server.indexes(), ["pub-test_packages_v1", "pub-test_state"]);
    let settings = fixture.server.settings("pub-test_packages_v1");
    assert_eq!(
        settings["searchableAttributes"],
        json!(["full_name", "base_name", "name_words", "keywords", "description"])
    );
    assert_eq!(
        settings["rankingRules"],
        json!([
            "sort",
            "words",
            "typo",
            "attribute",
            "exactness",
            "proximity",
            "is_dated:asc",
            "downloads:desc",
            "updated_at:desc"
        ])
    );
    assert_eq!(settings["typoTolerance"]["minWordSizeForTypos"], json!({"oneTypo": 5, "twoTypos": 255}));
    assert_eq!(settings["pagination"], json!({"maxTotalHits": 10_000}));
}

#[tokio::test]
async fn a_second_replica_shares_the_index() {
    let fixture = fixture().await;
    write(&*fixture.index(), &[package("shared")]).await;
    fixture.index().note_rebuild(RebuildState::Complete).await.unwrap();
    let second = connect(&fixture.server);
    assert!(!second.needs_rebuild().await.unwrap());
    assert_eq!(ask(&*second, &text("shared")).await.total, Total::Exactly(1));
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let fixture = fixture().await;
    let mut elsewhere = config(&fixture.server);
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    elsewhere.url.set_port(Some(port)).unwrap();
    let index = Served::new(Meilisearch::new(&elsewhere).unwrap());
    assert!(matches!(
        index.query(&text("x"), &publaryn_search::Audience::public()).await,
        Err(SearchError::Unavailable(_))
    ));
    assert!(matches!(index.apply(vec![upsert(&package("x"))]).await, Err(SearchError::Unavailable(_))));
    assert!(index.probe().await.is_err());
    assert!(index.needs_rebuild().await.is_err());
    assert!(index.status().last_error.is_some());
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let fixture = fixture().await;
    fixture.server.set_down(true);
    let thing = package("thing");
    assert!(fixture.index().apply(vec![upsert(&thing)]).await.is_err(), "down from the start");
    fixture.server.set_down(false);
    write(&*fixture.index(), std::slice::from_ref(&thing)).await;
    fixture.server.set_down(true);
    let audience = publaryn_search::Audience::public();
    assert!(matches!(fixture.index().query(&text(""), &audience).await, Err(SearchError::Unavailable(_))));
    assert!(fixture.index().probe().await.is_err());
    fixture.server.set_down(false);
    fixture.index().probe().await.unwrap();
    assert_eq!(ask(&*fixture.index(), &text("thing")).await.total, Total::Exactly(1));
}

#[tokio::test]
async fn a_wrong_key_is_unavailable_and_never_shown() {
    let fixture = fixture().await;
    let wrong = MeilisearchConfig { api_key: Some("wrong-key-secret".into()), ..config(&fixture.server) };
    assert!(!format!("{wrong:?}").contains("wrong-key-secret"));
    let index = Served::new(Meilisearch::new(&wrong).unwrap());
    let error = index.apply(vec![upsert(&package("x"))]).await.unwrap_err();
    assert!(!format!("{error:?}").contains("wrong-key-secret"));
    assert!(matches!(error, SearchError::Unavailable(_)));
}

#[tokio::test]
async fn a_failed_task_is_an_error_and_can_be_repeated() {
    let fixture = fixture().await;
    write(&*fixture.index(), &[package("first")]).await;
    fixture.server.fail_tasks(true);
    let second = package("second");
    assert!(matches!(fixture.index().apply(vec![upsert(&second)]).await, Err(SearchError::Unavailable(_))));
    fixture.server.fail_tasks(false);
    write(&*fixture.index(), &[second]).await;
    assert_eq!(ask(&*fixture.index(), &text("")).await.total, Total::Exactly(2));
}

#[tokio::test]
async fn a_deleted_index_is_made_again_and_reported() {
    let fixture = fixture().await;
    write(&*fixture.index(), &[package("before")]).await;
    fixture.index().note_rebuild(RebuildState::Complete).await.unwrap();
    fixture.server.drop_index("pub-test_packages_v1");
    let audience = publaryn_search::Audience::public();
    assert!(fixture.index().query(&text(""), &audience).await.is_err());
    write(&*fixture.index(), &[package("after")]).await;
    assert!(fixture.index().needs_rebuild().await.unwrap());
    assert_eq!(ask(&*fixture.index(), &text("")).await.total, Total::Exactly(1));
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    let fixture = fixture().await;
    let with = |change: &dyn Fn(&mut MeilisearchConfig)| {
        let mut config = config(&fixture.server);
        change(&mut config);
        Meilisearch::new(&config).err()
    };
    assert!(with(&|_| ()).is_none());
    for url in ["ftp://host/", "http://user:pw@host/", "http://host/?q=1", "http://host/#f"] {
        assert!(matches!(with(&|c| c.url = url.parse().unwrap()), Some(MeilisearchConfigError::Url)), "{url}");
    }
    for prefix in ["", "a b", "a/b", "ü"] {
        let error = with(&|c| c.index_prefix = prefix.into());
        assert!(matches!(error, Some(MeilisearchConfigError::IndexPrefix)), "{prefix}");
    }
    assert!(matches!(with(&|c| c.api_key = Some("a\nb".into())), Some(MeilisearchConfigError::ApiKey)));
}
