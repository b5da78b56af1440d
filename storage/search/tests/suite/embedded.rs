//! The embedded index: relevance, typos, and what happens to its files.

use std::{fs, path::Path, sync::Arc};

use publaryn_core::Timestamp;
use publaryn_search::{EmbeddedIndex, PackageDocument, RebuildState, SearchError, SearchIndex, Total};
use tempfile::TempDir;

use crate::sample::{Served, ask, described, names, package, text, upsert, write};

pub struct Fixture {
    served: Served<EmbeddedIndex>,
    _dir: TempDir,
}

impl Fixture {
    pub fn index(&self) -> Arc<dyn SearchIndex> {
        self.served.shared()
    }
}

async fn fixture() -> Fixture {
    let dir = TempDir::new().unwrap();
    Fixture { served: open(dir.path()).await, _dir: dir }
}

async fn open(dir: &Path) -> Served<EmbeddedIndex> {
    Served::new(EmbeddedIndex::open(dir.to_owned()).await.unwrap())
}

crate::contract::contract_tests!(fixture);

#[tokio::test]
async fn tiers_come_before_downloads() {
    let fixture = fixture().await;
    let popular = |p: PackageDocument| PackageDocument { downloads: 1_000_000_000, ..p };
    let all = [
        popular(described("dddd", "something like react")),
        popular(PackageDocument { keywords: vec!["react".into()], ..package("cccc") }),
        popular(package("use-react")),
        popular(package("@scope/reactive")),
        popular(package("reactive")),
        popular(package("@scope/react")),
        package("react"),
        popular(described("eeee", "something like reach")),
    ];
    write(&*fixture.index(), &all).await;
    assert_eq!(
        names(&*fixture.index(), &text("react"), &all).await,
        ["react", "@scope/react", "reactive", "@scope/reactive", "use-react", "cccc", "dddd", "eeee"]
    );
}

#[tokio::test]
async fn downloads_then_freshness_then_standing_order_equals() {
    let fixture = fixture().await;
    let fresh = Timestamp::now();
    let all = [
        PackageDocument { is_deprecated: true, downloads: 1_000_000, updated_at: fresh, ..package("lib-a") },
        PackageDocument { is_archived: true, downloads: 1_000, updated_at: fresh, ..package("lib-b") },
        package("lib-c"),
        PackageDocument { updated_at: fresh, ..package("lib-d") },
        PackageDocument { downloads: 500, ..package("lib-e") },
    ];
    write(&*fixture.index(), &all).await;
    let found = names(&*fixture.index(), &text("lib"), &all).await;
    assert_eq!(found, ["lib-e", "lib-d", "lib-c", "lib-a", "lib-b"]);
}

#[tokio::test]
async fn one_typo_is_forgiven_from_five_letters_on() {
    let fixture = fixture().await;
    let all = [package("lodash"), package("http"), described("alpha", "a wonderful serializer")];
    write(&*fixture.index(), &all).await;
    for (typed, name) in [
        ("lodahs", "lodash"),
        ("lodsh", "lodash"),
        ("loddash", "lodash"),
        ("lodazh", "lodash"),
        ("serialiser", "alpha"),
    ] {
        assert_eq!(names(&*fixture.index(), &text(typed), &all).await, [name], "{typed}");
    }
    for missed in ["ldoahs", "htpt", "htp"] {
        assert!(names(&*fixture.index(), &text(missed), &all).await.is_empty(), "{missed}");
    }
}

#[tokio::test]
async fn words_typed_apart_find_a_name_written_together() {
    let fixture = fixture().await;
    let all = [package("foobar"), package("foo")];
    write(&*fixture.index(), &all).await;
    assert_eq!(names(&*fixture.index(), &text("foo bar"), &all).await, ["foobar"]);
}

#[tokio::test]
async fn the_index_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let all = [package("lasting")];
    {
        let index = open(dir.path()).await;
        write(&*index, &all).await;
        index.note_rebuild(RebuildState::Complete).await.unwrap();
    }
    let index = reopen(dir.path()).await;
    assert_eq!(names(&*index, &text("lasting"), &all).await, ["lasting"]);
    assert!(!index.needs_rebuild().await.unwrap());
    write(&*index, &[package("another")]).await;
    assert_eq!(ask(&*index, &text("")).await.total, Total::Exactly(2));
}

/// Opens and proves that the earlier owner has let go: tantivy refuses a second writer.
async fn reopen(dir: &Path) -> Served<EmbeddedIndex> {
    let index = open(dir).await;
    for _ in 0..500 {
        match index
            .apply(vec![upsert(&PackageDocument { id: publaryn_core::PackageId(uuid::Uuid::nil()), ..package("x") })])
            .await
        {
            Ok(_) => break,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    index.apply(vec![publaryn_search::IndexOp::Remove(publaryn_core::PackageId(uuid::Uuid::nil()))]).await.unwrap();
    index
}

#[tokio::test]
async fn unusable_files_are_replaced_and_reported() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("state removed", |dir| fs::remove_file(dir.join("state.json")).unwrap()),
        ("state garbled", |dir| fs::write(dir.join("state.json"), b"{").unwrap()),
        ("other version", |dir| {
            fs::write(dir.join("state.json"), br#"{"schema":0,"rebuild":{"state":"complete"}}"#).unwrap()
        }),
        ("index removed", |dir| fs::remove_dir_all(dir.join("index")).unwrap()),
        ("meta garbled", |dir| fs::write(dir.join("index/meta.json"), b"not json").unwrap()),
        ("segment damaged", |dir| {
            let segment = largest(&dir.join("index"));
            let mut bytes = fs::read(&segment).unwrap();
            bytes[0] ^= 0xff;
            fs::write(&segment, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("precious.txt"), b"not ours").unwrap();
        {
            let index = open(dir.path()).await;
            write(&*index, &[package("thing")]).await;
            index.note_rebuild(RebuildState::Complete).await.unwrap();
            index.stop();
        }
        damage(dir.path());
        let index = open(dir.path()).await;
        assert!(index.needs_rebuild().await.unwrap(), "{what}");
        assert_eq!(ask(&*index, &text("")).await.total, Total::Exactly(0), "{what}");
        assert!(dir.path().join("precious.txt").exists(), "{what}: foreign files are not ours to delete");
    }
}

fn largest(dir: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.filter(|p| p.extension().is_some_and(|e| e == "term")).max_by_key(|p| p.metadata().unwrap().len()).unwrap()
}

#[tokio::test]
async fn an_index_lost_while_running_is_replaced() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path()).await;
    write(&*index, &[package("before")]).await;
    index.note_rebuild(RebuildState::Complete).await.unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(matches!(index.apply(vec![upsert(&package("during"))]).await, Err(SearchError::Unavailable(_))));
    assert!(index.needs_rebuild().await.unwrap());
    assert_eq!(index.status().failed_commits_total, 1);
    write(&*index, &[package("after")]).await;
    assert_eq!(ask(&*index, &text("")).await.total, Total::Exactly(1));
    assert_eq!(index.status().last_error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_writer_that_is_being_restarted() {
    let dir = TempDir::new().unwrap();
    let mut index = open(dir.path()).await;
    write(&*index, &[package("first")]).await;
    index.stop();
    let waiting = {
        let index = index.shared();
        tokio::spawn(async move { index.apply(vec![upsert(&package("second"))]).await })
    };
    while index.status().queue_depth == 0 && !waiting.is_finished() {
        tokio::task::yield_now().await;
    }
    index.restart();
    // The write may have been in the hands of the stopped server: then it fails and is repeated.
    if waiting.await.unwrap().is_err() {
        write(&*index, &[package("second")]).await;
    }
    assert_eq!(ask(&*index, &text("second")).await.total, Total::Exactly(1));
}

#[tokio::test]
async fn a_second_process_cannot_write() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path()).await;
    write(&*first, &[package("first")]).await;
    let second = open(dir.path()).await;
    assert!(matches!(second.apply(vec![upsert(&package("second"))]).await, Err(SearchError::Unavailable(_))));
    write(&*first, &[package("third")]).await;
    assert_eq!(ask(&*first, &text("")).await.total, Total::Exactly(2), "the first one is not disturbed");
}

#[tokio::test]
async fn an_unusable_directory_is_an_error() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(EmbeddedIndex::open(file).await, Err(SearchError::Unavailable(_))));
}
