//! Files with a quarantine of their own, step by step and on every engine of this run.

use std::{collections::HashSet, time::Duration};

use publaryn_core::{
    ArtifactId, ArtifactKind, ArtifactState, CompanionRole, Digest, Digests, Ecosystem, PackageId, PackageName,
    Principal, RegistryError, ReleaseState, RepositoryId, RepositoryKind, Scope, ScopeSet, Timestamp, UserId, Version,
    Visibility,
    finding::{Category, Finding, FindingKind, Severity},
    principal::{Credential, UserIdentity, Who},
    publish::{AppendCommand, NewArtifact, PackageFacts, PublishCommand, PublishOutcome, ReleaseDocument, StaysOpen},
};
use publaryn_metadata::{
    Db,
    documents::PackageDocument,
    repositories::RepositoryRow,
    testing::{self, TestDb},
    users::NewUser,
};
use publaryn_publish::{
    Appended, NameSimilarity, Outcomes, PublishSettings, StagedCompanion, StagedFile, Subject, Verdict, append, commit,
    settle_file,
};
use serde_json::json;

struct World {
    test: TestDb,
    settings: PublishSettings,
    who: Principal,
}

async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for test in testing::each().await {
        let who = seed(&test.db).await;
        let settings = PublishSettings {
            personal_repository_visibility: Visibility::Public,
            reserved_names: HashSet::new(),
            releases_per_package: 100,
            artifacts_per_release: 5,
            name_similarity: NameSimilarity::Enforce,
            require_claim: HashSet::new(),
        };
        worlds.push(World { test, settings, who });
    }
    worlds
}

async fn seed(db: &Db) -> Principal {
    let (user, now) = (UserId::new(), Timestamp::now());
    let mut tx = db.begin().await.unwrap();
    tx.lock_user_creation().await.unwrap();
    let new = NewUser {
        id: user,
        username: "ada",
        username_key: "ada",
        email: "ada@example.test",
        email_key: "ada@example.test",
        password_hash: "-",
        is_admin: false,
    };
    tx.insert_user(&new, now).await.unwrap();
    let repository = RepositoryRow {
        id: RepositoryId::new(),
        slug: "ada".into(),
        name: "ada".into(),
        description: None,
        kind: RepositoryKind::Public,
        visibility: Visibility::Public,
        owner_user_id: Some(user),
        owner_org_id: None,
        created_at: now,
        updated_at: now,
    };
    assert!(tx.insert_repository(&repository).await.unwrap());
    tx.commit().await.unwrap();
    let identity = UserIdentity { id: user, username: "ada".into(), is_admin: false, has_mfa: false };
    Principal {
        who: Who::User(identity),
        scopes: [Scope::PackagesPublish].into_iter().collect::<ScopeSet>(),
        credential: Credential::None,
        binding: None,
        as_of: now,
    }
}

fn file(name: &str, content: u8) -> StagedFile {
    let sha256 = Digest::from_bytes([content; 32]);
    let digests = Digests { sha256, sha512: "0".repeat(128), sha1: None, md5: None };
    StagedFile {
        artifact: NewArtifact {
            kind: if name.ends_with(".whl") { ArtifactKind::Wheel } else { ArtifactKind::Sdist },
            filename: name.to_owned(),
            content_type: "application/octet-stream".into(),
            size_bytes: 1,
            digests,
        },
        location: format!("sha256/{}-1", sha256.hex()).parse().unwrap(),
    }
}

fn command(summary: &str) -> AppendCommand {
    let facts = PackageFacts { description: Some(summary.to_owned()), ..PackageFacts::default() };
    AppendCommand {
        ecosystem: Ecosystem::Pypi,
        name: PackageName::accepted("demo", "demo", "demo"),
        version: Version::accepted("1.0", "1", vec![1], false),
        repository: None,
        metadata: json!({ "of": summary }),
        release: Some(ReleaseDocument { metadata: json!({ "says": summary }), facts }),
        creates_release: true,
        required_files: Vec::new(),
        is_only_of_its_kind: false,
        open: None,
        lookup_keys: Vec::new(),
    }
}

impl World {
    fn db(&self) -> &Db {
        &self.test.db
    }

    async fn append(&self, command: &AppendCommand, file: &StagedFile) -> Result<Appended, RegistryError> {
        append(self.db(), &self.settings, &self.who, ArtifactId::new(), command, file, &[], None).await
    }

    /// Ends the scan of a file: clean, or with a finding that blocks.
    async fn scan(&self, file: &Appended, is_clean: bool) -> Verdict {
        let now = Timestamp::now();
        let mut tx = self.db().begin().await.unwrap();
        let head = tx.lock_package_by_id(file.package).await.unwrap().unwrap();
        if !is_clean {
            let finding = Finding {
                rule_id: "TEST".into(),
                kind: FindingKind::Malware,
                category: Category::MalwareSignature,
                severity: Severity::Critical,
                title: "bad".into(),
                description: None,
                location: String::new(),
            };
            let subject = Some((file.artifact, Digest::from_bytes([0; 32])));
            tx.upsert_finding(file.release, subject, &finding, now).await.unwrap();
        }
        tx.mark_artifact_scanned(file.artifact, "rules").await.unwrap();
        let verdict = settle_file(&mut tx, &head, file.artifact, now).await.unwrap();
        tx.commit().await.unwrap();
        verdict
    }

    async fn document(&self, package: PackageId) -> PackageDocument {
        self.db().package_document(package).await.unwrap().unwrap()
    }

    /// Files that readers see.
    async fn shown(&self, package: PackageId) -> Vec<String> {
        let document = self.document(package).await;
        document.releases.iter().flat_map(|r| r.artifacts.iter().map(|a| a.filename.clone())).collect()
    }

    async fn status(&self, file: &Appended) -> ReleaseState {
        self.db().release_progress(file.release).await.unwrap().unwrap().status
    }

    async fn state(&self, file: &Appended) -> ArtifactState {
        self.db().file_progress(file.artifact).await.unwrap().unwrap().state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_cleared_file_exposes_the_release_and_speaks_for_it() {
    for world in worlds().await {
        let first = world.append(&command("first"), &file("a.whl", 1)).await.unwrap();
        let second = world.append(&command("second"), &file("b.whl", 2)).await.unwrap();
        assert_eq!((first.release, first.is_repeat), (second.release, false));
        assert_eq!(world.shown(first.package).await, [""; 0]);
        assert_eq!(world.scan(&first, false).await, Verdict::Blocked);
        assert_eq!(world.status(&first).await, ReleaseState::Scanning, "the other file is still on its way");
        assert_eq!(world.scan(&second, true).await, Verdict::Live);
        assert_eq!(world.status(&first).await, ReleaseState::Published);
        let document = world.document(first.package).await;
        assert_eq!(document.package.description.as_deref(), Some("second"), "a blocked file spoke for the package");
        assert_eq!(document.releases[0].row.metadata, json!({ "says": "second" }).to_string());
        assert_eq!(world.shown(first.package).await, ["b.whl"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_added_to_a_live_release_is_hidden_alone() {
    for world in worlds().await {
        let first = world.append(&command("first"), &file("a.whl", 1)).await.unwrap();
        world.scan(&first, true).await;
        let before = world.document(first.package).await.package.revision;
        let later = world.append(&command("later"), &file("b.whl", 2)).await.unwrap();
        let package = first.package;
        assert_eq!(world.shown(package).await, ["a.whl"]);
        assert_eq!(world.document(package).await.package.revision, before, "readers noticed a hidden file");
        assert!(world.db().live_artifact(package, "b.whl").await.unwrap().is_none());
        assert!(world.db().live_artifact_by_id(package, later.artifact).await.unwrap().is_none());
        assert_eq!(world.status(&first).await, ReleaseState::Published);
        assert_eq!(world.scan(&later, true).await, Verdict::Live);
        assert_eq!(world.shown(package).await, ["a.whl", "b.whl"]);
        let document = world.document(package).await;
        assert!(document.package.revision > before);
        assert_eq!(document.package.description.as_deref(), Some("first"));
        assert_eq!(world.scan(&later, true).await, Verdict::Unchanged);

        let bad = world.append(&command("bad"), &file("c.whl", 3)).await.unwrap();
        assert_eq!(world.scan(&bad, false).await, Verdict::Blocked);
        assert_eq!(world.shown(package).await, ["a.whl", "b.whl"]);
        assert_eq!((world.status(&bad).await, world.state(&bad).await), (ReleaseState::Published, ArtifactState::Held));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_used_once() {
    for world in worlds().await {
        let first = world.append(&command("x"), &file("a.whl", 1)).await.unwrap();
        let again = world.append(&command("x"), &file("a.whl", 1)).await.unwrap();
        assert_eq!((again.artifact, again.is_repeat), (first.artifact, true));
        let other = world.append(&command("x"), &file("a.whl", 9)).await.unwrap_err();
        assert!(matches!(other, RegistryError::FileExists { .. }), "{other:?}");
        world.scan(&first, false).await;
        assert_eq!(world.status(&first).await, ReleaseState::Quarantine);
        for content in [1, 9] {
            let spent = world.append(&command("x"), &file("a.whl", content)).await.unwrap_err();
            assert!(matches!(spent, RegistryError::Conflict { code: "filename_spent", .. }), "{spent:?}");
        }
        // Another file gives the release another chance.
        let better = world.append(&command("y"), &file("b.whl", 2)).await.unwrap();
        assert_eq!(world.status(&first).await, ReleaseState::Scanning);
        world.scan(&better, true).await;
        assert_eq!(world.shown(first.package).await, ["b.whl"]);

        let sole = AppendCommand { is_only_of_its_kind: true, ..command("x") };
        world.append(&sole, &file("a.tar.gz", 3)).await.unwrap();
        let second = world.append(&sole, &file("b.tar.gz", 4)).await.unwrap_err();
        assert!(matches!(second, RegistryError::Conflict { code: "kind_taken", .. }), "{second:?}");
        for n in 5..7 {
            world.append(&command("x"), &file(&format!("{n}.whl"), n)).await.unwrap();
        }
        let full = world.append(&command("x"), &file("z.whl", 8)).await.unwrap_err();
        assert!(matches!(full, RegistryError::Conflict { code: "too_many_files", .. }), "{full:?}");

        let tag = AppendCommand { version: Version::accepted("2", "2", vec![2], false), ..command("x") };
        let missing = AppendCommand { creates_release: false, ..tag };
        let error = world.append(&missing, &file("2.whl", 20)).await.unwrap_err();
        assert!(matches!(error, RegistryError::VersionNotFound(_)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_waits_for_the_files_it_requires() {
    for world in worlds().await {
        let needs = |files: &[&str]| AppendCommand {
            required_files: files.iter().map(|f| (*f).to_owned()).collect(),
            ..command("x")
        };
        let jar = world.append(&needs(&["a.whl", "a.tar.gz"]), &file("a.whl", 1)).await.unwrap();
        world.scan(&jar, true).await;
        assert_eq!(world.status(&jar).await, ReleaseState::Scanning);
        assert_eq!(world.shown(jar.package).await, [""; 0]);
        let outcomes = Outcomes::new(world.db().clone());
        let outcome = outcomes.look(Subject::File(jar.artifact), jar.release).await.unwrap();
        assert!(matches!(outcome, Some(PublishOutcome::Pending { .. })), "{outcome:?}");
        let pom = world.append(&needs(&[]), &file("a.tar.gz", 2)).await.unwrap();
        world.scan(&pom, true).await;
        assert_eq!(world.status(&jar).await, ReleaseState::Published);
        assert_eq!(world.shown(jar.package).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_join_releases_that_are_judged_as_a_whole_without_exposing_them() {
    for world in worlds().await {
        let whole = PublishCommand {
            ecosystem: Ecosystem::Pypi,
            name: PackageName::accepted("demo", "demo", "demo"),
            version: Version::accepted("1.0", "1", vec![1], false),
            artifacts: Vec::new(),
            metadata: json!({}),
            facts: PackageFacts::default(),
            tags: Vec::new(),
            access_hint: None,
        };
        let release = publaryn_core::ReleaseId::new();
        let files = [file("main.tar.gz", 1)];
        commit(world.db(), &world.settings, &world.who, release, &whole, &files, None).await.unwrap();
        let symbols = AppendCommand { creates_release: false, ..command("x") };
        let joined = world.append(&symbols, &file("symbols.whl", 2)).await.unwrap();
        assert_eq!(joined.release, release);
        assert_eq!(world.scan(&joined, true).await, Verdict::Live);
        assert_eq!(world.status(&joined).await, ReleaseState::Scanning, "the release itself was not scanned yet");
        assert_eq!(world.shown(joined.package).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn companions_are_served_with_their_file_only() {
    for world in worlds().await {
        let manifest = StagedCompanion {
            role: CompanionRole::Manifest,
            content_type: "text/plain".into(),
            sha256: Digest::from_bytes([7; 32]),
            size_bytes: 3,
            location: format!("sha256/{}-1", "07".repeat(32)).parse().unwrap(),
        };
        let id = ArtifactId::new();
        let file = file("a.whl", 1);
        let added =
            append(world.db(), &world.settings, &world.who, id, &command("x"), &file, &[manifest], None).await.unwrap();
        let find = || world.db().live_companion(added.package, id, CompanionRole::Manifest);
        assert!(find().await.unwrap().is_none());
        world.scan(&added, true).await;
        let found = find().await.unwrap().unwrap();
        assert_eq!((found.sha256, found.size_bytes), (Digest::from_bytes([7; 32]), 3));
        let other = world.db().live_companion(added.package, id, CompanionRole::Attestations).await.unwrap();
        assert!(other.is_none());
    }
}

/// A file of a version of which nobody says how many files it has.
fn open_command(idle: Duration, late: Option<Duration>) -> AppendCommand {
    let (ecosystem, open) = (Ecosystem::Maven, Some(StaysOpen { idle, late }));
    AppendCommand { ecosystem, open, release: None, ..command("x") }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_maven_version_stands_and_falls_with_each_of_its_files() {
    for world in worlds().await {
        let jar = world.append(&open_command(HOUR, None), &file("a.jar", 1)).await.unwrap();
        assert_eq!(world.scan(&jar, true).await, Verdict::Live);
        assert_eq!(world.document(jar.package).await.releases[0].row.metadata, "{}");
        // The POM speaks for a version that is live already; later documents change nothing.
        for (name, content, says) in [("a.pom", 2, "first"), ("b.pom", 3, "second")] {
            let speaking = AppendCommand { release: command(says).release, ..open_command(HOUR, None) };
            let pom = world.append(&speaking, &file(name, content)).await.unwrap();
            world.scan(&pom, true).await;
            let document = world.document(jar.package).await;
            assert_eq!(document.releases[0].row.metadata, json!({ "says": "first" }).to_string());
            assert_eq!(document.package.description.as_deref(), Some("first"));
        }
        let before = world.document(jar.package).await.package.revision;
        let bad = world.append(&open_command(HOUR, None), &file("bad.jar", 4)).await.unwrap();
        assert_eq!(world.shown(jar.package).await.len(), 3);
        assert_eq!(world.scan(&bad, false).await, Verdict::Blocked);
        assert_eq!(world.status(&jar).await, ReleaseState::Quarantine);
        assert_eq!(world.shown(jar.package).await, [""; 0]);
        assert!(world.document(jar.package).await.package.revision > before, "readers did not notice");
        let next = world.append(&open_command(HOUR, None), &file("c.jar", 5)).await.unwrap_err();
        assert!(matches!(next, RegistryError::Conflict { code: "release_blocked", .. }), "{next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_version_takes_only_what_accompanies_it_and_once() {
    for world in worlds().await {
        let main = world.append(&open_command(Duration::ZERO, None), &file("a.jar", 1)).await.unwrap();
        for content in [1, 9] {
            let again = world.append(&open_command(HOUR, Some(HOUR)), &file("a.jar", content)).await.unwrap_err();
            assert!(matches!(again, RegistryError::VersionExists(_)), "{again:?}");
        }
        let late = world.append(&open_command(HOUR, None), &file("b.jar", 2)).await.unwrap_err();
        assert!(matches!(late, RegistryError::VersionExists(_)), "{late:?}");
        let signature = world.append(&open_command(HOUR, Some(HOUR)), &file("a.jar.asc", 3)).await.unwrap();
        assert_eq!(signature.release, main.release);
        let overdue = world.db().overdue_releases(Timestamp::now(), 10).await.unwrap();
        assert_eq!(overdue.iter().map(|release| release.id).collect::<Vec<_>>(), [main.release], "it was opened again");
        let respelt = AppendCommand {
            version: Version::accepted("1.0-x", "1", vec![1], false),
            ..open_command(HOUR, Some(HOUR))
        };
        let error = world.append(&respelt, &file("c.asc", 4)).await.unwrap_err();
        assert!(matches!(error, RegistryError::VersionExists(_)), "{error:?}");
    }
}
