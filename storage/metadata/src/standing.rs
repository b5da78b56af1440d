//! How callers stand to resources: roles, counting grants, co-ownership (access.md §1).

use std::collections::{HashMap, HashSet};

use publaryn_core::{
    ClaimId, OrgId, OrgRole, PackageId, Principal, RepositoryId, TeamPermission, UserId,
    access::{OrgRules, OrganizationAccess, Owner, Relation},
    principal::Who,
};
use sqlx::FromRow;

use crate::{Db, DbError, DbResult, Sql, Tx, packages::PackageHead, rows::id_list};

#[derive(FromRow)]
struct OrgStanding {
    slug: String,
    mfa_required: bool,
    restrict_private_reads: bool,
    member_directory_is_private: bool,
    role: Option<OrgRole>,
}

impl OrgStanding {
    fn into_parts(self) -> (OrgRules, Option<OrgRole>, bool) {
        let rules = OrgRules {
            slug: self.slug.into(),
            restrict_private_reads: self.restrict_private_reads,
            mfa_required: self.mfa_required,
        };
        (rules, self.role, self.member_directory_is_private)
    }
}

/// The kinds of things that teams are granted rights on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granted {
    Package(PackageId, RepositoryId),
    Repository(RepositoryId),
    Claim(ClaimId),
}

const ORG_STANDING: &str = "SELECT o.slug, o.mfa_required, o.restrict_private_reads, o.member_directory_is_private, m.role \
     FROM organizations o LEFT JOIN memberships m ON m.org_id = o.id AND m.user_id = $2 WHERE o.id = $1";
const CO_OWNER: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM package_owners WHERE package_id = $1 AND user_id = $2";
/// A repository grant counts for a package while both have the same owner.
const PACKAGE_GRANTS: &str = "SELECT g.permissions FROM team_members m JOIN team_package_grants g \
     ON g.team_id = m.team_id AND g.resource_id = $3 WHERE m.org_id = $1 AND m.user_id = $2 \
     UNION ALL SELECT g.permissions FROM team_members m JOIN team_repository_grants g \
     ON g.team_id = m.team_id AND g.resource_id = $4 JOIN repositories r ON r.id = g.resource_id \
     AND r.owner_org_id = $1 WHERE m.org_id = $1 AND m.user_id = $2";
const REPOSITORY_GRANTS: &str = "SELECT g.permissions FROM team_members m JOIN team_repository_grants g \
     ON g.team_id = m.team_id AND g.resource_id = $3 WHERE m.org_id = $1 AND m.user_id = $2";
const CLAIM_GRANTS: &str = "SELECT g.permissions FROM team_members m JOIN team_claim_grants g \
     ON g.team_id = m.team_id AND g.resource_id = $3 WHERE m.org_id = $1 AND m.user_id = $2";

/// Every permission of these stored lists.
fn permissions(lists: &[String]) -> DbResult<Vec<TeamPermission>> {
    let mut all = Vec::new();
    for list in lists {
        all.extend(parse_permissions(list)?);
    }
    Ok(all)
}

pub(crate) fn parse_permissions(list: &str) -> DbResult<Vec<TeamPermission>> {
    serde_json::from_str(list).map_err(|source| DbError::Corrupt { what: "permission list", source })
}

/// The same questions to a pool and inside a transaction.
macro_rules! standing {
    ($on:ident, $target:ty, $receiver:ty) => {
        impl $target {
            /// How `who` stands to a package.
            pub async fn relation(self: $receiver, head: &PackageHead, who: &Principal) -> DbResult<Relation> {
                match (&who.who, head.owner) {
                    // The owner has every right there is; being a co-owner beside adds nothing.
                    (Who::User(user), Owner::User(owner)) if user.id != owner => {
                        let count: i64 = $on!(self, |c| sqlx::query_scalar(CO_OWNER)
                            .bind(head.id)
                            .bind(user.id)
                            .fetch_one(c)
                            .await)?;
                        Ok(Relation { is_co_owner: count > 0, ..Relation::default() })
                    }
                    _ => self.relation_of(who, head.owner, Granted::Package(head.id, head.repository)).await,
                }
            }

            /// Asks about nothing what is asked when a stranger wants something that is hidden: what is missing takes
            /// the same path, and so the same time (access.md §11).
            pub async fn relation_to_nothing(self: $receiver, who: &Principal) -> DbResult<()> {
                if let Who::User(user) = &who.who {
                    let none = PackageId(uuid::Uuid::nil());
                    let _: i64 =
                        $on!(self, |c| sqlx::query_scalar(CO_OWNER).bind(none).bind(user.id).fetch_one(c).await)?;
                }
                Ok(())
            }

            /// How `who` stands to a repository of that owner.
            pub async fn repository_relation(
                self: $receiver,
                id: RepositoryId,
                owner: Owner,
                who: &Principal,
            ) -> DbResult<Relation> {
                if matches!((&who.who, owner), (Who::User(user), Owner::User(owner)) if user.id != owner) {
                    // Nobody is anything to another person's repository, which takes as long to say as of an
                    // organization's.
                    self.relation_to_nothing(who).await?;
                }
                self.relation_of(who, owner, Granted::Repository(id)).await
            }

            /// How `who` stands to a namespace claim of that owner.
            pub async fn claim_relation(
                self: $receiver,
                id: ClaimId,
                owner: Owner,
                who: &Principal,
            ) -> DbResult<Relation> {
                self.relation_of(who, owner, Granted::Claim(id)).await
            }

            /// The facts for decisions about an organization; `None` when it is gone.
            pub async fn organization_access(
                self: $receiver,
                id: OrgId,
                who: &Principal,
            ) -> DbResult<Option<OrganizationAccess>> {
                let user = who.user().map(|user| user.id);
                let row: Option<OrgStanding> =
                    $on!(self, |c| sqlx::query_as(ORG_STANDING).bind(id).bind(user).fetch_optional(c).await)?;
                Ok(row.map(|row| {
                    let (rules, role, directory_is_private) = row.into_parts();
                    OrganizationAccess { id, rules, directory_is_private, role }
                }))
            }

            async fn relation_of(
                self: $receiver,
                who: &Principal,
                owner: Owner,
                granted: Granted,
            ) -> DbResult<Relation> {
                let Owner::Org(org) = owner else { return Ok(Relation::default()) };
                let user = match &who.who {
                    Who::User(user) => Some(user.id),
                    Who::Automation { org: own, .. } if *own == org => None,
                    _ => return Ok(Relation::default()),
                };
                let row: Option<OrgStanding> =
                    $on!(self, |c| sqlx::query_as(ORG_STANDING).bind(org).bind(user).fetch_optional(c).await)?;
                let Some((rules, role, _)) = row.map(OrgStanding::into_parts) else { return Ok(Relation::default()) };
                // Only members have grants.
                let grants = match (user, role) {
                    (Some(user), Some(_)) => {
                        let lists: Vec<String> = $on!(self, |c| match granted {
                            Granted::Package(package, repository) => {
                                let query = sqlx::query_scalar(PACKAGE_GRANTS).bind(org).bind(user);
                                query.bind(package).bind(repository).fetch_all(c).await
                            }
                            Granted::Repository(id) => {
                                sqlx::query_scalar(REPOSITORY_GRANTS).bind(org).bind(user).bind(id).fetch_all(c).await
                            }
                            Granted::Claim(id) => {
                                sqlx::query_scalar(CLAIM_GRANTS).bind(org).bind(user).bind(id).fetch_all(c).await
                            }
                        })?;
                        permissions(&lists)?
                    }
                    _ => Vec::new(),
                };
                Ok(Relation { org: rules, role, grants, is_co_owner: false })
            }
        }
    };
}

standing!(on_db, Db, &Self);
standing!(on_tx, Tx, &mut Self);

/// What a caller has anywhere, for lists, which decide about many things at once; what it has on single packages may
/// be much, and is asked for the packages of a list ([`Db::package_standings`]).
#[derive(Debug, Clone, Default)]
pub struct Standings {
    orgs: HashMap<OrgId, (OrgRules, Option<OrgRole>)>,
    repositories: Grants<RepositoryId>,
    claims: Grants<ClaimId>,
}

/// Permissions on things, and whose teams hold them.
type Grants<T> = HashMap<T, Vec<(OrgId, TeamPermission)>>;

impl Standings {
    pub fn to_repository(&self, id: RepositoryId, owner: Owner) -> Relation {
        self.to_owned_by(owner, self.repositories.get(&id))
    }
    pub fn to_claim(&self, id: ClaimId, owner: Owner) -> Relation {
        self.to_owned_by(owner, self.claims.get(&id))
    }
    /// The organizations the caller is a member of, with role and rules.
    pub fn organizations(&self) -> impl Iterator<Item = (OrgId, &OrgRules, OrgRole)> {
        self.orgs.iter().filter_map(|(id, (rules, role))| Some((*id, rules, (*role)?)))
    }
    /// The rules of an organization that the caller belongs to or acts for.
    pub fn rules_of(&self, org: OrgId) -> Option<&OrgRules> {
        self.orgs.get(&org).map(|(rules, _)| rules)
    }
    /// The repositories with grants, and by which organizations.
    pub fn granted_repositories(&self) -> impl Iterator<Item = (RepositoryId, OrgId)> + '_ {
        self.repositories.iter().flat_map(|(id, grants)| grants.iter().map(|(org, _)| (*id, *org)))
    }

    fn to_owned_by(&self, owner: Owner, grants: Option<&Vec<(OrgId, TeamPermission)>>) -> Relation {
        let Owner::Org(org) = owner else { return Relation::default() };
        let Some((rules, role)) = self.orgs.get(&org) else { return Relation::default() };
        let grants = counting(owner, grants).collect();
        Relation { org: rules.clone(), role: *role, grants, is_co_owner: false }
    }
}

/// How a caller stands to the packages of a list.
#[derive(Debug, Clone)]
pub struct PackageStandings<'a> {
    general: &'a Standings,
    grants: Grants<PackageId>,
    co_owned: HashSet<PackageId>,
}

impl PackageStandings<'_> {
    /// The relation to one of the packages that were asked about.
    pub fn to(&self, id: PackageId, owner: Owner, repository: RepositoryId, repository_owner: Owner) -> Relation {
        let mut relation = self.general.to_owned_by(owner, self.grants.get(&id));
        if owner == repository_owner {
            relation.grants.extend(counting(owner, self.general.repositories.get(&repository)));
        }
        relation.is_co_owner = self.co_owned.contains(&id);
        relation
    }
}

/// The grants that the owner's own teams hold.
fn counting(owner: Owner, grants: Option<&Vec<(OrgId, TeamPermission)>>) -> impl Iterator<Item = TeamPermission> + '_ {
    let all = grants.into_iter().flatten();
    all.filter(move |(org, _)| owner == Owner::Org(*org)).map(|(_, permission)| *permission)
}

type GrantRow<T> = (T, OrgId, String);

impl Db {
    /// Loads where `who` stands everywhere but on single packages.
    pub async fn standings(&self, who: &Principal) -> DbResult<Standings> {
        match &who.who {
            Who::User(user) => self.standings_of(user.id).await,
            Who::Automation { org, .. } => {
                let access = self.organization_access(*org, who).await?;
                Ok(Standings {
                    orgs: access.map(|access| (*org, (access.rules, None))).into_iter().collect(),
                    ..Standings::default()
                })
            }
            Who::Anonymous | Who::TrustedPublisher { .. } => Ok(Standings::default()),
        }
    }

    async fn standings_of(&self, user: UserId) -> DbResult<Standings> {
        const ORGS: &str = "SELECT o.id, o.slug, o.restrict_private_reads, o.mfa_required, m.role FROM memberships m \
             JOIN organizations o ON o.id = m.org_id WHERE m.user_id = $1";
        macro_rules! grants {
            ($table:literal) => {
                concat!(
                    "SELECT g.resource_id, m.org_id, g.permissions FROM memberships s JOIN team_members m ",
                    "ON m.org_id = s.org_id AND m.user_id = s.user_id JOIN ",
                    $table,
                    " g ON g.team_id = m.team_id WHERE s.user_id = $1"
                )
            };
        }
        let orgs: Vec<(OrgId, String, bool, bool, OrgRole)> =
            on_db!(self, |c| sqlx::query_as(ORGS).bind(user).fetch_all(c).await)?;
        let mut all = Standings::default();
        if orgs.is_empty() {
            return Ok(all);
        }
        for (id, slug, restrict_private_reads, mfa_required, role) in orgs {
            let rules = OrgRules { slug: slug.into(), restrict_private_reads, mfa_required };
            all.orgs.insert(id, (rules, Some(role)));
        }
        let rows: Vec<GrantRow<RepositoryId>> =
            on_db!(self, |c| sqlx::query_as(grants!("team_repository_grants")).bind(user).fetch_all(c).await)?;
        collect(&mut all.repositories, rows)?;
        let rows: Vec<GrantRow<ClaimId>> =
            on_db!(self, |c| sqlx::query_as(grants!("team_claim_grants")).bind(user).fetch_all(c).await)?;
        collect(&mut all.claims, rows)?;
        Ok(all)
    }

    /// Loads where `who` stands to these packages; two questions at the most.
    pub async fn package_standings<'a>(
        &self,
        who: &Principal,
        general: &'a Standings,
        packages: &[PackageId],
    ) -> DbResult<PackageStandings<'a>> {
        const CO_OWNED: Sql =
            for_packages!("SELECT package_id FROM package_owners WHERE user_id = $2 AND package_id", "");
        const GRANTS: Sql = for_packages!(
            "SELECT g.resource_id, m.org_id, g.permissions FROM team_package_grants g \
             JOIN team_members m ON m.team_id = g.team_id AND m.user_id = $2 WHERE g.resource_id",
            ""
        );
        let mut all = PackageStandings { general, grants: HashMap::new(), co_owned: HashSet::new() };
        let Who::User(user) = &who.who else { return Ok(all) };
        if packages.is_empty() {
            return Ok(all);
        }
        let (list, user) = (id_list(packages), user.id);
        let list = list.as_str();
        let sql = self.sql(CO_OWNED);
        let co_owned: Vec<PackageId> =
            on_db!(self, |c| sqlx::query_scalar(sql).bind(list).bind(user).fetch_all(c).await)?;
        all.co_owned.extend(co_owned);
        if !general.orgs.is_empty() {
            let sql = self.sql(GRANTS);
            let rows: Vec<GrantRow<PackageId>> =
                on_db!(self, |c| sqlx::query_as(sql).bind(list).bind(user).fetch_all(c).await)?;
            collect(&mut all.grants, rows)?;
        }
        Ok(all)
    }

    /// The packages on which teams of this organization that the user is in hold grants.
    pub async fn granted_packages(&self, org: OrgId, user: UserId) -> DbResult<Vec<PackageId>> {
        const SQL: &str = "SELECT g.resource_id FROM team_members m JOIN team_package_grants g ON g.team_id = m.team_id \
             WHERE m.org_id = $1 AND m.user_id = $2";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(org).bind(user).fetch_all(c).await)?)
    }
}

fn collect<T: Eq + std::hash::Hash>(into: &mut Grants<T>, rows: Vec<GrantRow<T>>) -> DbResult<()> {
    for (id, org, list) in rows {
        let granted = parse_permissions(&list)?;
        into.entry(id).or_default().extend(granted.into_iter().map(|permission| (org, permission)));
    }
    Ok(())
}
