//! What the reconciler owes to releases nobody waits for any more (jobs.md §8), on every engine of this run.

use std::{sync::Arc, time::Duration};

use publaryn_core::{
    ArtifactId, ReleaseId, ReleaseState, Timestamp,
    finding::{Category, Finding, FindingKind, Severity},
    job::{JobKind, JobState},
};
use publaryn_jobs::{Handler, testing::run_to_end};
use publaryn_metadata::{
    Db,
    jobs::NewJob,
    testing::{self, SamplePackage, TestDb, artifact_of},
};
use publaryn_publish::{FinalizeRelease, ReconcileReleases, Verdict, finalize};
use serde_json::json;

const TTL: Duration = Duration::from_secs(24 * 3600);

struct World {
    test: TestDb,
    package: SamplePackage,
}

async fn each() -> Vec<World> {
    let mut all = Vec::new();
    for test in testing::each().await {
        let package = SamplePackage::create(&test.db).await;
        all.push(World { test, package });
    }
    all
}

impl World {
    fn db(&self) -> &Db {
        &self.test.db
    }

    /// A release whose last change was `age` ago.
    async fn release(&self, status: ReleaseState, age: Duration) -> (ReleaseId, ArtifactId) {
        let content = uuid();
        let location = format!("blobs/{content}");
        let added = self.package.add_release(self.db(), status, &artifact_of(content.as_bytes()), &location).await;
        let (release, artifact) = added.unwrap();
        let micros = age.as_micros();
        for (table, column) in [("releases", "updated_at"), ("artifacts", "uploaded_at")] {
            let newest = format!("(SELECT MAX({column}) FROM {table})");
            let age_it = format!("UPDATE {table} SET {column} = {column} - {micros} WHERE {column} = {newest}");
            self.db().execute_raw(&age_it).await.unwrap();
        }
        (release, artifact)
    }

    /// The scan job of an artifact, as its publish enqueues it.
    async fn scan_job(&self, artifact: ArtifactId) -> publaryn_core::JobId {
        let job = NewJob::new(JobKind::ScanArtifact, &json!({ "artifact_id": artifact })).unique(artifact.to_string());
        let mut tx = self.db().begin().await.unwrap();
        let id = tx.enqueue(&job).await.unwrap().id;
        tx.commit().await.unwrap();
        id
    }

    async fn reconcile(&self) {
        let reconciler = Arc::new(ReconcileReleases { db: self.db().clone(), upload_ttl: TTL });
        run_to_end(self.db(), vec![reconciler], NewJob::new(JobKind::ReconcileReleases, &json!({}))).await;
    }

    async fn state(&self, release: ReleaseId) -> Option<ReleaseState> {
        self.db().release_progress(release).await.unwrap().map(|release| release.status)
    }

    async fn jobs(&self, kind: JobKind, state: JobState) -> i64 {
        self.db().job_counts().await.unwrap().of(kind.as_str(), state)
    }
}

fn uuid() -> String {
    ReleaseId::new().to_string()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_scans_have_ended_is_decided() {
    for world in each().await {
        let (release, artifact) = world.release(ReleaseState::Scanning, MINUTE).await;
        world.scan_job(artifact).await;
        world.reconcile().await;
        assert_eq!(world.jobs(JobKind::FinalizeRelease, JobState::Pending).await, 0, "its scan is on its way");

        world.db().execute_raw("UPDATE releases SET scans_done = scans_total").await.unwrap();
        world.reconcile().await;
        assert_eq!(world.jobs(JobKind::FinalizeRelease, JobState::Pending).await, 1);
        let handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(FinalizeRelease { db: world.db().clone() })];
        let decide = NewJob::new(JobKind::FinalizeRelease, &json!({ "release_id": release }));
        run_to_end(world.db(), handlers, decide.unique(release.to_string())).await;
        assert_eq!(world.state(release).await, Some(ReleaseState::Published));
        assert_eq!(world.jobs(JobKind::IndexPackage, JobState::Pending).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_scan_is_dead_or_gone_returns_to_quarantine() {
    for world in each().await {
        let (dead, artifact) = world.release(ReleaseState::Scanning, MINUTE).await;
        let job = world.scan_job(artifact).await;
        let mut tx = world.db().begin().await.unwrap();
        tx.cancel_job(job).await.unwrap();
        tx.commit().await.unwrap();
        let (gone, _) = world.release(ReleaseState::Scanning, MINUTE).await;
        let (young, _) = world.release(ReleaseState::Scanning, Duration::ZERO).await;
        world.reconcile().await;
        for release in [dead, gone] {
            assert_eq!(world.state(release).await, Some(ReleaseState::Quarantine));
            let findings = world.db().findings_of(release).await.unwrap();
            let [finding] = &findings[..] else { panic!("one finding, not {findings:?}") };
            assert_eq!((finding.rule_id.as_str(), finding.kind), ("scan_failed", FindingKind::PolicyViolation));
            assert_eq!(finding.category, Category::ScannerFailure);
        }
        assert_eq!(world.state(young).await, Some(ReleaseState::Scanning), "give its publisher a moment");
        world.reconcile().await;
        assert_eq!(world.db().findings_of(dead).await.unwrap().len(), 1, "told once");
        assert_eq!(world.state(dead).await, Some(ReleaseState::Quarantine), "waits for a decision");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_given_up_by_their_client_go_and_held_releases_stay() {
    for world in each().await {
        let old = TTL + MINUTE;
        let (abandoned, _) = world.release(ReleaseState::Quarantine, old).await;
        let (young, _) = world.release(ReleaseState::Quarantine, TTL - MINUTE).await;
        let (held, artifact) = world.release(ReleaseState::Quarantine, old).await;
        let (live, _) = world.release(ReleaseState::Published, old).await;
        let finding = Finding {
            rule_id: "secret.key".into(),
            kind: FindingKind::SecretsExposed,
            category: Category::Secret,
            severity: Severity::High,
            title: "a key".into(),
            description: None,
            location: "x".into(),
        };
        let mut tx = world.db().begin().await.unwrap();
        let digest = world.db().scan_target(artifact).await.unwrap().unwrap().sha256;
        tx.upsert_finding(held, Some((artifact, digest)), &finding, Timestamp::now()).await.unwrap();
        tx.commit().await.unwrap();
        world.reconcile().await;
        assert_eq!(world.state(abandoned).await, None, "its version number is free again");
        assert_eq!(world.state(young).await, Some(ReleaseState::Quarantine));
        assert_eq!(world.state(held).await, Some(ReleaseState::Quarantine));
        assert_eq!(world.state(live).await, Some(ReleaseState::Published));
        assert_eq!(world.db().count_rows("artifacts").await.unwrap(), 3);
        assert_eq!(world.db().count_rows("audit_log").await.unwrap(), 1, "a deletion is audited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_package_behind_its_index_is_indexed() {
    for world in each().await {
        world.release(ReleaseState::Published, MINUTE).await;
        world.reconcile().await;
        assert_eq!(world.jobs(JobKind::IndexPackage, JobState::Pending).await, 0, "a publish enqueues that itself");
        let behind = format!("UPDATE packages SET updated_at = updated_at - {}", MINUTE.as_micros());
        world.db().execute_raw(&behind).await.unwrap();
        world.reconcile().await;
        assert_eq!(world.jobs(JobKind::IndexPackage, JobState::Pending).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_finalisations_has_one_outcome() {
    for world in each().await {
        let (release, _) = world.release(ReleaseState::Scanning, MINUTE).await;
        world.db().execute_raw("UPDATE releases SET scans_done = scans_total").await.unwrap();
        let (db, package) = (world.db().clone(), world.package.id);
        let racing = (0..8).map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.lock_package_by_id(package).await.unwrap();
                let progress = tx.lock_release(release).await.unwrap().unwrap();
                let verdict = finalize(&mut tx, &progress, Timestamp::now()).await.unwrap();
                tx.commit().await.unwrap();
                verdict
            })
        });
        let mut verdicts = Vec::new();
        for racer in racing.collect::<Vec<_>>() {
            verdicts.push(racer.await.unwrap());
        }
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Live).count(), 1, "{verdicts:?}");
        assert_eq!(world.state(release).await, Some(ReleaseState::Published));
        assert_eq!(world.db().count_rows("audit_log").await.unwrap(), 1);
    }
}
