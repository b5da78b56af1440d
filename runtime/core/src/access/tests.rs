//! The base table of access.md §10 with its derivation rules, as far as packages go.

use super::*;
use crate::{ScopeSet, SessionId, Timestamp, principal::UserIdentity};

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
        as_of: Timestamp::now(),
    }
}

fn package(effective: Visibility, role: Option<OrgRole>, grants: &[TeamPermission]) -> PackageAccess {
    PackageAccess {
        id: PackageId::new(),
        repository: RepositoryId::new(),
        owner: Owner::Org(OrgId::new()),
        effective,
        relation: Relation { role, grants: grants.to_vec(), ..Relation::default() },
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
    p.relation.org.restrict_private_reads = true;
    assert_eq!(decide(&user(false), Operation::Read, Resource::Package(&p)), Decision::Hidden);
    p.relation.grants.push(TeamPermission::ReadPrivate);
    assert_eq!(decide(&user(false), Operation::Read, Resource::Package(&p)), Decision::Allow);
}

#[test]
fn r5_organization_mfa_stops_writes_only() {
    let mut p = package(Visibility::Public, Some(OrgRole::Owner), &[]);
    p.relation.org.mfa_required = true;
    p.relation.org.slug = "acme".into();
    let denied = Decision::Denied(Denial::MfaRequiredByOrganization("acme".into()));
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

fn organization(role: Option<OrgRole>) -> OrganizationAccess {
    OrganizationAccess { id: OrgId::new(), rules: OrgRules::default(), directory_is_private: false, role }
}

/// Columns owner, admin, auditor, member (maintainer), stranger, anonymous of access.md §3.3.
fn org_row(operation: Operation, change: impl Fn(&mut OrganizationAccess)) -> String {
    let roles = [Some(OrgRole::Owner), Some(OrgRole::Admin), Some(OrgRole::Auditor), Some(OrgRole::Maintainer), None];
    let mut cells = String::new();
    for role in roles {
        let mut org = organization(role);
        change(&mut org);
        cells.push(cell(&decide(&user(false), operation, Resource::Organization(&org))));
    }
    cells.push(cell(&decide(&Principal::anonymous(), operation, Resource::Organization(&organization(None)))));
    cells
}

#[test]
fn organization_table() {
    use Operation::*;
    let table = [
        (ReadDirectory, "yyyy31"),
        (ReadGrants, "yyy331"),
        (ReadOrgAudit, "yyy331"),
        (ReadInvitations, "yy3331"),
        (ReadOrgTokens, "yy3331"),
        (Govern, "yy3331"),
        (Leave, "3yyy41"),
        (CreateRepository, "yy3331"),
        (CreateClaim, "yy3331"),
        (ManageOrgTokens, "yy3331"),
        (Receive, "yy3331"),
        (TransferOrganization, "y33331"),
        (DeleteOrganization, "y33331"),
    ];
    for (operation, want) in table {
        assert_eq!(org_row(operation, |_| {}), want, "{operation:?}");
    }
    assert_eq!(org_row(ReadDirectory, |org| org.directory_is_private = true), "yy3331");
    // Without a second factor members still read and leave.
    let mfa = |org: &mut OrganizationAccess| org.rules.mfa_required = true;
    assert_eq!(
        (org_row(Govern, mfa), org_row(ReadGrants, mfa), org_row(ReadOrgTokens, mfa), org_row(Leave, mfa)),
        ("333331".to_owned(), "yyy331".to_owned(), "yy3331".to_owned(), "3yyy41".to_owned())
    );
}

#[test]
fn automation_tokens_read_with_their_role_and_govern_nothing() {
    let org = organization(None);
    let mut robot = user(false);
    robot.who = Who::Automation { org: org.id, role: OrgRole::Auditor };
    assert_eq!(decide(&robot, Operation::ReadGrants, Resource::Organization(&org)), Decision::Allow);
    assert_ne!(decide(&robot, Operation::Govern, Resource::Organization(&org)), Decision::Allow);
    let mut private = package(Visibility::Private, None, &[]);
    private.owner = Owner::Org(org.id);
    assert_eq!(decide(&robot, Operation::Read, Resource::Package(&private)), Decision::Allow);
    robot.who = Who::Automation { org: org.id, role: OrgRole::Viewer };
    private.relation.org.restrict_private_reads = true;
    assert_eq!(decide(&robot, Operation::Read, Resource::Package(&private)), Decision::Hidden);
}

#[test]
fn unlisted_and_quarantined_are_told_to_the_entitled_only() {
    assert_eq!(row(Operation::Discover, Visibility::Unlisted), "44yyyyyyyyyyyyyy4");
    assert_eq!(row(Operation::Discover, Visibility::Public), "yyyyyyyyyyyyyyyyy");
    assert_eq!(row(Operation::Download, Visibility::Quarantined), "44yyyyy333yyy3yy4");
}

#[test]
fn r8_trusted_publishers_do_one_thing() {
    let own = package(Visibility::Private, None, &[]);
    let other = package(Visibility::Public, None, &[]);
    let mut robot = user(false);
    robot.who = Who::TrustedPublisher { package: own.id, creator: UserId::new(), publisher: None };
    robot.credential = Credential::Token(crate::TokenId::new(), TokenKind::OidcDerived);
    let refused = Decision::Denied(Denial::CredentialNotAccepted);
    for operation in [Operation::Publish, Operation::ManageTags, Operation::NativeRead] {
        assert_eq!(decide(&robot, operation, Resource::Package(&own)), Decision::Allow);
        assert_eq!(decide(&robot, operation, Resource::Package(&other)), refused);
    }
    assert_eq!(decide(&robot, Operation::Read, Resource::Package(&own)), refused);
}

#[test]
fn claims_are_deleted_by_whoever_governs_and_by_grant() {
    let claim = |role, grants: &[TeamPermission]| ClaimAccess {
        id: ClaimId::new(),
        owner: Owner::Org(OrgId::new()),
        relation: Relation { role, grants: grants.to_vec(), ..Relation::default() },
    };
    let cells = |operation| -> String {
        [
            claim(Some(OrgRole::Owner), &[]),
            claim(Some(OrgRole::Admin), &[]),
            claim(Some(OrgRole::Maintainer), &[]),
            claim(Some(OrgRole::Viewer), &[TeamPermission::Admin]),
            claim(Some(OrgRole::Viewer), &[TeamPermission::TransferOwnership]),
            claim(None, &[]),
        ]
        .iter()
        .map(|claim| cell(&decide(&user(true), operation, Resource::Claim(claim))))
        .collect()
    };
    assert_eq!(cells(Operation::Administer), "yy3y33");
    assert_eq!(cells(Operation::Transfer), "yy3yy3");
}
