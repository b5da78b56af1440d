//! The append-only record of who did what (control-plane.md §11).

use std::net::IpAddr;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::{OrgId, PackageId, Principal, ReleaseId, TokenId, UserId, principal::Who};

text_enum! {
    /// Every audited action. Adding one is allowed, renaming is not.
    pub enum AuditAction {
        UserRegister = "user_register",
        UserLogin = "user_login",
        UserLoginFailed = "user_login_failed",
        UserLogout = "user_logout",
        UserUpdate = "user_update",
        UserPasswordChange = "user_password_change",
        UserDisable = "user_disable",
        UserEnable = "user_enable",
        UserAdminGrant = "user_admin_grant",
        UserAdminRevoke = "user_admin_revoke",
        SessionRevoke = "session_revoke",
        MfaEnable = "mfa_enable",
        MfaDisable = "mfa_disable",
        MfaRecoveryCodeUse = "mfa_recovery_code_use",
        MfaRecoveryCodesRegenerate = "mfa_recovery_codes_regenerate",
        TokenCreate = "token_create",
        TokenRevoke = "token_revoke",
        OrgCreate = "org_create",
        OrgUpdate = "org_update",
        OrgDelete = "org_delete",
        OrgMemberAdd = "org_member_add",
        OrgMemberRemove = "org_member_remove",
        OrgRoleChange = "org_role_change",
        OrgOwnershipTransfer = "org_ownership_transfer",
        OrgInvitationCreate = "org_invitation_create",
        OrgInvitationRevoke = "org_invitation_revoke",
        OrgInvitationAccept = "org_invitation_accept",
        OrgInvitationDecline = "org_invitation_decline",
        OrgAuditExport = "org_audit_export",
        TeamCreate = "team_create",
        TeamUpdate = "team_update",
        TeamDelete = "team_delete",
        TeamMemberAdd = "team_member_add",
        TeamMemberRemove = "team_member_remove",
        TeamPackageAccessUpdate = "team_package_access_update",
        TeamRepositoryAccessUpdate = "team_repository_access_update",
        TeamNamespaceAccessUpdate = "team_namespace_access_update",
        NamespaceClaimCreate = "namespace_claim_create",
        NamespaceClaimDelete = "namespace_claim_delete",
        NamespaceClaimTransfer = "namespace_claim_transfer",
        NamespaceClaimVerify = "namespace_claim_verify",
        RepositoryCreate = "repository_create",
        RepositoryUpdate = "repository_update",
        RepositoryDelete = "repository_delete",
        RepositoryTransfer = "repository_transfer",
        PackageCreate = "package_create",
        PackageUpdate = "package_update",
        PackageDelete = "package_delete",
        PackageTransfer = "package_transfer",
        PackageVisibilityChange = "package_visibility_change",
        PackageQuarantine = "package_quarantine",
        PackageUnquarantine = "package_unquarantine",
        PackageOwnerAdd = "package_owner_add",
        PackageOwnerRemove = "package_owner_remove",
        ReleaseCreate = "release_create",
        ReleaseUpdate = "release_update",
        ReleasePublish = "release_publish",
        ReleaseScanPass = "release_scan_pass",
        ReleaseScanBlock = "release_scan_block",
        ReleaseYank = "release_yank",
        ReleaseUnyank = "release_unyank",
        ReleaseDeprecate = "release_deprecate",
        ReleaseUndeprecate = "release_undeprecate",
        ReleaseDelete = "release_delete",
        TagUpdate = "tag_update",
        TagDelete = "tag_delete",
        SecurityFindingCreate = "security_finding_create",
        SecurityFindingResolve = "security_finding_resolve",
        SecurityFindingReopen = "security_finding_reopen",
        TrustedPublisherCreate = "trusted_publisher_create",
        TrustedPublisherDelete = "trusted_publisher_delete",
        AdminJobRetry = "admin_job_retry",
        AdminJobCancel = "admin_job_cancel",
        AdminJobsRecoverStale = "admin_jobs_recover_stale",
        AdminQueuePause = "admin_queue_pause",
        AdminQueueResume = "admin_queue_resume",
        AdminScheduleRun = "admin_schedule_run",
        AdminSearchReindex = "admin_search_reindex",
        AdminGc = "admin_gc",
        PolicyChange = "policy_change",
        AuditExpire = "audit_expire",
    }
}

/// One entry of the audit log; written in the transaction of the change it records.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub action: AuditAction,
    pub actor_user: Option<UserId>,
    pub actor_token: Option<TokenId>,
    pub target_user: Option<UserId>,
    pub target_org: Option<OrgId>,
    pub target_package: Option<PackageId>,
    pub target_release: Option<ReleaseId>,
    /// Where the request came from; empty for native publishes, jobs and commands.
    pub origin: ClientOrigin,
    /// Never secrets, token values, passwords or codes.
    pub metadata: Map<String, Value>,
}

/// The client behind a request, as an operator wants to see it in the audit log and session lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOrigin {
    /// After trusted-proxy resolution.
    pub ip: Option<IpAddr>,
    /// As sent, cut to [`MAX_USER_AGENT_CHARS`].
    pub user_agent: Option<SmolStr>,
}

/// What is kept of a `User-Agent`.
pub const MAX_USER_AGENT_CHARS: usize = 256;

impl ClientOrigin {
    pub fn new(ip: Option<IpAddr>, user_agent: Option<&str>) -> Self {
        let printable = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_CHARS).collect();
        Self { ip, user_agent: user_agent.map(str::trim).filter(|text| !text.is_empty()).map(printable) }
    }
}

impl AuditEntry {
    /// Something `who` did.
    pub fn by(who: &Principal, action: AuditAction) -> Self {
        let entry = Self { actor_user: who.acting_user(), actor_token: who.token(), ..Self::system(action) };
        match who.who {
            // Nobody did it in person (access.md §5).
            Who::TrustedPublisher { publisher: Some(id), .. } => entry.with("trusted_publisher_id", id.to_string()),
            _ => entry,
        }
    }
    /// Something the registry did by itself; it has no actor.
    pub fn system(action: AuditAction) -> Self {
        Self {
            action,
            actor_user: None,
            actor_token: None,
            target_user: None,
            target_org: None,
            target_package: None,
            target_release: None,
            origin: ClientOrigin::default(),
            metadata: Map::new(),
        }
    }
    pub fn package(mut self, id: PackageId) -> Self {
        self.target_package = Some(id);
        self
    }
    pub fn release(mut self, id: ReleaseId) -> Self {
        self.target_release = Some(id);
        self
    }
    pub fn user(mut self, id: UserId) -> Self {
        self.target_user = Some(id);
        self
    }
    pub fn org(mut self, id: Option<OrgId>) -> Self {
        self.target_org = id;
        self
    }
    pub fn from_client(mut self, origin: &ClientOrigin) -> Self {
        self.origin = origin.clone();
        self
    }
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }
}
