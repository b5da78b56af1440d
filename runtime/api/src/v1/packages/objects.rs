//! The object types of control-plane.md §2 that belong to packages. Every documented member is always there.

use publaryn_core::{Ecosystem, PackageId, Timestamp, Visibility, finding::Severity};
use publaryn_metadata::{
    package_views::PackageDetails,
    pending_publishers::PendingPublisherRow,
    release_views::{ArtifactViewRow, FindingViewRow, ReleaseSummaryRow},
    teams::TeamAccessRow,
    trusted_publishers::TrustedPublisherRow,
};
use publaryn_protocol::{Adapter, KeptFile, KeptRelease};
use publaryn_registry::control::{ControlHit, PackagePage, Pipeline, ReleaseView, SummaryView};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{super::ApiState, analysis};

/// **PackageSummary**. Written without a tree of values in between: some answers hold thousands.
#[derive(Debug, Serialize)]
pub struct PackageSummary<'a> {
    id: PackageId,
    ecosystem: Ecosystem,
    name: &'a str,
    normalized_name: &'a str,
    description: Option<&'a str>,
    visibility: Visibility,
    effective_visibility: Visibility,
    repository_slug: &'a str,
    owner_username: Option<&'a str>,
    owner_org_slug: Option<&'a str>,
    latest_version: Option<&'a str>,
    is_deprecated: bool,
    is_archived: bool,
    download_count: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    can_transfer: bool,
}

impl<'a> PackageSummary<'a> {
    fn new(details: &'a PackageDetails, can_transfer: bool) -> Self {
        Self {
            id: details.id,
            ecosystem: details.ecosystem,
            name: &details.name,
            normalized_name: &details.normalized_name,
            description: details.description.as_deref(),
            visibility: details.visibility,
            effective_visibility: details.effective(),
            repository_slug: &details.repository_slug,
            owner_username: details.owner_username.as_deref(),
            owner_org_slug: details.owner_org_slug.as_deref(),
            latest_version: details.latest_version.as_deref(),
            is_deprecated: details.is_deprecated(),
            is_archived: details.is_archived,
            download_count: details.download_count,
            created_at: details.created_at,
            updated_at: details.updated_at,
            can_transfer,
        }
    }

    pub fn of(view: &'a SummaryView) -> Self {
        Self::new(&view.details, view.can_transfer)
    }
}

pub fn summary(view: &SummaryView) -> Value {
    json!(PackageSummary::of(view))
}

/// **Package**.
pub fn package(state: &ApiState, page: &PackagePage) -> Value {
    let details = &page.details;
    let more = json!({
        "display_name": details.display_name,
        "readme": details.readme,
        "homepage": details.homepage,
        "repository_url": details.repository_url,
        "license": details.license,
        "keywords": details.keyword_list(),
        "deprecation_message": details.deprecation_message,
        "is_quarantined": details.is_quarantined,
        "can_manage_metadata": page.can_manage_metadata,
        "can_manage_releases": page.can_manage_releases,
        "can_manage_trusted_publishers": page.can_administer,
        "can_manage_visibility": page.can_administer,
        "can_manage_security": page.can_manage_security,
        "team_access": page.team_access.iter().map(team_access).collect::<Vec<_>>(),
        "ecosystem_metadata": {
            "kind": details.ecosystem,
            "details": name_details(details.ecosystem, &details.name, &details.normalized_name),
        },
        "bundle_analysis": page.latest.as_ref().map(|latest| {
            analysis::analysis(state, latest, &parsed(&latest.details.metadata))
        }),
    });
    joined(json!(PackageSummary::new(details, page.can_transfer)), more)
}

fn joined(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn team_access(row: &TeamAccessRow) -> Value {
    json!({
        "team_id": row.team_id,
        "team_slug": row.team_slug,
        "team_name": row.team_name,
        "permissions": row.permission_list().unwrap_or_default(),
        "granted_at": row.granted_at,
    })
}

/// The package half of **EcoMeta**: what the name alone says.
fn name_details(ecosystem: Ecosystem, name: &str, normalized: &str) -> Value {
    let parts = |separator: char| name.split_once(separator).unwrap_or(("", name));
    match ecosystem {
        Ecosystem::Npm => {
            let scope = name.strip_prefix('@').and_then(|rest| rest.split_once('/'));
            let (scope, bare) = scope.map_or((None, name), |(scope, bare)| (Some(format!("@{scope}")), bare));
            json!({"scope": scope, "unscoped_name": bare})
        }
        Ecosystem::Pypi => json!({"project_name": name, "normalized_name": normalized}),
        Ecosystem::Cargo => json!({"crate_name": name, "normalized_name": normalized}),
        Ecosystem::Nuget => json!({"package_id": name, "normalized_id": normalized}),
        Ecosystem::Rubygems => json!({"gem_name": name, "normalized_name": normalized}),
        Ecosystem::Composer => json!({"vendor": parts('/').0, "package": parts('/').1}),
        Ecosystem::Maven => json!({"group_id": parts(':').0, "artifact_id": parts(':').1}),
        Ecosystem::Oci => json!({"repository": name, "segments": name.split('/').collect::<Vec<_>>()}),
    }
}

/// **ReleaseSummary**.
pub fn release_summary(row: &ReleaseSummaryRow) -> Value {
    json!({
        "id": row.id,
        "version": row.version,
        "status": row.status,
        "is_yanked": row.is_yanked,
        "is_deprecated": row.is_deprecated,
        "is_prerelease": row.is_prerelease,
        "published_at": row.published_at,
        "created_at": row.created_at,
        "artifact_count": row.artifact_count,
        "total_size_bytes": row.total_size_bytes,
    })
}

/// **Release**; how its scans stand is for those who may see staged releases.
pub fn release(state: &ApiState, view: &ReleaseView) -> Value {
    let details = &view.details;
    let document = parsed(&details.metadata);
    let more = json!({
        "ecosystem": view.ecosystem,
        "package_id": details.package_id,
        "description": details.description,
        "changelog": details.changelog,
        "source_ref": details.source_ref,
        "provenance": details.provenance.as_deref().map(parsed),
        "yank_reason": details.yank_reason,
        "deprecation_message": details.deprecation_message,
        "published_by": details.publisher.as_ref().map(|username| json!({"username": username})),
        "can_manage_releases": view.can_manage,
        "ecosystem_metadata": eco_meta(state, view, &document),
        "bundle_analysis": analysis::analysis(state, view, &document),
    });
    let mut object = joined(release_summary(&details.summary), more);
    if view.shows_staged {
        object["scan"] = json!({
            "state": details.summary.status,
            "artifacts_total": details.scans_total,
            "artifacts_done": details.scans_done,
            "blocked": !view.blocked_by.is_empty(),
            "blocking_finding_ids": view.blocked_by,
            "started_at": view.scans_began_at(),
            // The jobs of a release that went live are forgotten after a while.
            "finished_at": view.scans_ended_at().or(details.summary.published_at),
        });
    }
    object
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// The release half of **EcoMeta**, as its adapter tells it; null when it never wrote a document.
fn eco_meta(state: &ApiState, view: &ReleaseView, document: &Value) -> Value {
    let details = told(state, view, document, |adapter, release| adapter.details(release));
    details.map_or(Value::Null, |details| json!({"kind": view.ecosystem, "details": details}))
}

/// What its adapter tells of a release; `None` when it never wrote a document.
pub(super) fn told<T>(
    state: &ApiState,
    view: &ReleaseView,
    document: &Value,
    tell: impl FnOnce(&dyn Adapter, &KeptRelease<'_>) -> T,
) -> Option<T> {
    let is_empty = document.as_object().is_none_or(Map::is_empty);
    let adapter = state.adapters.iter().find(|adapter| adapter.ecosystem() == view.ecosystem);
    let adapter = adapter.filter(|_| !is_empty)?;
    let files = view.files.iter().map(|file| KeptFile {
        kind: file.kind,
        filename: &file.filename,
        sha1: file.sha1.as_deref(),
        sha512: &file.sha512,
    });
    let release = KeptRelease {
        name: &view.package_name,
        version: &view.details.summary.version,
        is_yanked: view.details.summary.is_yanked,
        document,
        files: files.collect(),
        base_url: state.registry.settings().base_url.as_str(),
    };
    Some(tell(&**adapter, &release))
}

/// **Artifact**.
pub fn artifact(row: &ArtifactViewRow) -> Value {
    json!({
        "id": row.id,
        "release_id": row.release_id,
        "kind": row.kind,
        "filename": row.filename,
        "content_type": row.content_type,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256.hex(),
        "sha512": row.sha512,
        "is_signed": row.is_signed,
        "signature_key_id": row.signature_key_id,
        "uploaded_at": row.uploaded_at,
    })
}

/// **Tag** map.
pub fn tags(rows: &[(String, String, Timestamp)]) -> Value {
    rows.iter()
        .map(|(tag, version, at)| (tag.clone(), json!({"version": version, "updated_at": at})))
        .collect::<Map<_, _>>()
        .into()
}

/// **Finding**.
pub fn finding(row: &FindingViewRow) -> Value {
    json!({
        "id": row.id,
        "kind": row.kind,
        "category": row.category,
        "severity": row.severity,
        "title": row.title,
        "description": row.description,
        // No scanner of ours compares with published advisories yet.
        "advisory_id": null,
        "is_resolved": row.resolved_at.is_some(),
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by,
        "resolved_by_username": row.resolved_by_username,
        "note": row.note,
        "detected_at": row.detected_at,
        "release_version": row.release_version,
        "artifact_filename": row.artifact_filename,
        "rule_id": row.rule_id,
    })
}

/// **TrustedPublisher**.
pub fn trusted_publisher(row: &TrustedPublisherRow) -> Value {
    json!({
        "id": row.id,
        "issuer": row.issuer,
        "subject": row.subject,
        "repository": row.repository,
        "workflow_ref": row.workflow_ref,
        "environment": Some(&row.environment).filter(|text| !text.is_empty()),
        "created_by": row.created_by,
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
    })
}

/// A publisher of a package that does not exist yet.
pub fn pending_publisher(row: &PendingPublisherRow) -> Value {
    json!({
        "id": row.id,
        "ecosystem": row.ecosystem,
        "name": row.name,
        "repository_slug": row.target_repository_slug,
        "issuer": row.issuer,
        "subject": row.subject,
        "repository": row.repository,
        "workflow_ref": row.workflow_ref,
        "environment": Some(&row.environment).filter(|text| !text.is_empty()),
        "created_by": row.created_by,
        "created_at": row.created_at,
    })
}

/// The way of a release to live.
pub fn pipeline(pipeline: &Pipeline) -> Value {
    let stages: Vec<Value> = pipeline
        .stages
        .iter()
        .map(|stage| {
            json!({
                "stage": stage.name,
                "state": stage.state.as_str(),
                "started_at": stage.started_at,
                "finished_at": stage.finished_at,
                "detail": stage.detail,
                "job_ids": stage.jobs,
            })
        })
        .collect();
    json!({
        "version": pipeline.version,
        "status": pipeline.status,
        "stages": stages,
        "blocked_by": pipeline.blocked_by,
        "next_action": pipeline.next_action,
    })
}

/// **Hit**.
pub fn hit(hit: &ControlHit) -> Value {
    let details = &hit.details;
    let worst = hit.findings.keys().max().copied();
    let mut signals = Vec::new();
    if hit.trusted_publishers > 0 {
        signals.push("trusted_publisher");
    }
    if worst.is_some_and(|worst| worst >= Severity::High) {
        signals.push("open_findings");
    }
    if details.is_deprecated() {
        signals.push("deprecated");
    }
    if details.is_archived {
        signals.push("archived");
    }
    json!({
        "id": details.id,
        "name": details.name,
        "normalized_name": details.normalized_name,
        "display_name": details.display_name,
        "description": details.description,
        "ecosystem": details.ecosystem,
        "keywords": details.keyword_list(),
        "latest_version": details.latest_version,
        "download_count": details.download_count,
        "is_deprecated": details.is_deprecated(),
        "is_archived": details.is_archived,
        "visibility": details.effective(),
        "owner_name": details.owner_org_slug.as_ref().or(details.owner_username.as_ref()),
        "repository_name": details.repository_name,
        "repository_slug": details.repository_slug,
        "updated_at": details.updated_at,
        "discovery": {
            "risk_level": worst.map(risk_level),
            "unresolved_security_finding_count": hit.findings.values().sum::<i64>(),
            "worst_unresolved_security_severity": worst,
            "has_trusted_publisher": hit.trusted_publishers > 0,
            "trusted_publisher_count": hit.trusted_publishers,
            "latest_release_status": hit.latest.map(|(status, _)| status),
            "latest_release_published_at": hit.latest.and_then(|(_, at)| at),
            "signals": signals,
        },
    })
}

pub(super) const fn risk_level(worst: Severity) -> &'static str {
    match worst {
        Severity::Info | Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}
