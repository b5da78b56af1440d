//! Who may find a package: tags on the document, and the same tags in the caller's hand.
//!
//! The index only narrows; the registry checks every hit against current rights afterwards
//! (control-plane.md §9). Tags name things that rarely change hands, so membership and role changes
//! need no re-indexing.

use std::{collections::BTreeSet, fmt};

use publaryn_core::{OrgId, PackageId, RepositoryId, RepositoryKind, UserId, Visibility, access::Owner};

/// One group of people a document may be shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AudienceTag {
    /// Everybody, anonymous callers included.
    Public,
    /// The owner or a co-owner.
    User(UserId),
    /// Every member of the owning organization.
    Org(OrgId),
    /// Members of the owning organization whom `restrict_private_reads` does not shut out.
    OrgPrivate(OrgId),
    /// Holders of a counting grant on (or a token bound to) the package.
    Package(PackageId),
    /// Holders of a counting grant on (or a token bound to) the repository.
    Repository(RepositoryId),
}

impl fmt::Display for AudienceTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Org(id) => write!(f, "org:{id}"),
            Self::OrgPrivate(id) => write!(f, "org_private:{id}"),
            Self::Package(id) => write!(f, "package:{id}"),
            Self::Repository(id) => write!(f, "repo:{id}"),
        }
    }
}

/// The tags a caller holds; always contains [`AudienceTag::Public`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience(BTreeSet<AudienceTag>);

impl Audience {
    /// What an anonymous caller may find.
    pub fn public() -> Self {
        Self(BTreeSet::from([AudienceTag::Public]))
    }

    /// Everything the caller is entitled to besides what is public.
    ///
    /// A member of an organization holds `Org` and, unless the organization sets
    /// `restrict_private_reads` and the role is `viewer` or `billing_manager`, `OrgPrivate` too.
    pub fn of(tags: impl IntoIterator<Item = AudienceTag>) -> Self {
        let mut audience = Self::public();
        audience.0.extend(tags);
        audience
    }

    pub fn tags(&self) -> impl Iterator<Item = AudienceTag> + '_ {
        self.0.iter().copied()
    }
}

/// The facts about a package that decide who may find it.
#[derive(Debug, Clone)]
pub struct Discoverability<'a> {
    pub package: PackageId,
    pub owner: Owner,
    /// Co-owners of a user-owned package.
    pub co_owners: &'a [UserId],
    pub repository: RepositoryId,
    pub repository_owner: Owner,
    pub repository_kind: RepositoryKind,
    /// Effective visibility: package and repository together.
    pub visibility: Visibility,
    pub has_live_release: bool,
}

impl Discoverability<'_> {
    /// The tags of the document, or `None` when nobody finds the package by searching
    /// (access.md §2.1: unlisted, quarantined; control-plane.md §9: staging).
    pub fn audience(&self) -> Option<BTreeSet<AudienceTag>> {
        if self.repository_kind == RepositoryKind::Staging {
            return None;
        }
        match self.visibility {
            Visibility::Unlisted | Visibility::Quarantined => None,
            Visibility::Public if self.has_live_release => Some(BTreeSet::from([AudienceTag::Public])),
            Visibility::Public | Visibility::InternalOrg => Some(self.entitled(AudienceTag::Org)),
            Visibility::Private => Some(self.entitled(AudienceTag::OrgPrivate)),
        }
    }

    fn entitled(&self, members: fn(OrgId) -> AudienceTag) -> BTreeSet<AudienceTag> {
        let mut tags = BTreeSet::from([AudienceTag::Package(self.package)]);
        match self.owner {
            Owner::User(id) => {
                tags.insert(AudienceTag::User(id));
                tags.extend(self.co_owners.iter().copied().map(AudienceTag::User));
            }
            Owner::Org(id) => {
                tags.insert(members(id));
            }
        }
        // A repository grant counts only while package and repository have the same owner (access.md §1).
        if self.owner == self.repository_owner {
            tags.insert(AudienceTag::Repository(self.repository));
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(owner: Owner, visibility: Visibility) -> Discoverability<'static> {
        Discoverability {
            package: PackageId::new(),
            owner,
            co_owners: &[],
            repository: RepositoryId::new(),
            repository_owner: owner,
            repository_kind: RepositoryKind::Release,
            visibility,
            has_live_release: true,
        }
    }

    #[test]
    fn some_packages_are_found_by_nobody() {
        let owner = Owner::User(UserId::new());
        assert_eq!(facts(owner, Visibility::Unlisted).audience(), None);
        assert_eq!(facts(owner, Visibility::Quarantined).audience(), None);
        let staging = Discoverability { repository_kind: RepositoryKind::Staging, ..facts(owner, Visibility::Private) };
        assert_eq!(staging.audience(), None);
    }

    #[test]
    fn a_public_package_without_live_release_is_for_the_entitled() {
        let (owner, friend) = (UserId::new(), UserId::new());
        let live = facts(Owner::User(owner), Visibility::Public);
        assert_eq!(live.audience().unwrap(), BTreeSet::from([AudienceTag::Public]));
        let co_owners = [friend];
        let empty = Discoverability { has_live_release: false, co_owners: &co_owners, ..live };
        assert_eq!(
            empty.audience().unwrap(),
            BTreeSet::from([
                AudienceTag::User(owner),
                AudienceTag::User(friend),
                AudienceTag::Package(empty.package),
                AudienceTag::Repository(empty.repository),
            ])
        );
    }

    #[test]
    fn restricted_members_hold_no_tag_of_private_packages() {
        let org = OrgId::new();
        let restricted = Audience::of([AudienceTag::Org(org)]);
        let tags = |v| facts(Owner::Org(org), v).audience().unwrap();
        assert!(restricted.tags().any(|t| tags(Visibility::InternalOrg).contains(&t)));
        assert!(!restricted.tags().any(|t| tags(Visibility::Private).contains(&t)));
    }

    #[test]
    fn a_foreign_repository_gives_nothing_away() {
        let foreign = Discoverability {
            repository_owner: Owner::Org(OrgId::new()),
            ..facts(Owner::Org(OrgId::new()), Visibility::Private)
        };
        assert!(!foreign.audience().unwrap().contains(&AudienceTag::Repository(foreign.repository)));
    }
}
