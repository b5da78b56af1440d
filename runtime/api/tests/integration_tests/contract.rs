//! Every route that control-plane.md and jobs.md name is declared, with the audit actions they give it. What is
//! absent stands in a list that can only shrink: a route that comes has to leave it.

use publaryn_api::openapi;
use serde_json::Value;

/// Method, path with its parameters left blank, and what it leaves in the audit log.
const CONTRACT: &str = "\
POST /v1/auth/register user_register
POST /v1/auth/login user_login user_login_failed
POST /v1/auth/mfa/challenge user_login mfa_recovery_code_use
POST /v1/auth/refresh session_revoke
POST /v1/auth/logout user_logout
POST /v1/auth/password user_password_change
GET /v1/auth/sessions
DELETE /v1/auth/sessions/{} session_revoke
GET /v1/auth/mfa
POST /v1/auth/mfa/setup
POST /v1/auth/mfa/verify-setup mfa_enable
POST /v1/auth/mfa/disable mfa_disable
POST /v1/auth/mfa/recovery-codes mfa_recovery_codes_regenerate
GET /v1/auth/scopes
GET /v1/users/me
PATCH /v1/users/me user_update
GET /v1/users/me/organizations
GET /v1/users/{}
PATCH /v1/users/{} user_update
GET /v1/users/{}/packages
POST /v1/orgs org_create
GET /v1/orgs/{}
PATCH /v1/orgs/{} org_update
DELETE /v1/orgs/{} org_delete
GET /v1/orgs/{}/members
GET /v1/orgs/{}/members/search
POST /v1/orgs/{}/members org_member_add org_role_change
PATCH /v1/orgs/{}/members/{} org_role_change
DELETE /v1/orgs/{}/members/{} org_member_remove
POST /v1/orgs/{}/ownership-transfer org_ownership_transfer
GET /v1/orgs/{}/invitations
POST /v1/orgs/{}/invitations org_invitation_create
DELETE /v1/orgs/{}/invitations/{} org_invitation_revoke
GET /v1/orgs/{}/teams
POST /v1/orgs/{}/teams team_create
GET /v1/orgs/{}/teams/{}
PATCH /v1/orgs/{}/teams/{} team_update
DELETE /v1/orgs/{}/teams/{} team_delete
GET /v1/orgs/{}/teams/{}/members
POST /v1/orgs/{}/teams/{}/members team_member_add
DELETE /v1/orgs/{}/teams/{}/members/{} team_member_remove
GET /v1/orgs/{}/teams/{}/package-access
PUT /v1/orgs/{}/teams/{}/package-access/{}/{} team_package_access_update
DELETE /v1/orgs/{}/teams/{}/package-access/{}/{} team_package_access_update
GET /v1/orgs/{}/teams/{}/repository-access
PUT /v1/orgs/{}/teams/{}/repository-access/{} team_repository_access_update
DELETE /v1/orgs/{}/teams/{}/repository-access/{} team_repository_access_update
GET /v1/orgs/{}/teams/{}/namespace-access
PUT /v1/orgs/{}/teams/{}/namespace-access/{} team_namespace_access_update
DELETE /v1/orgs/{}/teams/{}/namespace-access/{} team_namespace_access_update
GET /v1/orgs/{}/audit
GET /v1/orgs/{}/audit/export org_audit_export
GET /v1/orgs/{}/access-history
GET /v1/orgs/{}/access-history/export
GET /v1/orgs/{}/security-findings
GET /v1/orgs/{}/security-findings/export
GET /v1/orgs/{}/repositories
GET /v1/orgs/{}/packages
GET /v1/orgs/{}/repository-package-coverage
GET /v1/orgs/{}/workspace
GET /v1/org-invitations
POST /v1/org-invitations/{}/accept org_invitation_accept
POST /v1/org-invitations/{}/decline org_invitation_decline
GET /v1/namespaces
GET /v1/namespaces/lookup
POST /v1/namespaces namespace_claim_create
DELETE /v1/namespaces/{} namespace_claim_delete
POST /v1/namespaces/{}/ownership-transfer namespace_claim_transfer
POST /v1/namespaces/{}/verify namespace_claim_verify
GET /v1/repositories
POST /v1/repositories repository_create
GET /v1/repositories/{}
PATCH /v1/repositories/{} repository_update
DELETE /v1/repositories/{} repository_delete
POST /v1/repositories/{}/ownership-transfer repository_transfer
GET /v1/repositories/{}/packages
POST /v1/packages package_create
GET /v1/packages/{}/{}
PATCH /v1/packages/{}/{} package_update package_visibility_change
DELETE /v1/packages/{}/{} package_delete
POST /v1/packages/{}/{}/ownership-transfer package_transfer
PUT /v1/packages/{}/{}/quarantine package_quarantine
DELETE /v1/packages/{}/{}/quarantine package_unquarantine
GET /v1/packages/{}/{}/releases
POST /v1/packages/{}/{}/releases release_create
GET /v1/packages/{}/{}/releases/{}
PATCH /v1/packages/{}/{}/releases/{} release_update
DELETE /v1/packages/{}/{}/releases/{} release_delete
GET /v1/packages/{}/{}/releases/{}/artifacts
PUT /v1/packages/{}/{}/releases/{}/artifacts/{}
DELETE /v1/packages/{}/{}/releases/{}/artifacts/{}
GET /v1/packages/{}/{}/releases/{}/artifacts/{}
POST /v1/packages/{}/{}/releases/{}/publish release_publish
PUT /v1/packages/{}/{}/releases/{}/yank release_yank
PUT /v1/packages/{}/{}/releases/{}/unyank release_unyank
PUT /v1/packages/{}/{}/releases/{}/deprecate release_deprecate
PUT /v1/packages/{}/{}/releases/{}/undeprecate release_undeprecate
GET /v1/packages/{}/{}/releases/{}/pipeline
GET /v1/packages/{}/{}/tags
PUT /v1/packages/{}/{}/tags/{} tag_update
DELETE /v1/packages/{}/{}/tags/{} tag_delete
GET /v1/packages/{}/{}/security-findings
PATCH /v1/packages/{}/{}/security-findings/{} security_finding_resolve security_finding_reopen
GET /v1/packages/{}/{}/trusted-publishers
POST /v1/packages/{}/{}/trusted-publishers trusted_publisher_create
DELETE /v1/packages/{}/{}/trusted-publishers/{} trusted_publisher_delete
GET /_/oidc/audience
POST /_/oidc/mint-token token_create
POST /v1/tokens token_create
GET /v1/tokens
GET /v1/tokens/current
DELETE /v1/tokens/{} token_revoke
DELETE /v1/tokens/current token_revoke
GET /v1/audit
GET /v1/audit/export
GET /v1/admin/users
PATCH /v1/admin/users/{} user_disable user_enable user_admin_grant user_admin_revoke mfa_disable
POST /v1/admin/search/reindex admin_search_reindex
POST /v1/admin/gc admin_gc
GET /v1/stats
GET /health
GET /readiness
GET /metrics
GET /api-docs/openapi.json
GET /swagger-ui
GET /v1/admin/jobs
GET /v1/admin/jobs/{}
POST /v1/admin/jobs/{}/retry admin_job_retry
POST /v1/admin/jobs/retry admin_job_retry
POST /v1/admin/jobs/{}/cancel admin_job_cancel
POST /v1/admin/jobs/recover-stale admin_jobs_recover_stale
GET /v1/admin/queues
POST /v1/admin/queues/{}/pause admin_queue_pause
POST /v1/admin/queues/{}/resume admin_queue_resume
GET /v1/admin/schedules
POST /v1/admin/schedules/{}/run admin_schedule_run
GET /v1/admin/workers
GET /v1/admin/actors
GET /v1/admin/jobs/stream";

/// Not there yet.
const ABSENT: [&str; 0] = [];

/// `{anything}` → `{}`.
fn blank(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_of_the_contract_is_declared_with_its_audit_actions() {
    let document: Value = serde_json::from_str(openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let declared: Vec<(String, &Value)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods
                .map(move |(method, operation)| (format!("{} {}", method.to_ascii_uppercase(), blank(path)), operation))
        })
        .collect();
    let mut absent = Vec::new();
    for line in CONTRACT.lines() {
        let mut words = line.split(' ');
        let name = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        let Some((_, operation)) = declared.iter().find(|(known, _)| *known == name) else {
            absent.push(name);
            continue;
        };
        let told: Vec<&str> =
            operation["x-audit-actions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for action in words {
            assert!(told.contains(&action), "{name} leaves {action}, says the contract");
        }
    }
    assert_eq!(absent, ABSENT);
}
