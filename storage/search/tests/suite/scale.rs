//! Measures the embedded index at 100,000 packages; prints, asserts no times.
//!
//! `cargo test -p publaryn-search --release --test suite scale -- --ignored --nocapture`

use std::{collections::BTreeSet, time::Instant};

use publaryn_core::{Ecosystem, OrgId, Timestamp};
use publaryn_search::{Audience, AudienceTag, EmbeddedIndex, PackageDocument, SearchIndex, SearchQuery, Sort};
use tempfile::TempDir;

use crate::sample::{Served, package, text, write};

const PACKAGES: usize = 100_000;

/// Pronounceable words, so that names and descriptions have a realistic dictionary.
fn word(mut seed: usize) -> String {
    const SYLLABLES: [&str; 24] = [
        "ra", "to", "mi", "ser", "lo", "ka", "ne", "vu", "pi", "dor", "sta", "bel", "ion", "ex", "qua", "zen", "fy",
        "hu", "cro", "ta", "lin", "gor", "we", "ach",
    ];
    let mut word = String::new();
    for _ in 0..2 + seed % 2 {
        word.push_str(SYLLABLES[seed % SYLLABLES.len()]);
        seed = seed / SYLLABLES.len() + 7 * seed % 1013;
    }
    word
}

fn sample(i: usize, orgs: &[OrgId]) -> PackageDocument {
    let hash = i.wrapping_mul(0x9e37_79b9) >> 3;
    let name = format!("{}-{}{}", word(hash % 4096), word(hash / 4096 % 4096), i % 97);
    let description: Vec<String> = (0..14).map(|k| word(hash.wrapping_mul(31 * k + 7) >> 5 & 0x3fff)).collect();
    let mut package = PackageDocument {
        ecosystem: Ecosystem::ALL[i % Ecosystem::ALL.len()],
        description: Some(description.join(" ")),
        keywords: (0..4).map(|k| word(hash.wrapping_mul(k + 3) & 0x3ff)).collect(),
        downloads: (hash % 1_000_000) as u64,
        updated_at: Timestamp::from_micros(1_700_000_000_000_000 + (hash % 100_000_000) as i64 * 1_000_000),
        ..package(&name)
    };
    if i.is_multiple_of(5) {
        let org = orgs[hash % orgs.len()];
        package.audience = BTreeSet::from([
            AudienceTag::OrgPrivate(org),
            AudienceTag::Package(package.id),
            AudienceTag::Repository(package.repository),
        ]);
    }
    package
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn hundred_thousand_packages() {
    let dir = TempDir::new().unwrap();
    let index = Served::new(EmbeddedIndex::open(dir.path().to_owned()).await.unwrap());
    write(&*index, &[package("first")]).await;
    println!("one package: {}", resident());
    let orgs: Vec<OrgId> = (0..1_000).map(|_| OrgId::new()).collect();
    let start = Instant::now();
    for chunk in (0..PACKAGES).collect::<Vec<_>>().chunks(500) {
        let packages: Vec<_> = chunk.iter().map(|i| sample(*i, &orgs)).collect();
        write(&*index, &packages).await;
    }
    println!("indexed {PACKAGES} packages in {:?}; {}", start.elapsed(), resident());

    let start = Instant::now();
    for i in 0..20 {
        write(&*index, &[sample(PACKAGES + i, &orgs)]).await;
    }
    println!("single change visible after {:?} on average", start.elapsed() / 20);

    let audience = Audience::of(orgs.iter().take(50).map(|o| AudienceTag::OrgPrivate(*o)));
    let exact = sample(4242, &orgs).name;
    let questions = [
        ("exact name", exact.clone()),
        ("one letter", "r".into()),
        ("two letters", "ra".into()),
        ("a word", word(77)),
        ("a typo", format!("{}x", word(81))),
        ("two words", format!("{} {}", word(12), word(99))),
        ("five words", (0..5).map(|k| word(k * 31)).collect::<Vec<_>>().join(" ")),
        ("nothing", "unfindable-thing".into()),
        ("blank", String::new()),
    ];
    for (what, question) in &questions {
        measure(&index, what, &text(question), &audience).await;
    }
    let narrowed = SearchQuery { ecosystem: Some(Ecosystem::Npm), sort: Sort::Downloads, ..text("ra") };
    measure(&index, "two letters in npm by downloads", &narrowed, &audience).await;
    measure(&index, "blank by name", &SearchQuery { sort: Sort::Name, ..text("") }, &audience).await;

    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    println!("writer at rest: {}", resident());
    drop(index);
    let start = Instant::now();
    let reopened = EmbeddedIndex::open(dir.path().to_owned()).await.unwrap();
    println!("opened and checked in {:?}: {} documents", start.elapsed(), reopened.status().documents.unwrap());
}

async fn measure(index: &EmbeddedIndex, what: &str, query: &SearchQuery, audience: &Audience) {
    let mut times = Vec::new();
    let mut total = 0;
    for _ in 0..100 {
        let start = Instant::now();
        total = index.query(query, audience).await.unwrap().total.count();
        times.push(start.elapsed());
    }
    times.sort();
    println!("{what:32} total {total:5}  p50 {:>9.2?}  p95 {:>9.2?}  worst {:>9.2?}", times[50], times[94], times[99]);
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |key: &str| status.lines().find(|l| l.starts_with(key)).unwrap_or_default().to_owned();
    format!("{} {}", line("RssAnon"), line("VmRSS"))
}
