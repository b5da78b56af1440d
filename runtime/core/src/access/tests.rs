//! The base table of access.md §10 with its derivation rules, as far as packages go.

use super::*;
use crate::{ScopeSet, SessionId, principal::UserIdentity};

const ROLES: [OrgRole; 8] = [
    OrgRole::Owner,
    OrgRole::Admin,
    OrgRole::Maintainer,
    OrgRole::Publisher,
    OrgRole::SecurityManager,
    OrgRole::Auditor,
    OrgRole::BillingManager,
    OrgRole::Viewer,
];

fn user(is_admin: bool) -> Principal {
    Principal {
        who: Who::User(UserIdentity { id: UserId::new(), username: "u".into(), is_admin, has_mfa: false }),
        scopes: ScopeSet::admin_session(),
        credential: Credential::Session(SessionId::new()),
        binding: None,
    }
}

fn package(effective: Visibility, role: Option<OrgRole>, grants: &[TeamPermission]) -> PackageAccess {
    PackageAccess {
        id: PackageId::new(),
        repository: RepositoryId::new(),
        owner: Owner::Org(OrgId::new()),
        effective,
        org: OrgRules::default(),
        relation: Relation { role, grants: grants.to_vec(), is_co_owner: false },
    }
}

/// One cell, in the table's own letters.
fn cell(decision: &Decision) -> char {
    match decision {
        Decision::Allow => 'y',
        Decision::Unauthenticated => '1',
        Decision::Denied(_) => '3',
        Decision::Hidden => '4',
    }
}

/// Columns `A S O D M P C N B V gA gP gM gR gS gT X` of the table for one operation.
fn row(operation: Operation, visibility: Visibility) -> String {
    let grants = [
        TeamPermission::Admin,
        TeamPermission::Publish,
        TeamPermission::WriteMetadata,
        TeamPermission::ReadPrivate,
        TeamPermission::SecurityReview,
        TeamPermission::TransferOwnership,
    ];
    let mut cells = String::new();
    let mut push =
        |actor: &Principal, p: &PackageAccess| cells.push(cell(&decide(actor, operation, Resource::Package(p))));
    push(&Principal::anonymous(), &package(visibility, None, &[]));
    push(&user(false), &package(visibility, None, &[]));
    for role in ROLES {
        push(&user(false), &package(visibility, Some(role), &[]));
    }
    for grant in grants {
        push(&user(false), &package(visibility, Some(OrgRole::Viewer), &[grant]));
    }
    push(&user(true), &package(visibility, None, &[]));
    cells
}

#[test]
fn base_table_for_a_public_package() {
    use Operation::*;
    //                 A S ODMPCNBV gA..gT X
    let table = [
        (NativeRead, "yyyyyyyyyyyyyyyyy"),
        (ReadStaged, "44yyyyy444yyy4yy4"),
        (EditMetadata, "13yyy33333y3y3333"),
        (Administer, "13yy333333y333333"),
        (Publish, "13yyyy3333yy33333"),
        (ManageReleases, "13yyyy3333yy33333"),
        (ManageTags, "13yyyy3333yy33333"),
        (DeleteLive, "13yy333333y33333y"),
        (Triage, "13yy33y333y333y33"),
        (Quarantine, "13yy33y333y333y3y"),
        (Transfer, "13yy333333y3333y3"),
        (DeleteStaged, "14yyyy3444yy3433y"),
    ];
    for (operation, want) in table {
        assert_eq!(row(operation, Visibility::Public), want, "{operation:?}");
    }
}

#[test]
fn r1_private_is_hidden_from_strangers() {
    assert_eq!(row(Operation::NativeRead, Visibility::Private), "44yyyyyyyyyyyyyy4");
    assert_eq!(row(Operation::Publish, Visibility::Private), "14yyyy3333yy33334");
    assert_eq!(row(Operation::Quarantine, Visibility::InternalOrg), "14yy33y333y333y3y");
}

#[test]
fn r3_quarantined_is_hidden_from_everyone_natively() {
    assert_eq!(row(Operation::NativeRead, Visibility::Quarantined), "44444444444444444");
    assert_eq!(row(Operation::Read, Visibility::Quarantined), "44yyyyyyyyyyyyyy4");
}

#[test]
fn r4_restricted_private_reads_need_a_grant() {
    let mut p = package(Visibility::Private, Some(OrgRole::Viewer), &[]);
    p.org.restrict_private_reads = true;
    assert_eq!(decide(&user(false), Operation::Read, Resource::Package(&p)), Decision::Hidden);
    p.relation.grants.push(TeamPermission::ReadPrivate);
    assert_eq!(decide(&user(false), Operation::Read, Resource::Package(&p)), Decision::Allow);
}

#[test]
fn r5_organization_mfa_stops_writes_only() {
    let mut p = package(Visibility::Public, Some(OrgRole::Owner), &[]);
    p.org.mfa_required = true;
    let denied = Decision::Denied(Denial::MfaRequiredByOrganization);
    assert_eq!(decide(&user(false), Operation::Publish, Resource::Package(&p)), denied);
    assert_eq!(decide(&user(false), Operation::NativeRead, Resource::Package(&p)), Decision::Allow);
}

#[test]
fn r6_scopes_cap_the_person() {
    let mut reader = user(false);
    reader.scopes = [Scope::PackagesRead].into_iter().collect();
    let p = package(Visibility::Private, Some(OrgRole::Owner), &[]);
    let lacks = Decision::Denied(Denial::InsufficientScope(Scope::PackagesPublish));
    assert_eq!(decide(&reader, Operation::Publish, Resource::Package(&p)), lacks);
    assert_eq!(decide(&reader, Operation::NativeRead, Resource::Package(&p)), Decision::Allow);
    reader.scopes = [Scope::TokensRead].into_iter().collect();
    assert_eq!(decide(&reader, Operation::NativeRead, Resource::Package(&p)), Decision::Hidden);
}

#[test]
fn r7_bound_tokens_stay_inside_their_binding() {
    let mut bound = user(false);
    bound.binding = Some(Binding::Package(PackageId::new()));
    let public = package(Visibility::Public, Some(OrgRole::Owner), &[]);
    let private = package(Visibility::Private, Some(OrgRole::Owner), &[]);
    assert_eq!(decide(&bound, Operation::NativeRead, Resource::Package(&public)), Decision::Allow);
    assert_eq!(decide(&bound, Operation::Publish, Resource::Package(&public)), Decision::Denied(Denial::TokenNotBound));
    assert_eq!(decide(&bound, Operation::Publish, Resource::Package(&private)), Decision::Hidden);
}

#[test]
fn platform_views_need_the_flag_and_the_scope() {
    assert_eq!(decide(&user(true), Operation::PlatformRead, Resource::Platform), Decision::Allow);
    let stranger = decide(&user(false), Operation::PlatformRead, Resource::Platform);
    assert_eq!(stranger, Decision::Denied(Denial::PlatformAdminRequired));
    assert_eq!(
        decide(&Principal::anonymous(), Operation::PlatformWrite, Resource::Platform),
        Decision::Unauthenticated
    );
}
