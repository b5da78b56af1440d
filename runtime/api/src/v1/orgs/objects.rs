//! The object types of control-plane.md §2 that belong to organizations. Every documented member is always there.

use publaryn_core::Timestamp;
use publaryn_metadata::{
    organizations::{InvitationRow, MemberRow, OrgRow, OrgSummaryRow},
    teams::{TeamMemberRow, TeamRow},
};
use publaryn_registry::governance::{OrgCapabilities, OrgView};
use serde_json::{Value, json};

/// **OrgCapabilities**.
pub fn capabilities(may: &OrgCapabilities) -> Value {
    json!({
        "can_manage": may.govern,
        "can_manage_invitations": may.govern,
        "can_manage_members": may.govern,
        "can_manage_teams": may.govern,
        "can_manage_repositories": may.create_repositories,
        "can_manage_namespaces": may.create_claims,
        "can_view_member_directory": may.view_directory,
        "can_view_audit_log": may.view_audit_log,
        "can_transfer_ownership": may.transfer,
        "can_manage_tokens": may.manage_tokens,
    })
}

/// **Org**; its rules are for members.
pub fn org(view: &OrgView) -> Value {
    let row = &view.org;
    let for_members = |value: Value| if view.is_member { value } else { Value::Null };
    json!({
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "description": row.description,
        "website": row.website,
        "email": row.email,
        "avatar_url": row.avatar_url,
        "is_verified": row.is_verified,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "capabilities": capabilities(&view.capabilities),
        "mfa_required": for_members(json!(row.mfa_required)),
        "member_directory_is_private": for_members(json!(row.member_directory_is_private)),
        "restrict_private_reads": for_members(json!(row.restrict_private_reads)),
        "default_repository_slug": for_members(json!(row.default_repository_slug)),
    })
}

/// **OrgSummary**.
pub fn summary(row: &OrgSummaryRow, may: &OrgCapabilities) -> Value {
    json!({
        "id": row.org.id,
        "name": row.org.name,
        "slug": row.org.slug,
        "description": row.org.description,
        "website": row.org.website,
        "is_verified": row.org.is_verified,
        "role": row.role,
        "joined_at": row.joined_at,
        "team_count": row.team_count,
        "package_count": row.package_count,
        "capabilities": capabilities(may),
    })
}

/// **Member**; who has a second factor is for those who govern.
pub fn member(row: &MemberRow, shows_mfa: bool) -> Value {
    json!({
        "user_id": row.user_id,
        "username": row.username,
        "display_name": row.display_name,
        "role": row.role,
        "joined_at": row.joined_at,
        "mfa_enabled": shows_mfa.then_some(row.mfa_enabled),
    })
}

/// **Invitation**, as the organization sees it.
pub fn invitation(row: &InvitationRow, now: Timestamp) -> Value {
    use publaryn_core::InvitationState::{Accepted, Declined, Revoked};
    let status = row.state(now);
    let ended = |state| (status == state).then_some(row.ended_at).flatten();
    json!({
        "id": row.id,
        "org_slug": row.org_slug,
        "invited_user": {"id": row.user_id, "username": row.username, "email": row.email},
        "role": row.role,
        "status": status,
        "invited_by": inviter(row),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "accepted_at": ended(Accepted),
        "declined_at": ended(Declined),
        "revoked_at": ended(Revoked),
    })
}

/// **InvitationSelf**.
pub fn own_invitation(row: &InvitationRow, now: Timestamp) -> Value {
    let status = row.state(now);
    json!({
        "id": row.id,
        "org": {"id": row.org_id, "slug": row.org_slug, "name": row.org_name},
        "role": row.role,
        "status": status,
        "invited_by": row.inviter.as_ref().map(|username| json!({"username": username})),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "actionable": status == publaryn_core::InvitationState::Pending,
    })
}

/// **Team**.
pub fn team(row: &TeamRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "description": row.description,
        "member_count": row.member_count,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}

/// A team as the lists of what is in it name it.
pub fn team_label(row: &TeamRow) -> Value {
    json!({"id": row.id, "slug": row.slug, "name": row.name})
}

/// **TeamMember**.
pub fn team_member(row: &TeamMemberRow) -> Value {
    json!({
        "id": row.user_id,
        "username": row.username,
        "display_name": row.display_name,
        "added_at": row.added_at,
    })
}

/// An organization as answers name one.
pub fn org_label(row: &OrgRow) -> Value {
    json!({"id": row.id, "slug": row.slug, "name": row.name})
}

/// The new owner in the answer of a transfer.
pub fn new_owner(row: &OrgRow) -> Value {
    json!({"type": "organization", "id": row.id, "slug": row.slug, "name": row.name})
}

fn inviter(row: &InvitationRow) -> Value {
    match (row.inviter_id, &row.inviter) {
        (Some(id), Some(username)) => json!({"id": id, "username": username}),
        // The account is gone.
        _ => Value::Null,
    }
}

/// The same object with a text for people.
pub fn with_message(mut object: Value, text: &str) -> Value {
    object["message"] = json!(text);
    object
}
