//! No list reads a whole table, and no page asks a question per row. SQLite plans without statistics, so its plans
//! for an empty database are those for a large one.

use std::{
    fmt,
    sync::{LazyLock, Mutex, MutexGuard},
};

use publaryn_core::{
    Digest, Ecosystem, OrgId, PackageId, Principal, ReleaseState, RepositoryId, Timestamp, UserId,
    audit::AuditAction,
    finding::Severity,
    job::{JobKind, JobState},
};
use publaryn_metadata::{
    Db,
    audit_log::{AccessFilter, AuditFilter, AuditPosition},
    documents::Releases,
    jobs::{JobFilter, Page},
    organizations::Slice,
    overview::OpenFindingsFilter,
    package_views::PackagesOf,
    reach::Reach,
    release_views::{FindingFilter, ReleaseFilter},
    repositories::RepositoryFilter,
    testing::{self, SamplePackage, artifact_of},
    tokens::TokenPage,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use uuid::Uuid;

/// The statements that sqlx reports, from whichever thread.
static STATEMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// One test at a time: they all write there.
static TURN: LazyLock<tokio::sync::Mutex<()>> = LazyLock::new(|| {
    tracing::subscriber::set_global_default(Recorder).expect("nobody else records");
    tokio::sync::Mutex::new(())
});

struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        // A short one is its own summary.
        let text = if statement.whole.trim().is_empty() { statement.summary } else { statement.whole };
        statements().push(text.trim().to_owned());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => self.summary = value.to_owned(),
            "db.statement" => self.whole = value.to_owned(),
            _ => {}
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn statements() -> MutexGuard<'static, Vec<String>> {
    STATEMENTS.lock().unwrap()
}

/// What was asked since the last call.
async fn asked() -> Vec<String> {
    // A statement is reported by the thread that ran it, after its caller got the rows.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let mut all = std::mem::take(&mut *statements());
    all.retain(|statement| statement.starts_with("SELECT") || statement.starts_with("WITH"));
    all
}

/// Tables whose rows are folded or counted in tens.
const SMALL: [&str; 3] = ["job_counts", "job_deltas", "nodes"];

/// A step that reads a table from end to end. Reading an index in its order is how a page begins; tables that SQLite
/// makes on the way hold a page.
fn is_whole_table(step: &str, plan: &[String]) -> bool {
    let Some(name) = step.strip_prefix("SCAN ") else { return false };
    let made = |kind: &str| plan.iter().any(|other| other.strip_prefix(kind).is_some_and(|other| other == name));
    !(name.contains(" USING ")
        || name.contains("VIRTUAL TABLE")
        || name == "CONSTANT ROW"
        || SMALL.contains(&name)
        || made("CO-ROUTINE ")
        || made("MATERIALIZE "))
}

async fn expect_no_whole_tables(db: &Db, what: &str) {
    let all = asked().await;
    assert!(!all.is_empty(), "{what} asked nothing");
    for statement in all {
        let plan = db.plan_of(&statement).await.unwrap();
        let bad: Vec<&String> = plan.iter().filter(|step| is_whole_table(step, &plan)).collect();
        assert!(bad.is_empty(), "{what}: {bad:?} in\n{statement}\n{}", plan.join("\n"));
    }
}

#[tokio::test]
async fn no_list_reads_a_whole_table() {
    let _turn = TURN.lock().await;
    let test = testing::sqlite().await;
    let db = &test.db;
    asked().await;
    let (user, org, package) = (UserId::new(), OrgId::new(), PackageId::new());
    let (reach, page) = (Reach::of(&Principal::anonymous()), Slice { limit: 20, offset: 40 });

    let lists = [
        PackagesOf::User(user),
        PackagesOf::Org(org),
        PackagesOf::Repository(RepositoryId::new()),
        PackagesOf::Around(org),
    ];
    for of in lists {
        db.discoverable_packages(&reach, of, Some(Ecosystem::Npm), page).await.unwrap();
        expect_no_whole_tables(db, &format!("packages of {of:?}")).await;
    }
    db.packages_details(&[package]).await.unwrap();
    db.packages_facts(&[package]).await.unwrap();
    db.package_heads_by_id(&[package]).await.unwrap();
    db.closed_heads(&Reach::default(), Ecosystem::Npm).await.unwrap();
    db.package_owners(package).await.unwrap();
    db.open_findings(&[package]).await.unwrap();
    db.counts_of_trusted_publishers(&[package]).await.unwrap();
    db.latest_releases(&[(package, "1.0.0")]).await.unwrap();
    expect_no_whole_tables(db, "a page of packages").await;

    for by_version in [false, true] {
        let filter = ReleaseFilter { status: Some(ReleaseState::Published), staged: true, deleted: true, by_version };
        db.releases(package, filter, page).await.unwrap();
        expect_no_whole_tables(db, "releases").await;
    }
    for release in [None, Some("1.0.0".to_owned())] {
        let filter = FindingFilter { severity: Some(Severity::High), release, ..FindingFilter::default() };
        db.package_findings(package, &filter, page).await.unwrap();
        expect_no_whole_tables(db, "findings").await;
    }
    db.open_findings_of_org(org, &OpenFindingsFilter::default()).await.unwrap();
    expect_no_whole_tables(db, "the security overview").await;

    let now = Some(Timestamp::now());
    let action = Some(AuditAction::ReleasePublish);
    let filters = [
        AuditFilter::default(),
        AuditFilter { action, ..AuditFilter::default() },
        AuditFilter { actor_user: Some(user), action, ..AuditFilter::default() },
        AuditFilter { target_org: Some(org), ..AuditFilter::default() },
        AuditFilter { target_org: Some(org), action, actor_user: Some(user), from: now, ..AuditFilter::default() },
        AuditFilter { target_package: Some(package), ..AuditFilter::default() },
        AuditFilter { target_user: Some(user), until: now, ..AuditFilter::default() },
        AuditFilter { target_org: Some(org), access: Some(AccessFilter::default()), ..AuditFilter::default() },
    ];
    for filter in filters {
        let behind = AuditPosition { occurred_at: Timestamp::now(), id: publaryn_core::AuditId::new() };
        db.audit_entries(&filter, None, 1_000, 51).await.unwrap();
        db.audit_entries(&filter, Some(behind), 0, 51).await.unwrap();
        db.audit_total(&filter).await.unwrap();
        expect_no_whole_tables(db, &format!("the audit log by {filter:?}")).await;
    }

    let timeout = std::time::Duration::from_secs(60);
    for state in [None, Some(JobState::Dead), Some(JobState::Running)] {
        for kind in [None, Some(JobKind::ScanArtifact)] {
            let filter = JobFilter { state, kind, ..JobFilter::default() };
            db.jobs(&filter, &Page { number: 7, per_page: 50, cursor: None }, timeout).await.unwrap();
        }
    }
    let filter = JobFilter { targets: vec![Uuid::now_v7()], ..JobFilter::default() };
    db.jobs(&filter, &Page { number: 1, per_page: 50, cursor: None }, timeout).await.unwrap();
    db.job_targets(Uuid::now_v7()).await.unwrap();
    db.job_summary(timeout).await.unwrap();
    db.oldest_pending_seconds().await.unwrap();
    for statement in asked().await.iter().filter(|statement| statement.contains("FROM jobs")) {
        let plan = db.plan_of(statement).await.unwrap();
        assert!(!plan.iter().any(|step| is_whole_table(step, &plan)), "{statement}\n{}", plan.join("\n"));
        // In the order of their schedule only where all of them are asked for.
        let walks = plan.iter().any(|step| step.ends_with("jobs USING INDEX jobs_by_schedule"));
        assert!(!walks, "{statement}\n{}", plan.join("\n"));
    }
    asked().await;
    db.organizations_of(user, &Reach::default(), page).await.unwrap();
    db.members(org, None, None, page).await.unwrap();
    db.invitations_of_org(org, true, Timestamp::now(), page).await.unwrap();
    // Without an owner all repositories are counted, which takes a look at each; so are claims, of which there are few.
    for owner in [
        RepositoryFilter { owner_org: Some(org), ..RepositoryFilter::default() },
        RepositoryFilter { owner_user: Some(user), ..RepositoryFilter::default() },
    ] {
        db.discoverable_repositories(&reach, &owner, page).await.unwrap();
    }
    db.trusted_publishers(package, page).await.unwrap();
    let tokens = TokenPage { include_expired: true, limit: 20, offset: 0 };
    db.tokens_of_user(user, tokens, Timestamp::now()).await.unwrap();
    expect_no_whole_tables(db, "the lists of organizations and accounts").await;
}

/// The filters of an organization's log are decided in its index: with a look at each entry, an action that is rare
/// there would take a walk through all of them.
#[tokio::test]
async fn audit_filters_are_decided_in_the_index() {
    let _turn = TURN.lock().await;
    let test = testing::sqlite().await;
    asked().await;
    let org = AuditFilter { target_org: Some(OrgId::new()), ..AuditFilter::default() };
    let filter = AuditFilter { action: Some(AuditAction::OrgDelete), actor_user: Some(UserId::new()), ..org.clone() };
    test.db.audit_entries(&filter, None, 0, 51).await.unwrap();
    test.db.audit_total(&filter).await.unwrap();
    expect_index(&test.db, "audit_log_").await;
    let grants = AuditFilter { access: Some(AccessFilter::default()), ..org };
    test.db.audit_entries(&grants, None, 0, 51).await.unwrap();
    test.db.audit_total(&grants).await.unwrap();
    expect_index(&test.db, "audit_log_access").await;
}

async fn expect_index(db: &Db, index: &str) {
    let all = asked().await;
    assert_eq!(all.len(), 2);
    for statement in all {
        let plan = db.plan_of(&statement).await.unwrap().join("\n");
        assert!(plan.contains(&format!("SEARCH a USING COVERING INDEX {index}")), "{statement}\n{plan}");
    }
}

/// As many questions for a page of documents as for one of them.
#[tokio::test]
async fn a_page_of_documents_is_asked_for_at_once() {
    let _turn = TURN.lock().await;
    let test = testing::sqlite().await;
    let sample = SamplePackage::create(&test.db).await;
    for n in 0..3 {
        let file = artifact_of(&[n]);
        let location = Digest::to_string(&file.digests.sha256);
        sample.add_release(&test.db, ReleaseState::Published, &file, &location).await.unwrap();
    }
    asked().await;
    let one = test.db.package_document(sample.id).await.unwrap().unwrap();
    let questions = asked().await.len();
    assert_eq!(one.releases.len(), 3);
    assert_eq!(one.owners[0].username, "ada");
    let ids: Vec<PackageId> = std::iter::repeat_with(PackageId::new).take(30).chain([sample.id]).collect();
    let page = test.db.package_documents(&ids, Releases::All).await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].releases.iter().map(|live| live.artifacts.len()).sum::<usize>(), 3);
    assert_eq!(asked().await.len(), questions);
}
