//! The object types of the contract (control-plane.md §2, jobs.md §5), in its notation.

use publaryn_core::{
    ArtifactKind, Ecosystem, OrgRole, ReleaseState, RepositoryKind, Scope, TeamPermission, TokenKind, Visibility,
    finding::{Category, FindingKind, Severity},
    job::{JobKind, JobState},
};

/// Name and members.
pub const OBJECTS: &[(&str, &str)] = &[
    // People and credentials
    ("UserPublic", "id u, username s, display_name s?, avatar_url s?, bio s?, website s?, created_at t"),
    ("UserSelf", "..UserPublic, email s, email_verified b, mfa_enabled b, is_admin b, scopes [Scope]"),
    ("UserAdmin", "..UserPublic, email s, is_admin b, is_active b, mfa_enabled b, last_login_at t?"),
    (
        "LoginOk",
        "token s, token_type s, expires_in i, refresh_token s??, refresh_expires_in i, session_id u, scopes [Scope], \
         user UserSelf, recovery_codes_remaining i??",
    ),
    ("MfaPending", "mfa_required b, mfa_token s, expires_in i"),
    ("Session", "id u, created_at t, last_seen_at t, expires_at t, ip_address s?, user_agent s?, mfa b, current b"),
    (
        "Token",
        "id u, kind TokenKind, name s, prefix s, last_four s, scopes [Scope], org_slug s?, repository_slug s?, \
         package {ecosystem Ecosystem, name s}?, expires_at t?, last_used_at t?, created_at t",
    ),
    ("ScopeInfo", "name Scope, description s, admin_only b, implies [Scope]"),
    // Organizations
    (
        "OrgCapabilities",
        "can_manage b, can_manage_invitations b, can_manage_members b, can_manage_teams b, can_manage_repositories b, \
         can_manage_namespaces b, can_view_member_directory b, can_view_audit_log b, can_transfer_ownership b, \
         can_manage_tokens b",
    ),
    (
        "OrgSummary",
        "id u, name s, slug s, description s?, website s?, is_verified b, role OrgRole, joined_at t, team_count i, \
         package_count i, capabilities OrgCapabilities",
    ),
    (
        "Org",
        "id u, name s, slug s, description s?, website s?, email s?, avatar_url s?, is_verified b, created_at t, \
         updated_at t, capabilities OrgCapabilities, mfa_required b?, member_directory_is_private b?, \
         restrict_private_reads b?, default_repository_slug s?",
    ),
    ("Member", "user_id u, username s, display_name s?, role OrgRole, joined_at t, mfa_enabled b?"),
    (
        "Invitation",
        "id u, org_slug s, invited_user {id u, username s, email s?}, role OrgRole, status InvitationStatus, \
         invited_by {id u, username s}, expires_at t, created_at t, accepted_at t?, declined_at t?, revoked_at t?",
    ),
    (
        "InvitationSelf",
        "id u, org {id u, slug s, name s}, role OrgRole, status InvitationStatus, invited_by {username s}, expires_at t, \
         created_at t, actionable b",
    ),
    ("Team", "id u, name s, slug s, description s?, member_count i, created_at t, updated_at t"),
    ("TeamMember", "id u, username s, display_name s?, added_at t"),
    (
        "PackageGrant",
        "package_id u, ecosystem Ecosystem, name s, normalized_name s, permissions [TeamPermission], granted_at t",
    ),
    (
        "RepositoryGrant",
        "repository_id u, name s, slug s, kind RepositoryKind, visibility Visibility, permissions [TeamPermission], \
         granted_at t",
    ),
    (
        "NamespaceGrant",
        "namespace_claim_id u, ecosystem Ecosystem, namespace s, is_verified b, permissions [TeamPermission], granted_at t",
    ),
    (
        "AccessChange",
        "id u, action s, scope package|repository|namespace, event granted|changed|revoked, team_id u?, team_slug s?, \
         team_name s?, target_label s, target o, previous_permissions [s], permissions [s], actor_user_id u?, \
         actor_username s?, actor_display_name s?, actor_token_id u?, occurred_at t, summary s",
    ),
    ("SeverityCounts", "critical i, high i, medium i, low i, info i"),
    (
        "PackageRisk",
        "package_id u, ecosystem Ecosystem, name s, description s?, visibility Visibility, open_findings i, \
         worst_severity Severity, latest_detected_at t, severities SeverityCounts, \
         reviewer_teams [{id u, slug s, name s}], can_manage_security b",
    ),
    (
        "SecurityOverview",
        "summary {open_findings i, affected_packages i, severities SeverityCounts}, packages [PackageRisk]",
    ),
    ("Coverage", "repository_slug s, packages [PackageSummary]"),
    (
        "TeamManagement",
        "members_by_team_slug {* [TeamMember]}, package_access_by_team_slug {* [PackageGrant]}, \
         repository_access_by_team_slug {* [RepositoryGrant]}, namespace_access_by_team_slug {* [NamespaceGrant]}",
    ),
    // What they own
    (
        "NamespaceClaim",
        "id u, ecosystem Ecosystem, namespace s, owner_user_id u?, owner_org_id u?, owner_username s?, owner_org_slug s?, \
         is_verified b, created_at t, can_manage b, can_transfer b",
    ),
    (
        "Repository",
        "id u, name s, slug s, description s?, kind RepositoryKind, visibility Visibility, owner_user_id u?, \
         owner_org_id u?, owner_username s?, owner_org_slug s?, owner_org_name s?, upstream_url s?, package_count i, \
         can_manage b, can_create_packages b, can_transfer b, created_at t, updated_at t",
    ),
    (
        "PackageSummary",
        "id u, ecosystem Ecosystem, name s, normalized_name s, description s?, visibility Visibility, \
         effective_visibility Visibility, repository_slug s, owner_username s?, owner_org_slug s?, latest_version s?, \
         is_deprecated b, is_archived b, download_count i, created_at t, updated_at t, can_transfer b",
    ),
    (
        "Package",
        "..PackageSummary, display_name s?, readme s?, homepage s?, repository_url s?, license s?, keywords [s], \
         deprecation_message s?, is_quarantined b, can_manage_metadata b, can_manage_releases b, \
         can_manage_trusted_publishers b, can_manage_visibility b, can_manage_security b, \
         team_access [{team_id u, team_slug s, team_name s, permissions [TeamPermission], granted_at t}], \
         ecosystem_metadata EcoMeta, bundle_analysis Analysis?",
    ),
    ("EcoMeta", "kind Ecosystem, details o"),
    (
        "Analysis",
        "source_version s?, artifact_count i, total_artifact_size_bytes i?, compressed_size_bytes i?, \
         install_size_bytes i?, file_count i?, direct_dependency_count i?, runtime_dependency_count i?, \
         development_dependency_count i?, peer_dependency_count i?, optional_dependency_count i?, \
         bundled_dependency_count i?, dependency_group_count i?, extra_count i?, package_type_count i?, layer_count i?, \
         install_script_count i?, has_cli_entrypoints b?, has_tree_shaking_hints b?, has_native_code b?, \
         risk {score i, level low|medium|high|critical, unresolved_finding_count i, worst_unresolved_severity Severity?, \
         factors [s]}?, notes [s]",
    ),
    (
        "ReleaseSummary",
        "id u, version s, status ReleaseStatus, is_yanked b, is_deprecated b, is_prerelease b, published_at t?, \
         created_at t, artifact_count i, total_size_bytes i",
    ),
    (
        "Release",
        "..ReleaseSummary, ecosystem Ecosystem, package_id u, description s?, changelog s?, source_ref s?, provenance o?, \
         yank_reason s?, deprecation_message s?, published_by {username s}?, can_manage_releases b, \
         ecosystem_metadata EcoMeta?, bundle_analysis Analysis?, \
         scan {state ReleaseStatus, artifacts_total i, artifacts_done i, blocked b, blocking_finding_ids [u], \
         started_at t?, finished_at t?}??",
    ),
    (
        "Artifact",
        "id u, release_id u, kind ArtifactKind, filename s, content_type s, size_bytes i, sha256 s, sha512 s, is_signed b, \
         signature_key_id s?, uploaded_at t",
    ),
    (
        "Finding",
        "id u, kind FindingKind, category FindingCategory, severity Severity, title s, description s?, advisory_id s?, is_resolved b, resolved_at t?, \
         resolved_by u?, resolved_by_username s?, note s?, detected_at t, release_version s, artifact_filename s?, rule_id s",
    ),
    (
        "TrustedPublisher",
        "id u, issuer s, subject s, repository s?, workflow_ref s?, environment s?, created_by u, created_at t, \
         last_used_at t?",
    ),
    (
        "PendingPublisher",
        "id u, ecosystem Ecosystem, name s, repository_slug s, issuer s, subject s, repository s?, workflow_ref s?, \
         environment s?, created_by u, created_at t",
    ),
    (
        "Hit",
        "id u, name s, normalized_name s, display_name s?, description s?, ecosystem Ecosystem, keywords [s], \
         latest_version s?, download_count i, is_deprecated b, is_archived b, visibility Visibility, owner_name s?, \
         repository_name s?, repository_slug s?, updated_at t, discovery {risk_level s?, \
         unresolved_security_finding_count i, worst_unresolved_security_severity Severity?, has_trusted_publisher b, \
         trusted_publisher_count i, latest_release_status s?, latest_release_published_at t?, signals [s]}",
    ),
    // Operations
    (
        "AuditEntry",
        "id u, action s, actor_user_id u?, actor_username s?, actor_display_name s?, actor_token_id u?, target_user_id u?, \
         target_username s?, target_display_name s?, target_org_id u?, target_package_id u?, target_release_id u?, \
         metadata o?, occurred_at t",
    ),
    ("PlatformAuditEntry", "..AuditEntry, ip_address s?, user_agent s?"),
    (
        "Job",
        "id u, kind s, payload o, status JobState, attempts i, max_attempts i, priority i, partition s?, last_error s?, \
         dead_reason s?, scheduled_at t, locked_until t?, locked_by s?, started_at t?, completed_at t?, created_at t, \
         heartbeat_at t?, progress o?, is_stale b, can_retry b, recovery_hint s?",
    ),
    ("JobDetails", "..Job, attempts_log [o], unique_key s?, enqueued_by s?, request_id s?"),
    (
        "Queue",
        "kind JobKind, paused b, paused_by s?, paused_at t?, concurrency i, running i, pending i, failed i, dead i, \
         oldest_pending_age_seconds i?, throughput_1m n, error_rate_1m n, wait_p50_ms n?, wait_p99_ms n?, \
         run_p50_ms n?, run_p99_ms n?",
    ),
    (
        "Node",
        "node_id s, incarnation i, version s, role s, leader b, started_at t, heartbeat_at t, alive b, draining b, \
         running_jobs i, kinds [s], rss_bytes i, cpu_count i",
    ),
    (
        "Actor",
        "name s, type supervisor|worker|pool, status s, strategy s??, max_restarts i??, window_seconds i??, \
         restarts_total i, restarts_in_window i??, started_at t, uptime_seconds i, mailbox_depth i, \
         mailbox_high_water i, mailbox_capacity i, messages_processed_total i, busy_ratio_1m n, last_message_at t?, \
         last_failure {at t, reason s}?, state any, stale b??, children_total i, children [Actor]",
    ),
    (
        "JobList",
        "page i, per_page i, total i?, has_next b, next_cursor s?, filters {state JobState?, kind s?}, \
         summary {by_status {* i}, by_kind {* i}, oldest_pending_age_minutes i?, oldest_pending_age_seconds i?, \
         stale_jobs_count i, paused_kinds [s], throughput_1m n, throughput_5m n, error_rate_5m n, leader s?, \
         nodes_alive i}, jobs [Job]",
    ),
];

/// Name and words.
pub fn enums() -> Vec<(&'static str, Vec<&'static str>)> {
    fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|value| word(*value)).collect()
    }
    vec![
        ("Ecosystem", words(Ecosystem::ALL, Ecosystem::as_str)),
        ("Scope", words(Scope::ALL, Scope::as_str)),
        ("Visibility", words(Visibility::ALL, Visibility::as_str)),
        ("RepositoryKind", words(RepositoryKind::ALL, RepositoryKind::as_str)),
        ("ReleaseStatus", words(ReleaseState::ALL, ReleaseState::as_str)),
        ("ArtifactKind", words(ArtifactKind::ALL, ArtifactKind::as_str)),
        ("OrgRole", words(OrgRole::ALL, OrgRole::as_str)),
        ("TeamPermission", words(TeamPermission::ALL, TeamPermission::as_str)),
        ("TokenKind", words(TokenKind::ALL, TokenKind::as_str)),
        ("InvitationStatus", vec!["pending", "accepted", "declined", "revoked", "expired"]),
        ("Severity", words(Severity::ALL, Severity::as_str)),
        ("FindingKind", words(FindingKind::ALL, FindingKind::as_str)),
        ("FindingCategory", words(Category::ALL, Category::as_str)),
        ("JobState", words(JobState::ALL, JobState::as_str)),
        ("JobKind", words(JobKind::ALL, JobKind::as_str)),
    ]
}
