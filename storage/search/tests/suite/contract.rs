//! What every back end must do. Each function is one fact; [`contract_tests`] runs all of them.

use std::{collections::BTreeSet, sync::Arc};

use publaryn_core::{Ecosystem, OrgId, PackageId, RepositoryId, Timestamp, UserId, access::Owner};
use publaryn_search::{
    Audience, AudienceTag, IndexOp, PackageDocument, RebuildCursor, RebuildState, SearchIndex, SearchQuery, Sort, Total,
};

use crate::sample::{ask, described, names, names_for, package, text, upsert, write};

macro_rules! contract_tests {
    ($make:path) => {
        $crate::contract::contract_tests!($make:
            every_part_of_a_name_finds_it,
            keywords_and_descriptions_are_searched,
            every_word_must_be_found,
            only_the_audience_finds_a_private_package,
            audience_follows_the_document,
            filters_narrow,
            sorts_order,
            pages_do_not_overlap,
            totals_are_exact_up_to_a_thousand,
            an_older_revision_never_overwrites,
            a_batch_is_played_in_order,
            the_same_batch_twice_is_the_same_as_once,
            removed_packages_are_gone,
            concurrent_writers_all_see_their_change,
            sweep_forgets_what_was_not_read_again,
            a_rebuild_is_needed_until_it_is_complete,
            no_text_breaks_a_query,
            probe_answers
        );
    };
    ($make:path: $($name:ident),+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let fixture = $make().await;
            $crate::contract::$name(fixture.index()).await;
        }
    )+ };
}
pub(crate) use contract_tests;

type Index = Arc<dyn SearchIndex>;

pub async fn every_part_of_a_name_finds_it(index: Index) {
    let all = [package("@acme/foo-bar"), package("Newtonsoft.Json"), package("org.apache:commons_lang")];
    write(&*index, &all).await;
    for (question, name) in [
        ("foo", "@acme/foo-bar"),
        ("bar", "@acme/foo-bar"),
        ("foo-bar", "@acme/foo-bar"),
        ("foo bar", "@acme/foo-bar"),
        ("foobar", "@acme/foo-bar"),
        ("acme", "@acme/foo-bar"),
        ("@acme", "@acme/foo-bar"),
        ("@acme/foo-bar", "@acme/foo-bar"),
        ("ACME/Foo_Bar", "@acme/foo-bar"),
        ("fo", "@acme/foo-bar"),
        ("newton", "Newtonsoft.Json"),
        ("json", "Newtonsoft.Json"),
        ("newtonsoft.json", "Newtonsoft.Json"),
        ("commons-lang", "org.apache:commons_lang"),
        ("org.apache:commons_lang", "org.apache:commons_lang"),
    ] {
        assert_eq!(names(&*index, &text(question), &all).await, [name], "{question}");
    }
    assert!(ask(&*index, &text("unrelated")).await.hits.is_empty());
}

pub async fn keywords_and_descriptions_are_searched(index: Index) {
    let all = [
        described("alpha", "Parses YAML documents"),
        PackageDocument { keywords: vec!["command line".into(), "Terminal".into()], ..package("beta") },
    ];
    write(&*index, &all).await;
    for (question, name) in [("yaml", "alpha"), ("documents", "alpha"), ("terminal", "beta"), ("command", "beta")] {
        assert_eq!(names(&*index, &text(question), &all).await, [name], "{question}");
    }
}

pub async fn every_word_must_be_found(index: Index) {
    let all = [described("alpha", "quick parser"), described("beta", "quick printer")];
    write(&*index, &all).await;
    assert_eq!(names(&*index, &text("quick parser"), &all).await, ["alpha"]);
    assert_eq!(names(&*index, &text("beta quick"), &all).await, ["beta"]);
    assert!(names(&*index, &text("quick parser beta"), &all).await.is_empty());
}

pub async fn only_the_audience_finds_a_private_package(index: Index) {
    let (org, user, repository) = (OrgId::new(), UserId::new(), RepositoryId::new());
    let mut secret = package("secret-thing");
    secret.audience = BTreeSet::from([
        AudienceTag::OrgPrivate(org),
        AudienceTag::User(user),
        AudienceTag::Package(secret.id),
        AudienceTag::Repository(repository),
    ]);
    let all = [secret, package("secret-santa")];
    write(&*index, &all).await;

    let many_orgs = (0..50).map(|_| AudienceTag::Org(OrgId::new()));
    let entitled = [
        Audience::of(many_orgs.clone().chain([AudienceTag::OrgPrivate(org)])),
        Audience::of([AudienceTag::User(user)]),
        Audience::of([AudienceTag::Package(all[0].id)]),
        Audience::of([AudienceTag::Repository(repository)]),
    ];
    let strangers = [
        Audience::public(),
        Audience::of(many_orgs),
        Audience::of([AudienceTag::Org(org)]),
        Audience::of([AudienceTag::User(UserId::new()), AudienceTag::Package(all[1].id)]),
    ];
    for question in ["secret", "secret-thing", "thing", ""] {
        for audience in &entitled {
            let page = index.query(&text(question), audience).await.unwrap();
            assert!(page.hits.iter().any(|h| h.id == all[0].id), "{question} {audience:?}");
        }
        for audience in &strangers {
            let page = index.query(&text(question), audience).await.unwrap();
            assert!(page.hits.iter().all(|h| h.id != all[0].id), "{question} {audience:?}");
            assert!(page.total.count() <= 1, "the total tells of it: {question}");
        }
    }
}

pub async fn audience_follows_the_document(index: Index) {
    let user = UserId::new();
    let public = package("wobbly");
    write(&*index, std::slice::from_ref(&public)).await;
    let private = PackageDocument { audience: BTreeSet::from([AudienceTag::User(user)]), revision: 2, ..public };
    write(&*index, std::slice::from_ref(&private)).await;
    let all = [private];
    assert!(names(&*index, &text("wobbly"), &all).await.is_empty());
    let owner = Audience::of([AudienceTag::User(user)]);
    assert_eq!(names_for(&*index, &text("wobbly"), &owner, &all).await, ["wobbly"]);
}

pub async fn filters_narrow(index: Index) {
    let (user, org, repository) = (UserId::new(), OrgId::new(), RepositoryId::new());
    let all = [
        PackageDocument {
            ecosystem: Ecosystem::Cargo,
            owner: Owner::User(user),
            license: Some("MIT OR Apache-2.0".into()),
            keywords: vec!["Command Line".into()],
            ..package("thing-a")
        },
        PackageDocument {
            owner: Owner::Org(org),
            repository,
            scope: Some("acme".into()),
            license: Some("GPL-3.0-only".into()),
            is_deprecated: true,
            ..package("thing-b")
        },
        PackageDocument { has_live_release: false, keywords: vec!["command".into()], ..package("thing-c") },
    ];
    write(&*index, &all).await;
    let narrowed = |change: &dyn Fn(&mut SearchQuery)| {
        let mut query = text("thing");
        query.sort = Sort::Name;
        change(&mut query);
        let (index, all) = (index.clone(), all.clone());
        async move { names(&*index, &query, &all).await }
    };
    assert_eq!(narrowed(&|_| ()).await, ["thing-a", "thing-b", "thing-c"]);
    assert_eq!(narrowed(&|q| q.ecosystem = Some(Ecosystem::Cargo)).await, ["thing-a"]);
    assert_eq!(narrowed(&|q| q.owner = Some(Owner::User(user))).await, ["thing-a"]);
    assert_eq!(narrowed(&|q| q.owner = Some(Owner::Org(org))).await, ["thing-b"]);
    assert!(narrowed(&|q| q.owner = Some(Owner::User(UserId(org.0)))).await.is_empty());
    assert_eq!(narrowed(&|q| q.repository = Some(repository)).await, ["thing-b"]);
    assert_eq!(narrowed(&|q| q.scope = Some("ACME".into())).await, ["thing-b"]);
    assert_eq!(narrowed(&|q| q.license = Some("mit".into())).await, ["thing-a"]);
    assert_eq!(narrowed(&|q| q.license = Some("MIT OR Apache-2.0".into())).await, ["thing-a"]);
    assert!(narrowed(&|q| q.license = Some("GPL".into())).await.is_empty());
    assert_eq!(narrowed(&|q| q.keyword = Some("command line".into())).await, ["thing-a"]);
    assert_eq!(narrowed(&|q| q.keyword = Some("command".into())).await, ["thing-c"]);
    assert_eq!(narrowed(&|q| q.deprecated = Some(true)).await, ["thing-b"]);
    assert_eq!(narrowed(&|q| q.deprecated = Some(false)).await, ["thing-a", "thing-c"]);
    assert_eq!(narrowed(&|q| q.live_only = true).await, ["thing-a", "thing-b"]);
    assert!(narrowed(&|q| q.keyword = Some("\" OR audience = \"x".into())).await.is_empty());
}

pub async fn sorts_order(index: Index) {
    let at = |hours: i64| Timestamp::from_micros(1_700_000_000_000_000 + hours * 3_600_000_000);
    let all = [
        PackageDocument { downloads: 10, updated_at: at(3), ..package("thing-b") },
        PackageDocument { downloads: 30, updated_at: at(1), ..package("thing-c") },
        PackageDocument { downloads: 20, updated_at: at(2), ..package("thing-a") },
    ];
    write(&*index, &all).await;
    for (sort, expected) in [
        (Sort::Updated, ["thing-b", "thing-a", "thing-c"]),
        (Sort::Downloads, ["thing-c", "thing-a", "thing-b"]),
        (Sort::Name, ["thing-a", "thing-b", "thing-c"]),
    ] {
        for question in ["thing", ""] {
            let query = SearchQuery { sort, ..text(question) };
            assert_eq!(names(&*index, &query, &all).await, expected, "{sort:?} {question:?}");
        }
    }
    assert_eq!(names(&*index, &text(""), &all).await, ["thing-b", "thing-a", "thing-c"], "blank: newest first");
    let hits = ask(&*index, &text("thing")).await.hits;
    assert!(hits.iter().all(|h| h.score > 0.0 && h.score <= 1.0 && h.revision == 1), "{hits:?}");
}

pub async fn pages_do_not_overlap(index: Index) {
    let all: Vec<_> = (0..25).map(|i| package(&format!("page-{i:02}"))).collect();
    write(&*index, &all).await;
    let mut seen = Vec::new();
    for offset in [0, 10, 20, 30] {
        let query = SearchQuery { sort: Sort::Name, offset, limit: 10, ..text("page") };
        let page = ask(&*index, &query).await;
        assert_eq!(page.total, Total::Exactly(25));
        seen.extend(page.hits.iter().map(|h| h.id));
    }
    assert_eq!(seen, all.iter().map(|p| p.id).collect::<Vec<_>>());
    let none = SearchQuery { limit: 0, ..text("page") };
    assert_eq!(ask(&*index, &none).await.total, Total::Exactly(25));
    let beyond = SearchQuery { offset: 1_000_000, ..text("page") };
    assert!(ask(&*index, &beyond).await.hits.is_empty());
}

pub async fn totals_are_exact_up_to_a_thousand(index: Index) {
    let all: Vec<_> = (0..1_001).map(|i| package(&format!("many-{i}"))).collect();
    write(&*index, &all[..1_000]).await;
    assert_eq!(ask(&*index, &text("many")).await.total, Total::Exactly(1_000));
    write(&*index, &all[1_000..]).await;
    assert_eq!(ask(&*index, &text("many")).await.total, Total::AtLeast(1_000));
}

pub async fn an_older_revision_never_overwrites(index: Index) {
    let newer = PackageDocument { revision: 7, description: Some("blue".into()), ..package("thing") };
    let older = PackageDocument { revision: 6, description: Some("red".into()), ..newer.clone() };
    let again = PackageDocument { description: Some("green".into()), ..newer.clone() };
    write(&*index, std::slice::from_ref(&newer)).await;
    let applied = index.apply(vec![upsert(&older), upsert(&package("other"))]).await.unwrap();
    assert_eq!(applied.superseded, [newer.id]);
    assert_eq!(ask(&*index, &text("blue")).await.hits.first().map(|h| h.revision), Some(7));
    assert!(ask(&*index, &text("red")).await.hits.is_empty());
    // The same revision read again may carry newer counters, so it replaces.
    assert!(index.apply(vec![upsert(&again)]).await.unwrap().superseded.is_empty());
    assert_eq!(ask(&*index, &text("green")).await.total, Total::Exactly(1));
}

pub async fn a_batch_is_played_in_order(index: Index) {
    let base = package("thing");
    let at = |revision, word: &str| PackageDocument { revision, description: Some(word.into()), ..base.clone() };
    let batch = vec![
        upsert(&at(2, "two")),
        upsert(&at(1, "one")),
        upsert(&at(3, "three")),
        IndexOp::Remove(base.id),
        upsert(&at(1, "reborn")),
    ];
    let applied = index.apply(batch).await.unwrap();
    assert_eq!(applied.superseded, [base.id]);
    assert_eq!(ask(&*index, &text("thing")).await.total, Total::Exactly(1));
    assert_eq!(ask(&*index, &text("reborn")).await.total, Total::Exactly(1));
    index.apply(vec![upsert(&at(9, "nine")), IndexOp::Remove(base.id)]).await.unwrap();
    assert_eq!(ask(&*index, &text("thing")).await.total, Total::Exactly(0));
}

pub async fn the_same_batch_twice_is_the_same_as_once(index: Index) {
    let all = [package("twice-a"), package("twice-b")];
    for _ in 0..2 {
        write(&*index, &all).await;
    }
    assert_eq!(ask(&*index, &text("twice")).await.total, Total::Exactly(2));
    assert!(index.apply(Vec::new()).await.unwrap().superseded.is_empty());
}

pub async fn removed_packages_are_gone(index: Index) {
    let all = [package("gone"), package("staying")];
    write(&*index, &all).await;
    index.apply(vec![IndexOp::Remove(all[0].id), IndexOp::Remove(PackageId::new())]).await.unwrap();
    assert_eq!(names(&*index, &text(""), &all).await, ["staying"]);
}

pub async fn concurrent_writers_all_see_their_change(index: Index) {
    let writers = (0..24).map(|i| {
        let index = index.clone();
        tokio::spawn(async move {
            let own = package(&format!("writer{i}"));
            write(&*index, std::slice::from_ref(&own)).await;
            let found = ask(&*index, &text(&format!("writer{i}"))).await;
            assert!(found.hits.iter().any(|h| h.id == own.id), "writer{i} does not see its own change");
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(ask(&*index, &text("")).await.total, Total::Exactly(24));
    let status = index.status();
    assert!((1..=24).contains(&status.commits_total) && status.failed_commits_total == 0, "{status:?}");
}

pub async fn sweep_forgets_what_was_not_read_again(index: Index) {
    let at = |name: &str, micros| PackageDocument { read_at: Timestamp::from_micros(micros), ..package(name) };
    let all = [at("orphan", 99), at("fresh", 100), at("fresher", 101)];
    write(&*index, &all).await;
    index.sweep(Timestamp::from_micros(100)).await.unwrap();
    let query = SearchQuery { sort: Sort::Name, ..text("") };
    assert_eq!(names(&*index, &query, &all).await, ["fresh", "fresher"]);
}

pub async fn a_rebuild_is_needed_until_it_is_complete(index: Index) {
    assert!(index.needs_rebuild().await.unwrap());
    write(&*index, &[package("thing")]).await;
    assert!(index.needs_rebuild().await.unwrap(), "single changes do not fill an index");
    index.note_rebuild(RebuildState::Complete).await.unwrap();
    assert!(!index.needs_rebuild().await.unwrap());
    let under_way = RebuildState::Running(RebuildCursor {
        started_at: Timestamp::from_micros(42),
        after: Some(PackageId::new()),
        done: 7,
    });
    index.note_rebuild(under_way).await.unwrap();
    assert_eq!(index.rebuild_state().await.unwrap(), under_way);
    assert!(index.needs_rebuild().await.unwrap(), "an interrupted one has to go on");
    index.clear().await.unwrap();
    assert!(index.needs_rebuild().await.unwrap());
    assert_eq!(ask(&*index, &text("")).await.total, Total::Exactly(0));
}

pub async fn no_text_breaks_a_query(index: Index) {
    write(&*index, &[package("thing")]).await;
    for strange in [
        "\"",
        "'",
        "\\",
        "*",
        "AND",
        "OR NOT",
        "a:b",
        "(((",
        "]",
        "~",
        "^2",
        "+thing -thing",
        "\u{0}",
        "🦀🦀🦀",
        "İstanbul",
        "thing\"x",
        "𝕏𝕐",
        "ﬀ",
        "-thing",
        "{\"q\":1}",
    ] {
        let query = SearchQuery {
            keyword: Some(strange.into()),
            license: Some(strange.into()),
            scope: Some(strange.into()),
            ..text(strange)
        };
        assert!(index.query(&query, &Audience::public()).await.is_ok(), "{strange:?} as filter");
        assert!(index.query(&text(strange), &Audience::public()).await.is_ok(), "{strange:?} as text");
    }
}

pub async fn probe_answers(index: Index) {
    index.probe().await.unwrap();
}
